"""How models travel: weights on disk, where a run or Hub id lies, `from_pretrained`, the model card."""
