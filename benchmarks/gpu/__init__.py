"""The training step on one GPU: is it right, how fast is it, and where does the time go."""
