"""Rollouts: written, read, collected, imported, and made up with ground truth."""
