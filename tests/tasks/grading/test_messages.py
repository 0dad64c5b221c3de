"""A worker that a response has taken over writes what it likes, and its parent takes no harm."""

import os
import pickle

import pytest
from hostile_graders import PROBLEM, Intruder, Obedient
from hypothesis import given
from hypothesis import strategies as st

from tasks.grading.messages import (
    MAX_LINE_BYTES,
    GradedAnswer,
    Ready,
    Started,
    StartFailure,
    decode,
    described,
    encode,
)
from tasks.grading.pool import GradingPool

MESSAGES = [
    Ready({"network": "none, by seccomp"}),
    StartFailure("OSError: no dictionary"),
    Started(0.25),
    GradedAnswer(1.0),
    GradedAnswer(0.0, "ValueError: é \ufffd \x00\n", 0.5, 1.5),
    GradedAnswer(1.0, "", 0.5, 1.5, True),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_line_and_comes_back(message):
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'["Exit"]',
        b'["GradedAnswer"]',
        b'["GradedAnswer", 2.0]',
        b'["GradedAnswer", -0.1]',
        b'["GradedAnswer", NaN]',
        b'["Started", ' + b"9" * 1000 + b"]",
        b'["GradedAnswer", 1.0, "", 0, ' + b"9" * 1000 + b"]",
        b'["GradedAnswer", 1.0, "", 0, 0, false, {"a": ' + b"9" * 1000 + b"}]",
        b'["GradedAnswer", 1.0, "", 0, 0, false, {"a": -' + b"9" * 1000 + b"}]",
        b'["GradedAnswer", Infinity]',
        b'["GradedAnswer", true]',
        b'["GradedAnswer", "1"]',
        b'["GradedAnswer", null]',
        b'["GradedAnswer", 1.0, 5]',
        b'["GradedAnswer", 1.0, "\\ud800"]',
        b'["GradedAnswer", 1.0, "' + b"x" * 501 + b'"]',
        b'["GradedAnswer", 1.0, "", -1]',
        b'["GradedAnswer", 1.0, "", 0, NaN]',
        b'["GradedAnswer", 1.0, "", 0, 0, 0]',
        b'["GradedAnswer", 1.0, "", 0, 0, false, 0]',
        b'["Started", "soon"]',
        b'["Started", -1]',
        b'["Ready", []]',
        b'["Ready", {"network": 5}]',
        b'["StartFailure", 5]',
        b"[" * 5000,
        b"9" * 5000,
        b"\xff\xfe",
        pickle.dumps(GradedAnswer(1.0)),
    ],
)
def test_what_no_worker_writes_is_refused(line):
    with pytest.raises(ValueError, match="of a grading worker"):
        decode(line)


@given(st.binary(max_size=200))
def test_any_line_is_a_message_or_refused(line):
    try:
        message = decode(line)
    except ValueError as error:
        reason = str(error)
    else:
        reason = f"{type(message).__name__} of a grading worker"
        assert decode(encode(message).strip()) == message
    assert "of a grading worker" in reason


def test_an_error_is_described_so_that_it_can_be_written_anywhere():
    assert described(ValueError("\ud800 x")) == "ValueError: ? x"
    assert len(described(ValueError("x" * 10_000))) == 500


class Trap:
    """What a pickle can do to the process that reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(scope="module")
def pool():
    with GradingPool(Intruder(), wall_limit_seconds=3.0) as pool:
        yield pool


def forge(data):
    return f"forge {data.hex()}"


def test_the_parent_unpickles_nothing(pool, tmp_path):
    trap = pickle.dumps(Trap(str(tmp_path / "mine")))
    framed = len(trap).to_bytes(4, "big") + trap + b"\n"
    grades = pool.grade([PROBLEM] * 2, [forge(framed), "burn 0"])
    assert grades.scores == [0.0, 1.0]
    assert grades.num_crashes == 1
    assert "wrote what no worker writes" in grades.first_error
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "data",
    [
        encode(Ready({})),
        encode(StartFailure("made up")),
        encode(Started(0.0)),
        b"\n",
        b"x" * MAX_LINE_BYTES,
    ],
)
def test_a_message_out_of_turn_or_without_end_costs_its_own_response(pool, data):
    grades = pool.grade([PROBLEM] * 2, [forge(data), "burn 0"])
    assert grades.scores == [0.0, 1.0]
    assert grades.num_crashes + grades.num_timeouts == 1


def test_verdicts_that_nothing_was_asked_for_are_not_taken(pool):
    """A worker that is taken over can lie about what it grades, and about nothing else."""
    grades = pool.grade([PROBLEM], [forge(encode(GradedAnswer(1.0)) * 5)])
    assert grades.scores == [1.0]
    assert pool.grade([PROBLEM] * 2, ["burn 0", "hash x"]).scores[0] == 1.0


def test_a_worker_replaced_for_what_it_said_is_not_listened_to_any_more(pool):
    data = encode(GradedAnswer(1.0, worn_out=True)) + encode(Ready({"network": "made up"}))
    grades = pool.grade([PROBLEM] * 2, [forge(data), "burn 0"])
    assert grades.scores == [1.0, 1.0]
    assert grades.num_crashes == 0
    assert pool.confinement["core dumps"] == "none"


def test_half_a_message_does_not_hold_up_the_parent(pool):
    grades = pool.grade([PROBLEM] * 2, [forge(b'["GradedAnswer", 1.0'), "burn 0"])
    assert grades.scores == [0.0, 1.0]
    assert grades.num_timeouts == 1


def test_problems_and_responses_of_any_text_reach_the_worker():
    with GradingPool(Obedient()) as pool:
        grades = pool.grade([PROBLEM] * 3, ["\ud800", "\x00\n", "x" * 2_000_000])
    assert (grades.scores, grades.first_error) == ([0.0] * 3, "")
