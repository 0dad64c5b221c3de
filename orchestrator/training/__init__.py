"""One run: what happens inside the process that trains."""
