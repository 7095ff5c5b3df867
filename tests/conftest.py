"""Shared by all tests: one thread, checked shapes."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"

from jaxtyping import install_import_hook

# Shapes and types of every annotated signature are checked while tests run.
install_import_hook("dlp_dyn", "beartype.beartype")
