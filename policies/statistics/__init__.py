"""Statistics of tokens: log-probabilities, entropies, sequences, sensors."""
