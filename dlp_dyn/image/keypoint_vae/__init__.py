"""DLPv1, the first model of the family (KeyPointVAE, arXiv 2205.15821)."""
