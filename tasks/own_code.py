"""Code of a user's own, named as ``FILE.py:NAME`` or ``package.module.NAME``.

A file is a module of its own here, whose name holds its path: so two files of one name are two modules, a
``tasks.py`` of the user's hides nothing of ours, and a new process finds the class that it unpickles.
What stands beside a file can be imported by it, after everything that is installed.

The text of a file is read once in a process.  `sources` gives what was read, and a process that is started later
takes it (`take`) instead of reading the file again, which may be another by then.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PREFIX = "entrostat_own_"
_IN_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
_DOTTED = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\.(?P<name>(?!py\Z)[A-Za-z_]\w*)")
LONGEST_REASON = 300
"""Characters of an error that are passed on."""
FORM = "write it as FILE.py:NAME, or as module.NAME for what is installed"

_sources: dict[str, bytes] = {}


def is_own(text: object) -> bool:
    """Whether a text names code of a user's own; no name of ours has a dot or a colon."""
    return isinstance(text, str) and bool(_IN_FILE.fullmatch(text) or _DOTTED.fullmatch(text))


def name_of(reference: str) -> str:
    """The name alone, ``partial_credit`` of ``rewards.py:partial_credit``."""
    return re.split(r"[:.]", reference)[-1]


def beside(reference: str, folder: Path) -> str:
    """The same with an absolute path, where it names a file: relative to ``folder``, and ``~`` is the user's home.

    A module that is a file in that folder is that file.
    """
    if found := _IN_FILE.fullmatch(reference):
        return f"{_absolute(folder / Path(found['file']).expanduser())}:{found['name']}"
    found = _DOTTED.fullmatch(reference)
    if found and (file := _absolute(folder / f"{found['module']}.py")).is_file():
        return f"{file}:{found['name']}"
    return reference


def without_folder(reference: str) -> str:
    """The same wherever the file lies; its content is what counts."""
    found = _IN_FILE.fullmatch(reference)
    return f"{Path(found['file']).name}:{found['name']}" if found else reference


def load(reference: str) -> Any:
    """What a reference names.  The first time in a process, its module is imported.

    Raises:
        ValueError: it has another form, there is no such file or module, importing it raises, or it has no such name.
    """
    found = _IN_FILE.fullmatch(reference) or _DOTTED.fullmatch(reference)
    if found is None:
        raise ValueError(f"must name code, got {reference!r}; {FORM}")
    where = found.groupdict().get("file")
    name = found["name"]
    if where is None:
        module = _imported(found["module"], found["module"])
    else:
        path = _absolute(Path(where).expanduser())
        if str(path) not in _sources and not path.is_file():
            raise ValueError(
                f"there is no file {path}; check the path, which is relative to the campaign file"
            )
        _make_way(path)
        module = _imported(_module_name(path), str(path))
    if not hasattr(module, name):
        names = [each for each, value in vars(module).items() if _is_written_in(module, each, value)]
        raise ValueError(
            f"{where or found['module']} has no {name!r}; it has {', '.join(names) or 'nothing'}"
        )
    return getattr(module, name)


def files_of(reference: str) -> list[Path]:
    """The file of a reference, and the files beside it that it imports, those of these, and so on.

    Found by its import statements, so that every process finds the same.
    """
    if found := _IN_FILE.fullmatch(reference):
        return list(_with_imports(_absolute(Path(found["file"]).expanduser())))
    found = _DOTTED.fullmatch(reference)
    try:
        spec = find_spec(found["module"]) if found else None
    except (ImportError, ValueError):
        return []
    return [Path(spec.origin)] if spec and spec.origin and spec.has_location else []


def forget_changed() -> None:
    """Let files that have changed since this process read them be read again: a notebook lives long."""
    if all(Path(path).is_file() and Path(path).read_bytes() == text for path, text in _sources.items()):
        return
    for name, module in list(sys.modules.items()):  # all of them, for one may have imported another
        if getattr(module, "__file__", None) in _sources:
            del sys.modules[name]
    _sources.clear()


def sources() -> dict[str, bytes]:
    """The text of every file that this process has read, by path."""
    return dict(_sources)


def take(texts: Mapping[str, bytes]) -> None:
    """Take these texts for those of the files, which are not read."""
    _sources.update(texts)


class _Loader(SourceFileLoader):
    """Reads a text once, and keeps no compiled copy beside the user's file."""

    def get_data(self, path: str) -> bytes:
        if path not in _sources:
            _sources[path] = super().get_data(path)
        return _sources[path]

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = compile(self.get_data(path), path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    """Finds files of the user's own by the names that they have here, and what stands beside them."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname.startswith(PREFIX):
            file = Path(bytes.fromhex(fullname.rpartition("_")[2]).decode())
            return spec_from_file_location(fullname, file, loader=_Loader(fullname, str(file)))
        folder = _folder_of_importer() if path is None else None
        if folder is None:
            return None
        package, file = folder / fullname / "__init__.py", folder / f"{fullname}.py"
        if package.is_file():
            return spec_from_file_location(
                fullname,
                package,
                loader=_Loader(fullname, str(package)),
                submodule_search_locations=[str(package.parent)],
            )
        if str(file) in _sources or file.is_file():
            return spec_from_file_location(fullname, file, loader=_Loader(fullname, str(file)))
        return None


def _folder_of_importer() -> Path | None:
    """The folder of the file whose import statement is being executed, where that is a user's own."""
    frame = sys._getframe(1)
    while frame is not None and (
        "importlib" in frame.f_code.co_filename or frame.f_code.co_filename == __file__
    ):
        frame = frame.f_back  # type: ignore[assignment]
    file = frame.f_code.co_filename if frame is not None else ""
    return Path(file).parent if file in _sources else None


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  as the user wrote it, links and all


def _module_name(path: Path) -> str:
    return f"{PREFIX}{re.sub(r'[^A-Za-z0-9]', '_', path.stem)}_{str(path).encode().hex()}"


def _imported(name: str, shown: str) -> ModuleType:
    try:
        with _undisturbed():
            return import_module(name)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{shown} cannot be imported: {_said(error, shown)}; mend it") from error


def _said(error: BaseException, shown: str) -> str:
    """What went wrong, with the last line of that file that was reached."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == shown:
            line = trace.tb_lineno
        trace = trace.tb_next
    said = " ".join(str(error).split())[:LONGEST_REASON]
    return f"{type(error).__name__}: {said}" + (f" (line {line})" if line else "")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What a module prints goes beside the output of a command, and the working directory stays."""
    folder = Path.cwd()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.chdir(folder)


def _is_written_in(module: ModuleType, name: str, value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__ and name[0] != "_"


def _with_imports(path: Path) -> Iterator[Path]:
    found, left = [path], [path]
    while left:
        for each in _neighbours(left.pop()):
            if each not in found:
                found.append(each)
                left.append(each)
    yield from found


def _neighbours(path: Path) -> Iterator[Path]:
    """The files in the folder of a file that its import statements name; all files of a package."""
    for name in sorted(_imports(path)):
        if (file := path.parent / f"{name}.py").is_file():
            yield file
        elif (path.parent / name / "__init__.py").is_file():
            yield from sorted((path.parent / name).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """The first names of the modules that a file imports; none of a file that is no Python."""
    try:
        tree = ast.parse(_sources.get(str(path)) or path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def _make_way(path: Path) -> None:
    """A file that means the file beside it must not get another module of that name.

    One of another folder of the user's own is let go; what imported it keeps it.

    Raises:
        ValueError: the name is that of an installed module.
    """
    for file in _neighbours(path):
        name = file.stem if file.parent == path.parent else file.relative_to(path.parent).parts[0]
        module = sys.modules.get(name)
        origin = _installed(name) if module is None else getattr(module, "__file__", None) or name
        if origin is None or Path(origin).is_relative_to(path.parent):
            continue
        if origin in _sources:
            del sys.modules[name]
            continue
        raise ValueError(
            f"{path} imports {name!r}, and the file beside it is hidden by another module of that name ({origin}); "
            "rename the file"
        )


def _installed(name: str) -> str | None:
    """The place of an installed module that is not imported yet."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None else None


sys.meta_path.append(_Finder())  # after those of Python: what is installed comes first
