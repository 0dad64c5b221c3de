"""Some lines of a log are records; a log that lacks some says what is wrong with it."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import ConfigError
from orchestrator.storage.metrics_log import Tail, damage


def line(step=0, kind="train", metrics=None, **more):
    fields = {
        "step": step,
        "kind": kind,
        "time": 1.5,
        "metrics": {"entropy": 0.5} if metrics is None else metrics,
    }
    return json.dumps(fields | more) + "\n"


@pytest.mark.parametrize(
    "good",
    [line(), line(step=2**63 - 1), line(kind="eval"), line(metrics={"a": 1, "b": 2.5}), line(metrics={})],
)
def test_records_are_read(tmp_path, good):
    (tmp_path / "log").write_text(good)
    (record,) = Tail(tmp_path / "log").read()
    assert {"step": record.step, "kind": record.kind, "metrics": record.metrics, "time": 1.5} == json.loads(
        good
    )


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(step=-1), "step and kind are -1 and 'train'"),
        (line(step=2**63), "step and kind are 9223372036854775808 and 'train'"),
        (line(step=1.0), "step and kind are 1.0 and 'train'"),
        (line(step=True), "step and kind are True and 'train'"),
        (line(kind="test"), "step and kind are 0 and 'test'"),
        (line(metrics={"a": 1.0, "b": "2"}), "a metric is no number"),
        (line(metrics={"a": True}), "a metric is no number"),
        (line(metrics=[1.0]), "no attribute"),
        (line(more=1), "more"),
        ("[]\n", "must be a mapping"),
        ("{\n", "not a metrics record"),
    ],
)
def test_what_is_no_record_is_refused_with_its_file_and_the_reason(tmp_path, bad, reason):
    (tmp_path / "log").write_text(line() + bad)
    with pytest.raises(ConfigError, match="log: not a metrics record: ") as refused:
        Tail(tmp_path / "log").read()
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "iteration", "expected"),
    [
        ([], None, None),
        ([], 0, None),
        ([], 1, "iteration 0 is missing"),
        ([line(0), line(1)], 2, None),
        ([line(0), line(1)], 3, "iteration 2 is missing"),
        ([line(0), line(1)], 5, "iterations 2 to 4 are missing"),
        (
            [line(0), line(0, kind="eval"), line(1), line(5, kind="eval")],
            None,
            None,
        ),  # an evaluation every few
        ([line(0), line(2)], None, "iteration 1 is missing before line 2"),
        ([line(0), line(4)], None, "iterations 1 to 3 are missing before line 2"),
        ([line(0), line(0)], None, "line 2 has train step 0 after 0"),
        ([line(3, kind="eval"), line(2, kind="eval")], None, "line 2 has eval step 2 after 3"),
        ([line(-1)], None, "line 1 has train step -1 after -1"),
        ([line(-1, kind="eval")], None, "line 1 has eval step -1 after -1"),
        ([line(0), "x\n"], None, "line 2 is not a record"),
        ([line(0), line(1, kind="x")], None, "line 2 is not a record"),
        ([line(0), line(1)[:-2]], None, None),  # what is not finished counts for nothing
        ([line(0), line(1)[:-2]], 2, "iteration 1 is missing"),
    ],
)
def test_what_is_wrong_with_a_log_is_its_first_fault(tmp_path, lines, iteration, expected):
    (tmp_path / "log").write_text("".join(lines))
    assert damage(tmp_path / "log", iteration) == expected
