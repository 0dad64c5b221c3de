"""One run: the code inside the training process."""
