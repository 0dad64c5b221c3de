"""A task of one's own: is a number even?  It has the name of a package of ours, which does not matter."""

from dataclasses import dataclass
from random import Random

from entrostat import Problem, Split, Task


@dataclass(frozen=True, kw_only=True)
class Parity(Task):
    """Says e for even and o for odd; odd multiples of seven are held out."""

    largest: int = 99
    """Largest number."""

    def problem(self, split: Split, seed: int, index: int) -> Problem:
        """Numbers in an order of the seed's own."""
        numbers = [each for each in range(self.largest + 1) if (each % 7 == 0) == (split == "held_out")]
        number = Random(f"{seed} {index // len(numbers)}").sample(numbers, len(numbers))[index % len(numbers)]
        return Problem(prompt=f"{number}=", answer="oe"[number % 2 == 0], domain="parity", difficulty=1.0)

    def grade(self, problem: Problem, response: str) -> float:
        """1 for the right letter."""
        return float(response.strip() == problem.answer)

    def demonstrate(self, problem: Problem, rng: Random, error_rate: float) -> str:
        """The right letter, or any."""
        return rng.choice("eo") if rng.random() < error_rate else problem.answer

    def alphabet(self) -> str:
        """What prompts and responses are made of."""
        return "0123456789=eo"
