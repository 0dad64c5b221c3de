"""The control layer for trainers that are not ours."""
