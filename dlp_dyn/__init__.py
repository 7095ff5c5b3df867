"""Deep Latent Particles: images as particles, how they move, and agents that observe them."""

__version__ = "0.1.0"
