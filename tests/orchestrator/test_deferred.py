"""A deferred package: nothing of it runs before something of it is asked for, and then it is the package."""

from __future__ import annotations

import sys

import pytest

from orchestrator.deferred import defer


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The name of a package that notes in ``sys.modules`` that it has run."""
    folder = tmp_path / "heavy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("VALUE = 3\n")
    (folder / "part.py").write_text("from heavy_package import VALUE\nTWICE = 2 * VALUE\n")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    yield folder.name
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def is_loaded(name):
    return "VALUE" in vars(sys.modules[name])


@pytest.mark.parametrize(
    "use",
    [
        "import heavy_package; found = heavy_package.VALUE",
        "from heavy_package import VALUE as found",
        "from heavy_package.part import TWICE; found = TWICE // 2",
        "import heavy_package.part; found = heavy_package.part.TWICE // 2",
    ],
)
def test_the_first_use_loads_it(package, use):
    defer(package)
    exec("import heavy_package; import heavy_package as again")
    assert not is_loaded(package)
    names = {}
    exec(use, names)
    assert names["found"] == 3
    assert is_loaded(package)


def test_who_imported_it_before_has_it_too(package):
    defer(package)
    names = {}
    exec("import heavy_package as early", names)
    exec("from heavy_package import part")
    assert names["early"].part.TWICE == 6
    with pytest.raises(AttributeError, match="heavy_package"):
        names["early"].MISSING  # noqa: B018


def test_what_is_loaded_or_not_installed_stays_as_it_is(package):
    __import__(package)
    defer(package)
    assert is_loaded(package)
    defer("no_such_package")
    with pytest.raises(ModuleNotFoundError):
        __import__("no_such_package")


def test_a_part_that_the_package_imports_itself_runs_once(package, tmp_path):
    """As torch.distributed, which a second run ends in an abort."""
    folder = tmp_path / package
    (folder / "__init__.py").write_text("RUNS = []\nVALUE = 3\nfrom heavy_package import part\n")
    (folder / "part.py").write_text("from heavy_package import RUNS\nRUNS.append(1)\n")
    defer(package)
    names = {}
    exec("import heavy_package.part as part; import heavy_package", names)
    assert names["heavy_package"].RUNS == [1]
    assert names["part"] is sys.modules["heavy_package.part"] is names["heavy_package"].part
    assert names["part"].__spec__.origin == str(folder / "part.py")
