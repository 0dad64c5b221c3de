"""The words of the page, explained in one place: on hovering over them, and in a list at its end."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

GLOSSARY = {
    "entropy": "how undecided the policy is at a token: −Σ p ln p over the whole vocabulary, in nats; 0 is certain",
    "nats per token": "the unit of entropy, by the natural logarithm, averaged over tokens; 0.69 is an even choice of two",
    "setpoint": "the entropy that a loop is told to hold",
    "plain GRPO": "training without entropy control: group-relative policy optimisation alone",
    "baseline": "the arm that the others are compared with: plain GRPO where there is one",
    "arm": "one way to train, the same in all of its seeds",
    "seed": "one repetition of an arm; arms of the same seed have the same prompts",
    "greedy": "the response of the most probable tokens, one for each problem",
    "sampled": "responses drawn from the policy at the rollout temperature, as in training",
    "pass@k": "share of problems that at least one of k samples solves",
    "held-out": "of problems that no arm trains on",
    "interval": "the range that covers the true mean over seeds in 95 % of cases",
    "chance": "a difference that the spread between seeds explains: no p below 5 % after correcting for the number of arms",
    "guardrail": "a detector that watches a run, and warns, holds its loops, rolls it back or stops it",
    "actuator": "what in the update a loop moves, such as the weight of an entropy bonus",
    "command": "the number that a loop sends to its actuator at an iteration",
    "at a limit": "saturation: the loop asks for more than its actuator may give",
    "RMSE": "root mean square of setpoint minus entropy over the run",
    "Harris index": "mean square error over the least that any law could reach with this noise and delay; 1 is perfect",
    "reward": "the grade of a response, from 0 (wrong) to 1 (right)",
}

_WORDS = re.compile(
    r"<[^>]*>|(?<![\w-])(" + "|".join(sorted(map(re.escape, GLOSSARY), key=len, reverse=True)) + r")(?![\w-])"
)


def explained(text: str) -> Markup:
    """HTML in whose text each word of the glossary has its meaning where it comes first; a plain text is escaped."""
    met: set[str] = set()

    def first(found: re.Match[str]) -> str:
        if found[1] is None or found[1] in met:
            return found[0]
        met.add(found[1])
        return f'<abbr title="{escape(GLOSSARY[found[1]])}">{found[1]}</abbr>'

    return Markup(_WORDS.sub(first, escape(text)))  # nosec B704  # it was escaped
