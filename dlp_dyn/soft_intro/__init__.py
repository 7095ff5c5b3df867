"""Soft-IntroVAE (CVPR 2021): VAEs of images, 2-D densities and point clouds that play against themselves."""
