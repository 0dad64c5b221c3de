"""Code of a user's own: found by file or module, imported once, beside whatever else there is."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import own_code

ROOT = Path(__file__).parents[2]


def test_names_of_ours_are_no_code_of_a_users():
    assert own_code.is_own("rewards.py:f")
    assert own_code.is_own("a/b c.py:F")
    assert own_code.is_own("package.module.Name")
    for text in ("pid", "builtin:tiny", "a.py", "1.5", "f:g", "", 3, None):
        assert not own_code.is_own(text), text


def test_a_file_is_relative_to_the_campaign_and_its_folder_is_no_part_of_it(tmp_path):
    (tmp_path / "parts.py").touch()
    assert own_code.beside("parts.py:F", tmp_path) == f"{tmp_path}/parts.py:F"
    assert own_code.beside("../x/parts.py:F", tmp_path / "y") == f"{tmp_path}/x/parts.py:F"
    assert own_code.beside("/abs/parts.py:F", tmp_path) == "/abs/parts.py:F"
    assert own_code.beside("parts.F", tmp_path) == f"{tmp_path}/parts.py:F"
    assert own_code.beside("math.sqrt", tmp_path) == "math.sqrt"
    assert own_code.without_folder("/abs/parts.py:F") == "parts.py:F"
    assert own_code.without_folder("math.sqrt") == "math.sqrt"


def test_two_files_of_one_name_are_two_modules(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "tasks.py").write_text(f"def f(): return {name!r}\n")
    functions = [own_code.load(f"{tmp_path}/{name}/tasks.py:f") for name in "ab"]
    assert [function() for function in functions] == ["a", "b"]
    import tasks

    assert Path(tasks.__file__).is_relative_to(ROOT)
    assert not (tmp_path / "a" / "__pycache__").exists()


def test_a_class_of_a_file_goes_to_another_process(tmp_path):
    (tmp_path / "parts.py").write_text("import beside_it\nclass Part:\n    value = beside_it.VALUE\n")
    (tmp_path / "beside_it.py").write_text("VALUE = 7\n")
    part = own_code.load(f"{tmp_path}/parts.py:Part")()
    code = "import pickle, sys, tasks; print(pickle.load(sys.stdin.buffer).value)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(part), capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout == b"7\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1/0", r"cannot be imported: ZeroDivisionError: division by zero \(line 2\); mend it"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("def (", "cannot be imported: SyntaxError"),
        ("import no_such_module_at_all", "cannot be imported: ModuleNotFoundError"),
        ("def g(): pass\nh = g", "has no 'f'; it has g, h"),
        ("", "has no 'f'; it has nothing"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_in_one_line(tmp_path, text, said):
    (tmp_path / "own.py").write_text(f"\n{text}\n")
    with pytest.raises(ValueError, match=said) as refused:
        own_code.load(f"{tmp_path}/own.py:f")
    assert "own.py" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*gone\.py; check the path"):
        own_code.load(f"{tmp_path}/gone.py:f")
    with pytest.raises(ValueError, match="no_such_package cannot be imported"):
        own_code.load("no_such_package.Thing")
    with pytest.raises(ValueError, match="must name code, got 'a text'"):
        own_code.load("a text")


def test_a_file_hidden_by_another_module_is_refused(tmp_path):
    (tmp_path / "own.py").write_text("import json\ndef f(): pass\n")
    assert own_code.load(f"{tmp_path}/own.py:f")() is None
    (tmp_path / "json.py").touch()
    with pytest.raises(
        ValueError,
        match=r"imports 'json', and the file beside it is hidden by another module .*rename the file",
    ):
        own_code.load(f"{tmp_path}/own.py:f")


def test_importing_prints_beside_the_output_and_leaves_the_working_directory(tmp_path, capsys):
    (tmp_path / "own.py").write_text("import os\nprint('loud')\nos.chdir('/')\ndef f(): pass\n")
    folder = Path.cwd()
    own_code.load(f"{tmp_path}/own.py:f")
    assert Path.cwd() == folder
    assert capsys.readouterr() == ("", "loud\n")


def test_a_file_that_has_changed_is_read_again_only_when_asked(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def f(): return 1\n")
    assert own_code.load(f"{file}:f")() == 1
    file.write_text("def f(): return 2\n")
    assert own_code.load(f"{file}:f")() == 1
    own_code.forget_changed()
    assert own_code.load(f"{file}:f")() == 2


def test_the_files_that_count_are_those_that_are_imported(tmp_path):
    (tmp_path / "own.py").write_text("import math\nfrom near import x\ndef f():\n    import lazy.inner\n")
    (tmp_path / "near.py").write_text("import far\nimport own\n")
    (tmp_path / "far.py").write_text("this is no Python")
    (tmp_path / "unrelated.py").touch()
    (tmp_path / "lazy").mkdir()
    for name in ("__init__", "inner"):
        (tmp_path / "lazy" / f"{name}.py").touch()
    found = own_code.files_of(f"{tmp_path}/own.py:f")
    names = {str(each.relative_to(tmp_path)) for each in found}
    assert names == {"own.py", "near.py", "far.py", "lazy/__init__.py", "lazy/inner.py"}
    assert [each.name for each in own_code.files_of("json.decoder.JSONDecoder")] == ["decoder.py"]
    assert own_code.files_of("no_such_package.Thing") == []
