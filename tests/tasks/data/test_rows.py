from datetime import date, datetime
from decimal import Decimal

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.data.rows import hub_rows, jsonl_rows, parquet_rows


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """What `datasets` makes goes away with the test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def test_json_lines_come_with_their_places(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert list(jsonl_rows(str(path), "{}")) == [
        ({"a": 1}, f"{path}, line 1"),
        ({"a": 2}, f"{path}, line 3"),
    ]


@pytest.mark.parametrize(
    "number", ["1234567.0", "100000.5", "0.10", "-0.0", "1E+400", "12345678901234567890", "7"]
)
def test_numbers_of_json_keep_their_text(tmp_path, number):
    path = tmp_path / "f.jsonl"
    path.write_text(f'{{"a": {number}, "b": [{number}]}}')
    (row, _), *_ = jsonl_rows(str(path), "{}")
    assert (str(row["a"]), str(row["b"][0])) == (number, number)


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"a": "5", "b": {"c": 1, "c": 2}}')
    with pytest.raises(ValueError, match=r"f\.jsonl, line 1: has the key 'c' twice; keep one"):
        list(jsonl_rows(str(path), "{}"))


def test_json_lines_are_read_as_they_are_wanted(tmp_path):
    """A file may be larger than the memory that is free."""
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 100_000 + b"\xff\n")
    rows = jsonl_rows(str(path), "{}")
    assert next(rows) == ({"a": 1}, f"{path}, line 1")
    with pytest.raises(ValueError, match=r"must be UTF-8 text, byte 900000 is not; save it as UTF-8"):
        list(rows)


def test_why_json_lines_are_not_read_by_datasets(tmp_path, cache):
    """Once one of these is no longer so, `tasks.data.rows` can give that reading to the library."""
    path = tmp_path / "train.jsonl"
    path.write_text('{"day": "2024-01-02", "a": 0.10, "only": 1}\n{"day": "2024-01-03", "a": 2}\n')
    first, second = (row for row, _ in jsonl_rows(str(path), "{}"))
    assert first == {"day": "2024-01-02", "a": Decimal("0.10"), "only": 1}
    assert second == {"day": "2024-01-03", "a": 2}
    one, other = datasets.load_dataset("json", data_files=str(path), split="train")
    assert isinstance(one["day"], datetime)
    assert (str(one["a"]), str(other["a"])) == ("0.1", "2.0")
    assert other["only"] is None
    path.write_text('{"a": 1}\n\n{"a": \n')
    with pytest.raises(datasets.exceptions.DatasetGenerationError) as caught:
        datasets.load_dataset("json", data_files=str(path), split="train")
    assert "line 3" not in f"{caught.value} {caught.value.__cause__}"


def test_numbers_of_a_table_are_those_that_were_written(tmp_path):
    path = tmp_path / "f.parquet"
    table = pa.table(
        {
            "double": pa.array([0.1, 1234567.0, None]),
            "single": pa.array([0.1, 1234567.0, None], pa.float32()),
            "half": pa.array([0.1, 2048.0, None], pa.float16()),
            "decimal": pa.array([Decimal("0.10"), Decimal("5.00"), None], pa.decimal128(5, 2)),
            "inside": pa.array([{"a": [0.1]}, {"a": []}, None], pa.struct({"a": pa.list_(pa.float32())})),
        }
    )
    pq.write_table(table, path)
    first, second, third = (row for row, _ in parquet_rows(str(path)))
    assert {key: str(value) for key, value in first.items() if key != "inside"} == {
        "double": "0.1",
        "single": "0.1",
        "half": "0.1",
        "decimal": "0.10",
    }
    assert first["inside"] == {"a": [0.1]}
    assert (str(second["double"]), str(second["single"])) == ("1234567.0", "1234567.0")
    assert set(third.values()) == {None}


def test_columns_of_other_kinds_come_as_they_are(tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"day": [date(2024, 1, 2)], "bytes": [b"5"], "flag": [True]}), path)
    assert next(parquet_rows(str(path)))[0] == {"day": date(2024, 1, 2), "bytes": b"5", "flag": True}


def test_parquet_rows_come_with_their_places(tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"q": ["x", "y"], "r": [{"g": "1"}, {"g": "2"}]}), path)
    assert list(parquet_rows(str(path))) == [
        ({"q": "x", "r": {"g": "1"}}, f"{path}, row 1"),
        ({"q": "y", "r": {"g": "2"}}, f"{path}, row 2"),
    ]


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "f.parquet"
    path.write_text("question,answer\n")
    with pytest.raises(ValueError, match=r"f\.parquet: is no Parquet file .* write it again"):
        list(parquet_rows(str(path)))


def test_a_missing_file_names_where_it_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read \(.*looked for .*check the path"):
        list(parquet_rows(str(tmp_path / "none.parquet")))


def test_a_folder_is_loaded_as_the_hub_would_be(tmp_path, cache):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"q": "x"}\n{"q": "y"}\n')
    rows = list(hub_rows(str(folder), subset=None, split="train", revision=None))
    assert rows == [({"q": "x"}, f"{folder}/train, row 1"), ({"q": "y"}, f"{folder}/train, row 2")]


def test_a_split_that_is_not_there_is_refused(tmp_path, cache):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"q": "x"}\n')
    with pytest.raises(ValueError, match=r"set: cannot be loaded \(split 'tset'.*check these names"):
        list(hub_rows(str(folder), subset=None, split="tset", revision=None))


def test_without_a_network_the_hub_says_what_to_do(cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = r"openai/gsm8k: cannot be loaded .*hf download openai/gsm8k --repo-type dataset\) and give its"
    with pytest.raises(ValueError, match=message):
        list(hub_rows("openai/gsm8k", subset="main", split="train", revision="abc"))
