"""The samples of a run on disk: what is written is read back, whatever texts it is of."""

import errno
import math

import pytest

from orchestrator.errors import ConfigError
from orchestrator.storage import files
from orchestrator.storage.samples import (
    CUT,
    LONGEST_TEXT,
    MOST_TOKENS,
    Sample,
    forget_samples,
    read_samples,
    sample_files,
    sample_path,
    write_samples,
)


def sample(**changes):
    fields = {
        "iteration": 3,
        "number": 0,
        "domain": "add2",
        "prompt": "1+2=",
        "answer": "3",
        "turns": ["3"],
        "reward": 1.0,
        "right": True,
        "length": 2,
        "finished": True,
        "tokens": ["3", "<eos>"],
        "token_turns": [1, 1],
        "entropies": [0.5, 0.25],
    }
    return Sample(**fields | changes)


def stored(folder, **changes):
    write_samples(folder, 3, [sample(**changes)])
    (read,) = read_samples(sample_path(folder, 3))
    return read


def test_what_is_written_is_read_back_and_a_table_for_others(tmp_path):
    import pandas

    written = [sample(), sample(number=8, turns=["a", "b", "c"], token_turns=[1, 0], entropies=[0.5, None])]
    write_samples(tmp_path, 3, written)
    assert read_samples(sample_path(tmp_path, 3)) == written
    frame = pandas.read_parquet(tmp_path)
    assert list(frame["number"]) == [0, 8]
    assert [each.mean_entropy for each in written] == [0.375, 0.5]
    assert sample(entropies=[]).mean_entropy is None


@pytest.mark.parametrize(
    "text",
    [
        "</script><script>alert(1)</script>",
        "\"quotes\" 'both' `ticks`",
        "مرحبا \u202e right to left",
        "\x00\x1b[31m controls \n\t",
        "🙂 e\u0301",
    ],
)
def test_texts_stay_as_they_are(tmp_path, text):
    read = stored(tmp_path, prompt=text, turns=[text], tokens=[text], token_turns=[1], entropies=[0.0])
    assert (read.prompt, read.turns, read.tokens) == (text, [text], [text])


def test_a_lone_surrogate_is_shown_as_what_cannot_be(tmp_path):
    read = stored(tmp_path, prompt="a\ud800b", turns=["\udfff"], tokens=["\ud812", "x"])
    assert (read.prompt, read.turns, read.tokens) == ("a\ufffdb", ["\ufffd"], ["\ufffd", "x"])


def test_long_texts_are_cut_and_say_so(tmp_path):
    long = "x" * (LONGEST_TEXT + 1)
    tokens = ["x"] * (MOST_TOKENS + 1)
    read = stored(
        tmp_path,
        prompt=long,
        turns=["y", long],
        tokens=tokens,
        token_turns=[1] * 1001,
        entropies=[0.1] * 1001,
    )
    assert read.prompt == long[:LONGEST_TEXT] + CUT == read.turns[1]
    assert read.turns[0] == "y"
    assert len(read.tokens) == len(read.token_turns) == len(read.entropies) == MOST_TOKENS
    assert stored(tmp_path, prompt=long[:-1]).prompt == long[:-1]


def test_credentials_are_not_stored_also_not_token_by_token(tmp_path):
    url = "see postgresql://me:hunter22@db/x now"
    read = stored(tmp_path, prompt=url, turns=[url], tokens=["see postgresql://me:", "hunter22", "@db/x now"])
    assert "hunter22" not in repr(read)
    assert (read.tokens, read.entropies) == ([], [])
    assert "***" in read.prompt
    assert b"hunter22" not in sample_path(tmp_path, 3).read_bytes()


def test_the_file_of_an_iteration_is_replaced_and_the_same_samples_are_the_same_bytes(tmp_path):
    write_samples(tmp_path, 3, [sample(), sample(number=1)])
    write_samples(tmp_path, 3, [sample()])
    first = sample_path(tmp_path, 3).read_bytes()
    write_samples(tmp_path, 3, [sample()])
    assert sample_path(tmp_path, 3).read_bytes() == first
    assert len(read_samples(sample_path(tmp_path, 3))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["iteration-00000003.parquet"]


def test_a_run_that_goes_on_forgets_the_samples_after_its_checkpoint(tmp_path):
    for iteration in (0, 9, 10, 100):
        write_samples(tmp_path, iteration, [sample(iteration=iteration)])
    (tmp_path / "notes.txt").write_text("of a user")
    assert list(sample_files(tmp_path)) == [0, 9, 10, 100]
    assert list(sample_files(tmp_path, before=10)) == [0, 9]
    forget_samples(tmp_path, 10)
    assert list(sample_files(tmp_path)) == [0, 9]
    assert (tmp_path / "notes.txt").exists()
    forget_samples(tmp_path / "none", 0)


def test_a_full_disk_leaves_the_file_of_before(tmp_path, monkeypatch):
    before = stored(tmp_path)

    def full(_):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="the disk is full"):
        write_samples(tmp_path, 3, [sample(number=1)])
    assert read_samples(sample_path(tmp_path, 3)) == [before]


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"{}"])
def test_a_damaged_file_is_one_error_with_its_name_and_the_cure(tmp_path, content):
    path = sample_path(tmp_path, 7)
    path.write_bytes(content)
    with pytest.raises(
        ConfigError, match=r"iteration-00000007\.parquet: not the samples .*; delete the file"
    ):
        read_samples(path)


def test_what_is_not_finite_is_stored_as_it_is(tmp_path):
    assert math.isnan(stored(tmp_path, reward=math.nan).reward)
