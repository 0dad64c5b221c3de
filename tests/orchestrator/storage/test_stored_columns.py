"""The columns of a run that has ended are its log to the last bit, and are used only while they are."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from orchestrator.storage import column_reader
from orchestrator.storage.column_reader import read_columns
from orchestrator.storage.columns import to_columns
from orchestrator.storage.metrics_log import MetricsWriter, Tail
from orchestrator.storage.stored_columns import store_columns, stored_columns
from tests.orchestrator.storage.test_columns import assert_same, logged_rows, write_rows


@pytest.fixture
def log(tmp_path):
    write_rows(tmp_path / "metrics.jsonl", [(step == 0, {"entropy": 0.5 - step / 10}) for step in range(4)])
    store_columns(tmp_path / "metrics.jsonl")
    return tmp_path / "metrics.jsonl"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(logged_rows)
def test_any_log_is_stored_to_the_last_bit(tmp_path, rows):
    path = tmp_path / "metrics.jsonl"
    path.unlink(missing_ok=True)
    write_rows(path, rows)
    store_columns(path)
    assert_same(stored_columns(path), to_columns(Tail(path).read()))


def test_a_reader_takes_them_and_leaves_the_log_alone(log, monkeypatch):
    monkeypatch.setattr(column_reader, "_parsed", lambda *_: pytest.fail("parsed the log"))
    assert read_columns([log])[0].train.values["entropy"].tolist() == [0.4, 0.3, 0.2]


def test_only_what_is_asked_for_is_kept_and_does_not_hold_on_to_the_rest(log):
    kept = stored_columns(log, lambda name: name == "entropy")
    assert (list(kept.train.values), list(kept.evaluation.values)) == (["entropy"], [])
    assert kept.train.values["entropy"].base is None


def grow(log):
    with MetricsWriter(log) as writer:
        writer.append(9, {"entropy": 0.1})


def cut(log):
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))


def measure_again(log):
    """As many bytes, another time of the last record."""
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b'"time":1', b'"time":2'))


@pytest.mark.parametrize("change", [grow, cut, measure_again])
def test_a_log_that_has_changed_since_is_read_itself(log, change):
    before = log.read_bytes()
    change(log)
    assert log.read_bytes() != before
    assert stored_columns(log) is None
    assert_same(read_columns([log])[0], to_columns(Tail(log).read()))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not an archive"])
def test_a_broken_file_is_as_good_as_none(log, content):
    log.with_suffix(".npz").write_bytes(content)
    assert read_columns([log])[0].train.steps.tolist() == [1, 2, 3]


def test_an_archive_of_another_kind_is_as_good_as_none(log):
    np.savez(log.with_suffix(".npz"), other=np.zeros(3))
    assert stored_columns(log) is None


def test_a_half_of_the_archive_is_as_good_as_none(log):
    stored = log.with_suffix(".npz").read_bytes()
    log.with_suffix(".npz").write_bytes(stored[: len(stored) // 2])
    assert stored_columns(log) is None


def test_a_log_that_is_gone_has_no_columns(log):
    log.unlink()
    read = read_columns([log])[0]
    assert read.train.steps.size == 0
    assert math.isnan(read.seconds)
