"""Shapes and types of the environments' signatures are checked too."""

from jaxtyping import install_import_hook

install_import_hook("envs", "typecheck.check")
