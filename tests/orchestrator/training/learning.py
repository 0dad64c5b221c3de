"""What a learner does with batches, and no more: it collects them, and pushes after each."""

from __future__ import annotations


def learning(sampling_at):
    """``learn(batches, iterations)`` gives the batches of those iterations, sampled as ``sampling_at`` says."""

    def learn(made, iterations):
        found = []
        for t in iterations:
            found.append(made.collect(t, sampling_at))
            made.push(t + 1)
        return found

    return learn
