"""What is computed of tokens: log-probabilities, entropies, sequences, sensors."""
