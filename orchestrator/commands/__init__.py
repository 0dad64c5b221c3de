"""The commands, each from its arguments to its exit status."""
