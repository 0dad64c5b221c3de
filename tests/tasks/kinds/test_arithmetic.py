from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import Problem
from tasks.kinds.arithmetic import Arithmetic

MIXED = Arithmetic(num_digits=(1, 6), operations=("+", "-", "*"))


def sum_of(left, operation, right, answer, num_digits=2):
    return Problem(
        prompt=f"{left}{operation}{right}=",
        answer=str(answer),
        domain="test",
        difficulty=float(num_digits),
        facts={"left": left, "operation": operation, "right": right, "num_digits": num_digits},
    )


@pytest.mark.parametrize(
    ("problem", "demonstration"),
    [
        # 7 + 5 = 12; 4 + 8 + 1 = 13
        (sum_of(47, "+", 85, 132), "12,13;132"),
        # 1 + 2 = 03; 1 + 2 + 0 = 03: nothing is carried, the answer has no leading zero
        (sum_of(11, "+", 22, 33), "03,03;33"),
        # 9 + 1 = 10; 9 + 0 + 1 = 10; 9 + 0 + 1 = 10
        (sum_of(999, "+", 1, 1000, num_digits=3), "10,10,10;1000"),
        (sum_of(3, "+", 4, 7, num_digits=1), "07;7"),
        # 2 - 7 borrows 1 and leaves 5; 5 - 1 - 1 = 3
        (sum_of(52, "-", 17, 35), "15,3;35"),
        # 0 - 1 borrows 1, leaves 9; 0 - 0 - 1 borrows 1, leaves 9; 3 - 2 - 1 = 0
        (sum_of(300, "-", 201, 99, num_digits=3), "19,19,0;99"),
        (sum_of(44, "-", 44, 0), "00,0;0"),
        # 47 · 5 = 235; 47 · 8 = 376; 235 + 3760 = 3995
        (sum_of(47, "*", 85, 3995), "235,376;3995"),
        (sum_of(20, "*", 10, 200), "000,020;200"),
    ],
)
def test_hand_worked_scratchpads(problem, demonstration):
    assert MIXED.demonstrate(problem, Random(0), 0.0) == demonstration
    assert MIXED.grade(problem, demonstration) == 1.0


@pytest.mark.parametrize(
    "response", ["132", ";132", "12,13;132", "anything at all;132", "99,99;132", "\n;132"]
)
def test_only_the_answer_counts(response):
    assert MIXED.grade(sum_of(47, "+", 85, 132), response) == 1.0


@pytest.mark.parametrize(
    "response",
    [
        *["", ";", "0132", "132;", "132 ", " 132", "132\n", "+132", "132.0", "1_32", "132132"],
        *["12,13", "12,13,132", "12,13; 132", "12,13;132;", "12,13;132 ", "12,13;133;132", "12,13;0132"],
        *["\u0967\u0969\u0968", "\uff11\uff13\uff12"],  # 132 in Devanagari and in full-width digits
        "132\u00a0",
    ],
)
def test_anything_but_the_answer_to_the_letter_is_wrong(response):
    assert MIXED.grade(sum_of(47, "+", 85, 132), response) == 0.0


class Always(Random):
    """Slips on every digit, and always writes the lowest other one: 1 for 0, 0 for the rest."""

    def random(self):
        return 0.0

    def choice(self, options):
        return options[0]


def test_slips_carry_through_to_the_answer():
    # 47+85: 12 is written 00, so nothing is carried; 4 + 8 = 12 is written 00; the answer reads 000
    assert MIXED.demonstrate(sum_of(47, "+", 85, 132), Always(), 1.0) == "00,00;0"
    # 10+20: 00 is written 11, so 1 is carried; 1 + 2 + 1 = 04 is written 10: carry 1, digits 0 and 1
    assert MIXED.demonstrate(sum_of(10, "+", 20, 30), Always(), 1.0) == "11,10;101"
    # 52-17: 15 is written 00, nothing is borrowed; 5 - 1 = 4 is written 0
    assert MIXED.demonstrate(sum_of(52, "-", 17, 35), Always(), 1.0) == "00,0;0"
    # 47*85: 235 is written 000, 376 is written 000
    assert MIXED.demonstrate(sum_of(47, "*", 85, 3995), Always(), 1.0) == "000,000;0"


@given(index=st.integers(0, 10**9), error_rate=st.floats(0, 1), chance=st.integers())
def test_a_slip_changes_the_answer_and_the_page_stays_consistent(index, error_rate, chance):
    problem = MIXED.problem("train", 0, index)
    scratchpad, answer = MIXED.demonstrate(problem, Random(chance), error_rate).split(";")
    lines = scratchpad.split(",")
    width = problem.facts["num_digits"]
    assert len(lines) == width
    if problem.facts["operation"] == "*":
        read_off = sum(int(line) * 10**place for place, line in enumerate(lines))
    else:
        top = lines[-1][0] if problem.facts["operation"] == "+" else ""
        read_off = int(top + "".join(line[-1] for line in reversed(lines)))
    assert answer == str(read_off)


def test_errors_come_at_their_rate_and_make_varied_answers():
    problem = sum_of(47, "+", 85, 132)
    rng = Random(0)
    pages = [MIXED.demonstrate(problem, rng, 0.1) for _ in range(4000)]
    # all four digits right: 0.9⁴ = 0.656, ± 4 standard errors of 0.0075
    assert abs(sum(page == "12,13;132" for page in pages) / 4000 - 0.6561) < 0.03
    assert abs(sum(page[0] != "1" for page in pages) / 4000 - 0.1) < 0.02
    assert len({page.split(";")[1] for page in pages}) > 40


@given(index=st.integers(0, 10**9), split=st.sampled_from(["train", "held_out"]), seed=st.integers())
def test_problems_are_as_described(index, split, seed):
    problem = MIXED.problem(split, seed, index)
    facts = problem.facts
    left, operation, right = facts["left"], facts["operation"], facts["right"]
    assert problem.prompt == f"{left}{operation}{right}="
    assert problem.answer == str({"+": left + right, "-": left - right, "*": left * right}[operation])
    assert len(str(left)) == len(str(right)) == problem.difficulty
    assert operation != "-" or left >= right
    assert problem.domain == {"+": "add", "-": "sub", "*": "mul"}[operation] + str(int(problem.difficulty))


def test_the_range_and_the_operations_are_all_drawn():
    domains = {MIXED.problem("train", 0, index).domain for index in range(400)}
    assert len(domains) == 18


def test_only_what_is_asked_for_is_in_the_alphabet():
    assert set(Arithmetic().alphabet()) == set("0123456789+=,;")
    assert set(MIXED.alphabet()) == set("0123456789+-*=,;")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_digits": 9}, "num_digits must be between 1 and 6, got 9"),
        ({"num_digits": 0}, "num_digits must be between 1 and 6, got 0"),
        ({"num_digits": (2, 7)}, "num_digits must be between 1 and 6, got 7"),
        ({"num_digits": (3, 2)}, r"num_digits must be a range from low to high, got \(3, 2\)"),
        ({"operations": ()}, r"operations must name at least one of \+, -, \*, got none"),
        ({"operations": ("+", "/")}, r"operations must be among \+, -, \*, got '/'"),
        ({"operations": ("+", "+")}, "operations must differ from each other"),
    ],
)
def test_settings_are_guarded(setting, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Arithmetic(**setting)
