"""Grades the stored corpus of responses with known grades: ``python -m benchmarks.answers``.

Prints every grade that is wrong, by rule, and ends with status 1 where one is wrong that is not listed as
known, or where a rule that is listed has none.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from time import process_time

from benchmarks.answer_corpus import KNOWN, Pair, stored
from tasks.base import Problem
from tasks.kinds.math_word import MathWord


def wrong_grades(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that the grader judges otherwise."""
    task = MathWord(path="none.jsonl")
    return [
        pair
        for pair in pairs
        if task.grade(Problem(prompt="", answer=pair.gold, domain="", difficulty=0.0), pair.response)
        != float(pair.right)
    ]


def main() -> int:
    """The exit status."""
    pairs, start = stored(), process_time()
    wrong = wrong_grades(pairs)
    seconds = process_time() - start
    rules = Counter(pair.rule for pair in pairs)
    print(
        f"{len(pairs)} pairs of {len(rules)} rules, {sum(pair.right for pair in pairs)} right, {seconds:.1f} s of a processor"
    )
    unknown = [pair for pair in wrong if pair.rule not in KNOWN]
    for pair in unknown:
        print(
            f"WRONG  {pair.rule}: {pair.response!r} for {pair.gold!r} is {'right' if pair.right else 'wrong'}"
        )
    for rule, number in Counter(pair.rule for pair in wrong if pair.rule in KNOWN).items():
        print(f"{rule}: {number} of {rules[rule]}; {KNOWN[rule]}")
    mended = [rule for rule in KNOWN if not any(pair.rule == rule for pair in wrong)]
    for rule in mended:
        print(f"MENDED {rule}: take it off the list")
    print(f"{len(wrong)} grades are wrong, {len(unknown)} of them not known")
    return int(bool(unknown or mended))


if __name__ == "__main__":
    sys.exit(main())
