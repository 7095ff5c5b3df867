"""A local web page: the particles of a frame to move about, and what would happen next."""
