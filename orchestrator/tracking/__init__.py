"""Tracking in MLflow, fed from the run folders by one writer beside the runs."""
