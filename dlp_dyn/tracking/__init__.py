"""Which particle is which over time."""
