import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base import Problem
from tasks.kinds.arithmetic import Arithmetic
from tasks.splits import draw, held_out_set, problem_rng, split_of, stable_hash


def problem(prompt):
    return Problem(prompt=prompt, answer="", domain="test", difficulty=0.0)


def test_the_hash_is_the_published_blake2b():
    assert stable_hash("47+85=") == 0xAD75922AA7CA8874  # printf 47+85= | b2sum -l 64


def test_the_hash_does_not_depend_on_the_process():
    code = (
        "from tasks.splits import problem_rng, stable_hash;"
        "print(stable_hash('x'), problem_rng('train', 1, 2).random())"
    )
    here = f"{stable_hash('x')} {problem_rng('train', 1, 2).random()}\n"
    for hash_seed in "12":
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == here


def test_the_fraction_is_held_out():
    sides = [split_of(str(number)) for number in range(20_000)]
    assert abs(sides.count("held_out") / 20_000 - 0.1) < 0.01
    assert split_of("x", held_out_fraction=1.0) == "held_out"
    assert split_of("x", held_out_fraction=0.0) == "train"


@given(prompt=st.text(), small=st.floats(0, 1), large=st.floats(0, 1))
def test_a_larger_fraction_only_adds_to_what_is_held_out(prompt, small, large):
    small, large = sorted([small, large])
    assert split_of(prompt, small) == "train" or split_of(prompt, large) == "held_out"


@given(seeds=st.lists(st.integers(), min_size=2, max_size=2), num_digits=st.integers(1, 3))
def test_the_splits_are_disjoint_whatever_the_seeds(seeds, num_digits):
    task = Arithmetic(num_digits=num_digits)
    train = {task.problem("train", seeds[0], index).prompt for index in range(100)}
    held_out = {task.problem("held_out", seeds[1], index).prompt for index in range(20)}
    assert train.isdisjoint(held_out)


def test_split_seed_and_index_all_matter():
    draws = {problem_rng(*key).random() for key in [("train", 0, 1), ("held_out", 0, 1), ("train", 1, 0)]}
    assert len(draws | {problem_rng("train", 0, 11).random(), problem_rng("train", 1, 1).random()}) == 5


def test_a_side_without_problems_is_reported():
    lone = problem("the only one")
    other = "train" if split_of(lone.prompt) == "held_out" else "held_out"
    with pytest.raises(ValueError, match=f"split '{other}' has no problem: 1000 draws .* 'the only one'"):
        draw(lambda rng: lone, other, 0, 0)


def test_a_held_out_set_has_no_repeats_and_keeps_its_order():
    task = Arithmetic()
    few, many = held_out_set(task, 50), held_out_set(task, 300)
    assert many[:50] == few
    prompts = [problem.prompt for problem in many]
    assert len(set(prompts)) == 300
    assert all(split_of(prompt) == "held_out" for prompt in prompts)
    assert held_out_set(task, 50, seed=1) != few


def test_an_exhausted_space_says_how_many_there_are():
    task = Arithmetic(num_digits=1)
    every_prompt = [f"{a}+{b}=" for a in range(10) for b in range(10)]
    num_held_out = sum(split_of(prompt) == "held_out" for prompt in every_prompt)
    assert len(held_out_set(task, num_held_out)) == num_held_out
    with pytest.raises(
        ValueError, match=f"num_problems: must be at most {num_held_out}, got 64: arithmetic has no"
    ):
        held_out_set(task, 64)
    with pytest.raises(ValueError, match="num_problems must be at least 1, got 0"):
        held_out_set(task, 0)
