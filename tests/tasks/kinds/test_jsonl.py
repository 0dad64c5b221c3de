import json
import pickle
from datetime import date
from random import Random

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.kinds.jsonl import Jsonl
from tasks.splits import held_out_set, split_of


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def sums(*range_of_numbers):
    return [{"prompt": f"{i}+1=", "answer": f"{i + 1}"} for i in range(*range_of_numbers)]


def test_a_row_becomes_a_problem(tmp_path):
    rows = [{"q": f"{i}?", "a": "yes", "subject": "chess", "elo": i} for i in range(40)]
    task = Jsonl(
        path=write(tmp_path / "f.jsonl", *rows),
        prompt_key="q",
        answer_key="a",
        domain_key="subject",
        difficulty_key="elo",
    )
    problem = task.problem("train", 0, 0)
    assert (problem.answer, problem.domain) == ("yes", "chess")
    assert problem.prompt == f"{int(problem.difficulty)}?"


def test_domain_and_difficulty_have_plain_defaults(jsonl_file):
    problem = Jsonl(path=jsonl_file).problem("train", 0, 0)
    assert (problem.domain, problem.difficulty) == ("jsonl", 0.0)


def test_an_epoch_is_a_permutation_and_the_next_one_another(jsonl_file):
    task = Jsonl(path=jsonl_file)
    every = {f"{i}+1=" for i in range(40) if split_of(f"{i}+1=") == "train"}
    epochs = [
        [task.problem("train", 7, epoch * len(every) + place).prompt for place in range(len(every))]
        for epoch in range(3)
    ]
    assert all(set(epoch) == every for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[0] != [task.problem("train", 8, place).prompt for place in range(len(every))]


def test_a_second_file_is_held_out_and_kept_out_of_training(tmp_path):
    task = Jsonl(
        path=write(tmp_path / "train.jsonl", *sums(10)),
        held_out_path=write(tmp_path / "test.jsonl", *sums(8, 12)),
    )
    assert {task.problem("train", 0, i).prompt for i in range(50)} == {f"{i}+1=" for i in range(8)}
    assert {p.prompt for p in held_out_set(task, 4)} == {f"{i}+1=" for i in range(8, 12)}


def test_a_parquet_file_gives_the_problems_of_its_json_lines(tmp_path):
    rows = [row | {"level": 0.1, "tests": [{"in": "1"}], "day": "2024-01-02"} for row in sums(20)]
    table = pa.Table.from_pylist(rows)
    day = pa.array([date(2024, 1, 2)] * 20)
    level = table["level"].cast(pa.float32())
    table = table.set_column(3, "tests", table["tests"]).set_column(4, "day", day)
    pq.write_table(table.set_column(2, "level", level), tmp_path / "f.parquet")
    lines, columns = (
        Jsonl(path=path, difficulty_key="level")
        for path in (write(tmp_path / "f.jsonl", *rows), str(tmp_path / "f.parquet"))
    )
    for split in ("train", "held_out"):
        assert [lines.problem(split, 3, index) for index in range(5)] == [
            columns.problem(split, 3, index) for index in range(5)
        ]
    assert columns.problem("train", 0, 0).facts == {"tests": [{"in": "1"}], "day": "2024-01-02"}


def test_a_row_of_a_parquet_file_is_reported_with_place_and_cure(tmp_path):
    pq.write_table(pa.table({"prompt": ["a", "b"], "answer": ["1", None]}), tmp_path / "f.parquet")
    with pytest.raises(ValueError, match=r"f\.parquet, row 2: 'answer' must be text, got null"):
        Jsonl(path=str(tmp_path / "f.parquet")).problem("train", 0, 0)


def test_splits_of_a_data_set_are_trained_on_and_held_out(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", *sums(10))
    write(folder / "test.jsonl", *sums(8, 12))
    task = Jsonl(dataset=str(folder), held_out_split="test")
    assert {task.problem("train", 0, i).prompt for i in range(50)} == {f"{i}+1=" for i in range(8)}
    assert {p.prompt for p in held_out_set(task, 4)} == {f"{i}+1=" for i in range(8, 12)}
    assert task.reads() == {"dataset": folder}
    with pytest.raises(ValueError, match=r"set: cannot be loaded \(split 'dev'"):
        Jsonl(dataset=str(folder), split="dev").problem("train", 0, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "path must be set where dataset is not"),
        (
            {"path": "f.jsonl", "held_out_split": "test"},
            "held_out_split is for a dataset, and 'f.jsonl' is a file",
        ),
    ],
)
def test_a_source_is_named_once(settings, message):
    with pytest.raises(ValueError, match=message):
        Jsonl(**settings)


@given(seeds=st.tuples(st.integers(), st.integers()), fraction=st.floats(0.2, 0.8))
def test_repeats_of_a_prompt_are_on_one_side(tmp_path_factory, seeds, fraction):
    path = tmp_path_factory.getbasetemp() / "repeats.jsonl"
    task = Jsonl(path=write(path, *sums(40), *sums(40)), held_out_fraction=fraction)
    train = {task.problem("train", seeds[0], index).prompt for index in range(80)}
    held_out = {task.problem("held_out", seeds[1], index).prompt for index in range(80)}
    assert train.isdisjoint(held_out)
    assert len(train | held_out) == 40


@pytest.mark.parametrize(
    ("pattern", "answer", "response", "score"),
    [
        (None, "5", " 5\n", 1.0),
        (None, "5", "5.0", 0.0),
        (None, "5", "it is 5", 0.0),
        (r"#### (.+)", "2+3=5 #### 5", "let me see #### 5", 1.0),
        (r"#### (.+)", "2+3=5 #### 5", "5", 1.0),
        (r"#### (.+)", "2+3=5 #### 5", "#### 5 no #### 6", 0.0),
        (r"-?\d+", "5", "it is 5.", 1.0),
        (r"-?\d+", "5", "it is -5.", 0.0),
    ],
)
def test_the_answer_is_extracted_and_compared(tmp_path, pattern, answer, response, score):
    rows = [{"prompt": f"{i}", "answer": answer} for i in range(40)]
    task = Jsonl(path=write(tmp_path / "f.jsonl", *rows), answer_pattern=pattern)
    problem = task.problem("train", 0, 0)
    assert task.grade(problem, response) == score
    assert task.grade(problem, task.demonstrate(problem, Random(0), 0.0)) == 1.0


def test_the_task_travels_without_its_file(jsonl_file):
    task = Jsonl(path=jsonl_file)
    before = task.problem("train", 0, 3)
    assert len(pickle.dumps(task)) < 1000
    assert pickle.loads(pickle.dumps(task)).problem("train", 0, 3) == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"f\.jsonl: is empty; give it one problem a row"),
        (["", "  "], r"f\.jsonl: is empty"),
        (["{}", "x"], r"f\.jsonl, line 1: has no 'prompt'"),
        ([*sums(2), "", "{oops}"], r"f\.jsonl, line 4: is not JSON \(.*\); write one object a line"),
        ([*sums(2), "[1]"], r"f\.jsonl, line 3: must be an object, got \[1\]"),
        ([{"prompt": "a", "ans": "b"}], "line 1: has no 'answer', only 'prompt', 'ans'; .* set answer_key"),
        ([{"prompt": "a", "answer": 5}], "line 1: 'answer' must be text, got 5; make it text, in quotes"),
        ([{"prompt": " ", "answer": "5"}], "line 1: 'prompt' must not be blank"),
        (["[" * 100_000], r"f\.jsonl, line 1: is not JSON"),
        (sums(1, 2), r"f\.jsonl: none of its 1 prompts is held out at held_out_fraction 0\.1; raise it"),
    ],
)
def test_a_bad_file_is_reported_with_place_and_cure(tmp_path, rows, message):
    task = Jsonl(path=write(tmp_path / "f.jsonl", *rows))
    with pytest.raises(ValueError, match=message):
        task.problem("train", 0, 0)


def test_a_difficulty_must_be_a_number(tmp_path):
    for value in ("hard", True, float("nan"), None):
        rows = [row | {"level": value} for row in sums(1)]
        task = Jsonl(path=write(tmp_path / f"{value}.jsonl", *rows), difficulty_key="level")
        with pytest.raises(ValueError, match="line 1: 'level' must be a finite number, got"):
            task.problem("train", 0, 0)


def test_a_file_that_is_all_held_out_leaves_nothing_to_train_on(tmp_path):
    path = write(tmp_path / "f.jsonl", *sums(5))
    with pytest.raises(ValueError, match="all of its 5 prompts are held out"):
        Jsonl(path=path, held_out_path=path).problem("train", 0, 0)


def test_a_missing_file_is_reported_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"none\.jsonl: cannot be read \(No such file .*looked for /.*none"):
        Jsonl(path=str(tmp_path / "none.jsonl")).problem("train", 0, 0)
    with pytest.raises(ValueError, match="cannot be read"):
        Jsonl(path=str(tmp_path)).problem("train", 0, 0)


def test_a_file_in_another_encoding_is_reported(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"prompt": "é", "answer": "e"}'.encode("latin-1"))
    with pytest.raises(ValueError, match="must be UTF-8 text, byte 12 is not"):
        Jsonl(path=str(path)).problem("train", 0, 0)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(row).encode() for row in sums(40)))
    assert Jsonl(path=str(path)).problem("train", 0, 0).answer.isdigit()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"held_out_fraction": 0.0}, "held_out_fraction must be between 0 and 1, got 0.0"),
        ({"held_out_fraction": 1.0}, "held_out_fraction must be between 0 and 1, got 1.0"),
        ({"answer_pattern": "(a"}, r"answer_pattern must be a regular expression, got '\(a'"),
    ],
)
def test_settings_are_guarded(setting, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Jsonl(path="f.jsonl", **setting)
