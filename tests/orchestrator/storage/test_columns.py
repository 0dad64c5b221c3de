"""Reading a file as a whole gives what reading it line by line does."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.storage import column_reader
from orchestrator.storage.column_reader import read_columns
from orchestrator.storage.columns import to_columns
from orchestrator.storage.metrics_log import MetricsWriter, Tail, encode


def assert_same(one, other):
    for mine, theirs in ((one.train, other.train), (one.evaluation, other.evaluation)):
        assert mine.steps.tolist() == theirs.steps.tolist()
        assert mine.steps.dtype == theirs.steps.dtype
        assert mine.values.keys() == theirs.values.keys()
        for name in mine.values:
            np.testing.assert_array_equal(mine.values[name], theirs.values[name])
    np.testing.assert_equal(one.seconds, other.seconds)


def both(path, keep=None):
    return read_columns([path], keep)[0], to_columns(Tail(path).read(), keep)


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)
names = st.sampled_from(["entropy", "loop/x/u", "ünï/ç", "a.b", "reward"])


logged_rows = st.lists(st.tuples(st.booleans(), st.dictionaries(names, numbers)), max_size=12)
"""Whether it is an evaluation, and the metrics of each record."""


def write_rows(path, rows):
    with MetricsWriter(path) as writer:
        for step, (is_evaluation, metrics) in enumerate(rows):
            kind, prefix = ("eval", "eval/") if is_evaluation else ("train", "")
            writer.append(step, {prefix + name: value for name, value in metrics.items()}, kind=kind)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(logged_rows)
def test_any_record_reads_the_same_to_the_last_bit(tmp_path, rows):
    path = tmp_path / "metrics.jsonl"
    path.unlink(missing_ok=True)
    write_rows(path, rows)
    assert_same(*both(path))


def write(path, *lines):
    path.write_bytes(b"".join(lines))
    return path


RECORD = b'{"step":%d,"kind":"train","time":1.5,"metrics":{"entropy":%s}}\n'


def test_what_the_writer_writes_is_parsed_as_a_whole(tmp_path, monkeypatch):
    with MetricsWriter(tmp_path / "m") as writer:
        for step in range(5):
            writer.append(step, {"entropy": 0.1, "late": math.nan if step < 3 else 1.0})
    monkeypatch.setattr(column_reader, "to_columns", lambda *_: pytest.fail("read line by line"))
    (read,) = read_columns([tmp_path / "m"])
    assert read.train.values["late"].tolist()[3:] == [1.0, 1.0]
    assert np.isnan(read.train.values["late"][:3]).all()


def test_a_torn_last_line_is_left_for_later(tmp_path):
    path = write(tmp_path / "m", RECORD % (0, b"0.25"), RECORD % (1, b"0.5"), b'{"step":2,"kind":"tr')
    assert read_columns([path])[0].train.steps.tolist() == [0, 1]


def test_whole_numbers_by_another_hand_are_numbers(tmp_path):
    path = write(tmp_path / "m", RECORD % (0, b"1"), RECORD % (1, b"2"))
    assert_same(*both(path))
    assert read_columns([path])[0].train.values["entropy"].tolist() == [1.0, 2.0]


def test_a_file_that_is_empty_or_not_there_has_no_records(tmp_path):
    empty = write(tmp_path / "m")
    for read in read_columns([empty, tmp_path / "none"]):
        assert read.train.steps.size == read.evaluation.steps.size == 0
        assert math.isnan(read.seconds)


@pytest.mark.parametrize("line", [b"what is this\n", b'{"step": 1}\n', b"[]\n"])
def test_a_line_that_is_no_record_is_said_with_its_file(tmp_path, line):
    path = write(tmp_path / "m", RECORD % (0, b"0.25"), line)
    with pytest.raises(ValueError, match=r"m: not a metrics record: .*restore the file"):
        read_columns([path])


def test_only_what_is_asked_for_is_kept(tmp_path):
    with MetricsWriter(tmp_path / "m") as writer:
        writer.append(0, {"entropy": 0.1, "seconds/update": 2.0})
    fast, slow = both(tmp_path / "m", lambda name: name == "entropy")
    assert_same(fast, slow)
    assert list(fast.train.values) == ["entropy"]


def test_files_come_back_in_the_order_given(tmp_path):
    paths = [write(tmp_path / str(i), RECORD % (i, b"0.5")) for i in range(20)]
    assert [int(read.train.steps[0]) for read in read_columns(paths)] == list(range(20))


def test_arrays_do_not_hold_on_to_the_file(tmp_path):
    path = write(tmp_path / "m", *(RECORD % (i, b"0.5") for i in range(50)))
    train = read_columns([path])[0].train
    assert train.values["entropy"].base is None
    assert train.steps.base is None
    assert json.loads(encode(Tail(path).read()[0]))["metrics"] == {"entropy": 0.5}
