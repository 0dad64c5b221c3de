"""What is on disk: the folders through which training and everything around it talk."""
