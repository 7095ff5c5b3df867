"""The kinds of training: images, clips, and the particles of a frozen image model."""
