"""Digests of what runs read: by content, and large files once."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.storage import inputs
from orchestrator.storage.inputs import changes, combined, now, read_inputs, said


@pytest.fixture
def hashed(monkeypatch, tmp_path):
    """Names of the files that were read to be hashed, and a cache of the test's own."""
    monkeypatch.setenv("ENTROSTAT_CACHE", str(tmp_path / "cache"))
    names, digest = [], hashlib.file_digest

    def spy(file, kind):
        names.append(Path(file.name).name)
        return digest(file, kind)

    monkeypatch.setattr(inputs.hashlib, "file_digest", spy)
    return names


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(b"a" * inputs.REMEMBERED_BYTES)
    return path


def settle(monkeypatch):
    """As if files had been there for long: one that changes at this very moment is not remembered."""
    monkeypatch.setattr(inputs, "SETTLED_SECONDS", -60.0)


def test_the_digest_is_that_of_the_content(tmp_path):
    (tmp_path / "a.jsonl").write_text("one")
    (label,) = found = read_inputs({"task.path": tmp_path / "a.jsonl"})
    assert label == f"task.path: {tmp_path / 'a.jsonl'}"
    assert found[label]["digest"] == f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    assert found[label]["bytes"] == 3


def test_a_folder_is_its_files_at_any_depth_and_hidden_ones_are_not_of_it(tmp_path):
    folder = tmp_path / "model"
    for name in ("config.json", "templates/chat.jinja", ".git/HEAD", ".DS_Store"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    outside = tmp_path / "blobs"
    outside.mkdir()
    (outside / "weights").write_text("w")
    (folder / "model.safetensors").symlink_to(outside / "weights")  # as in the cache of a hub
    (folder / "linked").symlink_to(outside)
    (outside / "again").symlink_to(folder)  # and round again
    found = read_inputs({"policy.source": folder})
    names = {label.removeprefix(f"policy.source: {folder}/") for label in found}
    assert names == {"config.json", "templates/chat.jinja", "model.safetensors", "linked/weights"}


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"task\.path: .*none\.jsonl cannot be read \(No such file"):
        read_inputs({"task.path": tmp_path / "none.jsonl"})


def test_large_files_are_read_once_and_small_ones_always(hashed, large, tmp_path, monkeypatch):
    settle(monkeypatch)
    (tmp_path / "small").write_text("s")
    sources = {"a": large, "b": tmp_path / "small"}
    first = read_inputs(sources)
    assert read_inputs(sources) == first
    assert sorted(hashed) == ["large.bin", "small", "small"]


def test_a_large_file_of_the_same_size_and_time_but_another_content_is_read_again(hashed, large, monkeypatch):
    settle(monkeypatch)
    before = read_inputs({"a": large})
    times = large.stat()
    time.sleep(0.02)  # longer than a tick of the file system's clock
    large.write_bytes(b"b" * inputs.REMEMBERED_BYTES)
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = read_inputs({"a": large})
    assert len(hashed) == 2
    assert [change["input"] for change in changes(before, after)] == [f"a: {large}"]


def test_one_that_has_just_changed_is_not_remembered(hashed, large):
    read_inputs({"a": large})
    read_inputs({"a": large})
    assert len(hashed) == 2


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"/x": 1}'])
def test_a_cache_that_is_broken_is_none(hashed, large, tmp_path, content, monkeypatch):
    settle(monkeypatch)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "digests.json").write_text(content)
    first = read_inputs({"a": large})
    assert read_inputs({"a": large}) == first
    assert len(hashed) == 1


A, B = {"digest": "sha256:aaaa"}, {"digest": "sha256:bbbb", "bytes": 2, "modified": 0.0}


def test_what_is_another_what_is_new_and_what_is_gone():
    assert changes({"x": A, "y": A}, {"x": A, "y": A}) == []
    found = changes({"x": A, "gone": A}, {"x": B, "new": B})
    assert found == [
        {"input": "x", "old": A, "new": B},
        {"input": "gone", "old": A, "new": None},
        {"input": "new", "old": None, "new": B},
    ]
    assert said(found).startswith("x was sha256 aaaa, is sha256 bbbb (2 bytes, of ")
    assert "gone was sha256 aaaa, is not there" in said(found)
    assert said([*found, *found]).endswith("; and 3 more")
    assert "\n" not in said(found)


def test_what_was_not_known_is_no_change():
    unknown = {"digest": ""}
    assert changes({"x": unknown}, {"x": A}) == changes({"x": A}, {"x": unknown}) == []
    assert changes({"x": unknown}, {"x": A}, learned=True) == [{"input": "x", "old": unknown, "new": A}]
    assert changes({"x": A}, {"x": unknown}, learned=True) == []


def test_accepted_changes_are_what_counts_from_then_on():
    found = changes({"x": A, "gone": A}, {"x": B, "new": B})
    assert now({"x": A, "gone": A}, found) == {"x": B, "new": B}


def test_the_fingerprint_is_of_settings_and_content():
    assert combined("settings", {}) == combined("settings", None) == "settings"
    one = combined("settings", {"x": A, "y": B})
    assert one == combined("settings", {"y": {**B, "modified": 1.0}, "x": A})
    assert len({one, combined("settings", {"x": A}), combined("other", {"x": A, "y": B})}) == 3
