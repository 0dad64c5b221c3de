import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.rows import hub_rows, jsonl_rows, parquet_rows


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
