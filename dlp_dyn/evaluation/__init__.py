"""How well an image model sees, and how well a video model predicts."""
