"""Responses with known grades: kinds of answers (``answer_kinds``) in the layouts of well-known data sets.

A grade follows from how a pair is built.  ``answers.jsonl`` holds what ``corpus()`` makes; a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.answer_kinds import KINDS, Answers

STORED = Path(__file__).with_name("answers.jsonl")
SEED = 13
NUM_DRAWS = 5
"""Draws of each kind."""

NUM_SAMPLED = 5
"""Right answers, and as many wrong ones, of a draw."""


class Pair(NamedTuple):
    """A response to a question with a gold answer, and whether it is right."""

    rule: str
    gold: str
    response: str
    right: bool


KNOWN = {
    "known: letters in any order": "a list of letters or words is in order: which are right, or in which order, the "
    "gold answer does not say",
    "known: numbers in order": "a list of numbers is in any order, for the same reason",
    "known: numbers as words": "number words are no numbers",
    "known: excited": "12! is a factorial, also at the end of a sentence",
    "known: other units": "units are not converted",
    "known: vector as a tuple": "a matrix equals a matrix alone",
    "known: whole n": "an identity must hold for all values of its variables, and not for whole ones alone",
    "known: sums": "sums, products, integrals and limits are not worked out",
}
"""Rules whose pairs are graded wrongly, and why; docs/answers.md lists the same."""

BOXED = (
    r"\boxed{§}",
    r"So the answer is $\boxed{§}$.",
    "We add.\n\\[ \\boxed{§} \\]",
    r"**Final answer:** $\boxed{§}$",
    "Adding gives\n$$\\boxed{§}$$\nI hope it is correct.",
    r"Hence \fbox{§}",
    r"$\boxed {§}$",
    r"$\boxed{\boxed{§}}$",
    r"$\boxed{ § }$ (see step 3)",
    r"First I got \boxed{¬}. But that is wrong, so it is \boxed{§}.",
    "<think>Perhaps it is \\boxed{¬}.</think>\nIt is \\boxed{§}.",
    "It may be \\boxed{¬}.</think>\n\n\\boxed{§}",
    "### Step 4: the end\n\n**Answer:** $\\boxed{§}$\n\nLet me know if 2 or 3 things are unclear.",
    r"\[x = \boxed{§}\]",
    r"$\boxed{\displaystyle §}$",
)
MARKED = (
    "We add.\n#### §",
    "#### **§**",
    "#### Final Answer: §",
    "#### $§$",
    "We add.\n\n#### §.\n",
    "<think>¬</think>\n#### §",
)
PROSE = (
    "The answer is $§$.",
    "We add.\nThe final answer is: $§$",
    "**Answer:** $§$",
    "Thus $§$.",
    "I add.\n<answer>$§$</answer>",
    "<think>The answer is $¬$.</think>The answer is \\(§\\).",
    "So we get\n\n$$\n§\n$$",
    "Therefore, the answer is **$§$**.",
    "Final answer: \\[§\\]",
)
NOT_CLAIMED = (
    r"\boxed{§",
    r"<think>It is \boxed{§}",
    r"<think>\boxed{§}</think>The answer is $¬$.",
    r"\boxed{§} was wrong. \boxed{¬}",
    "#### §\n#### ¬",
    r"$\boxed{§}$ or $\boxed{¬}$",
    "$§$ is not right.",
    "The answer is not $§$.",
    r"\boxed{}",
    "I cannot say.",
    "",
)
"""The right answer stands there, and the response does not claim it."""

STATED = (
    "The answer is **§**", "The answer is *§*.", "The answer is `§`.", "**§**", "**The answer is §.**", "Answer: §",
    "**Answer**: §", "Final Answer: §", "final answer is §", "§", "§.", "= §", "x = §", "So x = §.", "It is §.",
    "The total is § apples.", "She pays $§.", "She pays **$§** a day.", "§ apples are left", "There are $\\binom{5}{2} = 10$ ways, so §.",
    "Since $2^{100} \\equiv 1$ and $3^{100} \\equiv 1$, the answer is §.", "$\\sum_{k=1}^{3} k = 6$, hence §", "3 + 4 = 7 and so §",
    "It is not 1, it is §.", "The answer is §, not 1.", "#### §", "#### § dollars", "#### **§**", "#### $§$", "#### Final Answer: §",
    "#### Final Answer\n§", "#### Final Answer\n\n**§**", "We add.\n\n#### §\n\n", "reasoning</think>\n§", "<think>1</think>§",
    "<think>\\boxed{1}</think>The answer is §", "<answer>§</answer>", "The answer is\n$$\n§\n$$", "\\boxed §", "$\\boxed §$", "$\\fbox{§}$",
    "\\boxed{§}", "\\boxed{x = §}", "\\boxed{§\\text{ apples}}", "\\boxed{\\$§}", "\\boxed{\\text{§}}", "\\boxed{**§**}",
    "Since x = 3 then 4, so §", "It is §.", "1 + 2 = 3\n§",
    "```\n§\n```", "> §", "The answer is \\(§\\).", "The answer is \\[§\\]", "Thus, $x=§$ holds.",
    "Natalia sold 48/2 = <<48/2=24>>24 clips.\n#### §", "Therefore the answer is $§$.", "$§$ cm", "§ cm", "about §",
)  # fmt: skip
"""An integer that is claimed."""

DENIED = (
    "not §", "The answer is not §.", "The answer isn't §.", "It is never §.", "§ is wrong.", "§ is not the answer.", "Is it §?",
    "I think §. No, it is not §.", "§!", "The answer is §!!", "§ or 1", "1 or §", "either § or 1", "§, 1", "$§$ or $1$", "§ and §", "§ §",
    "neither 1 nor §", "less than §", "It is more than §.", "§ million", "§ thirds", "§/3 of §/2", "-§", "The answer is -§", "§ - 1",
    "§ + 1", "2§", "§2", "§.5", "1.§", "§,000", "§^2", "2^§", "1/§", "§/7", "\\boxed{§,§}", "\\boxed{§!}", "\\boxed{§, 1}",
    "\\boxed{§ \\text{ or } 1}", "\\boxed{§} or \\boxed{1}", "\\boxed{not §}", "\\boxed{\\neg §}", "\\boxed{\\neq §}", "\\boxed{x \\neq §}",
    "\\boxed{x > §}", "\\boxed{§ = 1}", "\\boxed{§ x}", "\\boxed{§ 1}", "\\boxed{\\{§, 1\\}}", "\\boxed{(§, §)}", "\\boxed{[§, §]}",
    "\\boxed{2x = §}", "\\boxed{\\pm §}", "\\boxed{§ \\pm 1}", "#### not §", "#### § or 1", "#### §, 1", "#### §!", "#### 1\nand so §",
    "<think>§", "<think>\\boxed{§}", "<think>\\boxed{§}</think>The answer is 1", "\\boxed{§", "\\boxed{1} \\boxed{", "#### Step §",
    "\\boxed{\\text{not } §}", "\\boxed{\\text{§ or 1}}", "\\boxed{§ \\approx 1}", "\\boxed{§ \\ne 1}", "1 = §, 2", "\\boxed{N_2}", "N_3",
    "x \\ne §", "x < §", "The answer is 1, not §.", "It is not §, it is 1", "rather than §", "x = Ny", "\\boxed{\\sqrt{§}}", "\\boxed{§^{-1}}",
    "\\boxed{§\\cdot 10^{3}}", "\\boxed{§\\text{ hundred}}", "\\boxed{x^2+§}", "log §", "10^§",
)  # fmt: skip
"""The integer stands there, and it is not the answer."""


HOSTILE = (
    "9^{9^{9^9}}", "9^9^9", "9**9**9", "(10^8)!", "(10^7)!", "3!!!!!!!!!!", r"\Gamma(10^8)", r"\zeta(10^9)", "(a+b+c+d+e)^{64}",
    r"\cos(4096x)", r"\sin(10^{1000000})", r"\binom{100000000}{5000000}", "10^{10^{10}}", "1e999999999", "0^{-1}", "1/0",
    r"\sum_{k=1}^{10000000} k", r"\prod_{k=1}^{10^9} k", r"\int_0^1 e^{x^2} dx", r"\lim_{x \to 0} x^{99}", "1000!^{1000!}",
    r"\begin{pmatrix}1&1\\1&0\end{pmatrix}^{1000000}", "((((((((((((((((((((", "-" * 200 + "1", "x^" * 100 + "2", "{" * 100,
    r"\sqrt" * 40 + "2", "!" * 200, "^" * 200, "9" * 200, "7,3,4," * 40, "__import__('os').system('id')", "exec('1')", "lambda x: x",
    "[x for x in (734,)]", "open('x').read()", "734 if 1 else 2", "\x00", "\ufdd0", r"\input{x}", "{734", r"\left( 734",
)  # fmt: skip
"""What could take long, run, or crash."""

KNOWN_PAIRS = {
    "known: letters in any order": [("A, C", "C, A", True), ("B, D", "D, B", True)],
    "known: numbers in order": [("3, 1, 2", "1, 2, 3", False), ("0.5, 0.25", "0.25, 0.5", False)],
    "known: numbers as words": [("12", "twelve", True), ("5", "five", True)],
    "known: excited": [("12", "The answer is 12!", True), ("7", "It is 7!", True)],
    "known: other units": [
        (r"1\text{ m}", r"100\text{ cm}", True),
        (r"2\text{ hours}", r"120\text{ minutes}", True),
    ],
    "known: vector as a tuple": [(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)", True)],
    "known: whole n": [("(-1)^n", r"\cos(n\pi)", True)],
    "known: sums": [("55", r"\sum_{k=1}^{10} k", True), ("2", r"\int_0^2 1 dx", True)],
}


def corpus() -> list[Pair]:
    """Every pair, each once."""
    return list(dict.fromkeys([*_kinds(), *_integers(), *_hostile(), *_known()]))


def stored() -> list[Pair]:
    """The pairs of the file."""
    return [Pair(*json.loads(line)) for line in STORED.read_text(encoding="utf-8").splitlines()]


def _placed(layout: str, answer: str, other: str = "") -> str:
    return layout.replace("§", answer).replace("¬", other)


def _kinds() -> Iterator[Pair]:
    for kind in KINDS:
        for draw in range(NUM_DRAWS):
            rng = Random(f"{SEED} {kind.__name__} {draw}")
            yield from _of_kind(kind.__name__, kind(rng), rng)


def _of_kind(name: str, answers: Answers, rng: Random) -> Iterator[Pair]:
    for right, texts in ((True, answers.right), (False, answers.wrong)):
        for text in rng.sample(texts, min(len(texts), NUM_SAMPLED)):
            where, layouts = rng.choices((("boxed", BOXED), ("marked", MARKED), ("prose", PROSE)), (5, 2, 2))[
                0
            ]
            response = _placed(rng.choice(layouts), text, rng.choice(answers.wrong))
            yield Pair(f"{name}, {where}", answers.gold, response, right)
    response = _placed(rng.choice(NOT_CLAIMED), rng.choice(answers.right), rng.choice(answers.wrong))
    yield Pair(f"{name}, not claimed", answers.gold, response, False)


def _integers() -> Iterator[Pair]:
    rng = Random(f"{SEED} integers")
    for layouts, right, rule in (
        (STATED, True, "an integer is stated"),
        (DENIED, False, "an integer is not claimed"),
    ):
        for layout in layouts:
            for _ in range(3):
                number = str(rng.randint(11, 998))
                yield Pair(rule, number, _placed(layout, number), right)


def _hostile() -> Iterator[Pair]:
    for text in HOSTILE:
        for layout in (r"\boxed{§}", "#### §", "The answer is $§$."):
            yield Pair("hostile", "734", _placed(layout, text), False)


def _known() -> Iterator[Pair]:
    for rule, pairs in KNOWN_PAIRS.items():
        for gold, answer, right in pairs:
            yield Pair(rule, gold, rf"\boxed{{{answer}}}" if rule != "known: excited" else answer, right)


def main() -> None:
    """Write the file again."""
    text = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in corpus())
    STORED.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
