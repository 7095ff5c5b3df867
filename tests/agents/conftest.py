"""Shapes and types of the agents' signatures are checked too; fixtures of small agents."""

from jaxtyping import install_import_hook

install_import_hook("agents", "typecheck.check")

from small import encoder_run, push, write_encoder  # noqa: E402, F401 - fixtures
