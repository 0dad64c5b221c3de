"""The files on disk: the folders through which training and everything around it communicate."""
