"""Shapes and types of the agents' signatures are checked too."""

from jaxtyping import install_import_hook

install_import_hook("agents", "typecheck.check")
