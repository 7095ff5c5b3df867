"""How models are trained: the loop, what each stage does in it, the order of clips, the log."""
