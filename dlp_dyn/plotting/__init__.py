"""Pictures and videos of particles, predictions and samples."""
