"""Rewards of one's own: partial credit for digits, and brevity."""


def digits(response: str, answer: str) -> float:
    """Share of the answer's digits that are at their places."""
    right = sum(ours == theirs for ours, theirs in zip(response.strip(), answer))
    return right / max(len(answer), len(response.strip()), 1)


def brief(response: str) -> dict[str, float]:
    """1 for at most two characters and less for more; how many there are is recorded beside."""
    return {"score": min(1.0, 2 / max(1, len(response))), "characters": len(response)}
