"""Small faults to make in source files, found in their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}
_PAIRS = (("min", "max"), ("any", "all"), ("minimum", "maximum"), ("floor", "ceil"))
OPPOSITES = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
TALK = {"print", "echo", "warn", "debug", "info", "warning", "error", "exception"}
"""Functions whose calls only say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """Bytes ``start`` to ``end`` of a file replaced by ``after``."""

    path: str
    line: int
    start: int
    end: int
    after: str
    shown: str
    """The lines that it touches, before and after."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.shown}"

    def apply(self, source: bytes) -> bytes:
        """The source with the fault in it."""
        return source[: self.start] + self.after.encode() + source[self.end :]


class Finder(ast.NodeVisitor):
    """All mutations of one file; messages, annotations, decorators and invariants are left alone."""

    def __init__(self, path: str, source: bytes) -> None:
        self.found: list[Mutation] = []
        self._path = path
        self._source = source
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self.visit(ast.parse(source))

    def _start(self, node: ast.expr | ast.stmt) -> int:
        return self._line_starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._line_starts[node.end_lineno - 1] + node.end_col_offset

    def _replace(self, start: int, end: int, after: str) -> None:
        first = self._source.rfind(b"\n", 0, start) + 1
        last = self._source.find(b"\n", end)
        before = self._source[first:last].decode()
        mutated = (self._source[first:start] + after.encode() + self._source[end:last]).decode()
        self.found.append(
            Mutation(
                path=self._path,
                line=self._source.count(b"\n", 0, start) + 1,
                start=start,
                end=end,
                after=after,
                shown="  →  ".join(" ".join(text.split()) for text in (before, mutated)),
            )
        )

    def _swap(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> None:
        """Another operator between two operands."""
        before, after = SWAPS.get(type(operator), ("", ""))
        start = self._source.find(before.encode(), self._end(left), self._start(right))
        if before and start >= 0:
            self._replace(start, start + len(before), after)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:]):
            self._swap(left, operator, right)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not any(
            isinstance(side, (ast.JoinedStr, ast.List, ast.Tuple)) or _is_text(side)
            for side in (node.left, node.right)
        ):
            self._swap(node.left, node.op, node.right)  # texts, paths and lists would only raise
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:]):
            self._swap(left, node.op, right)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        dropped = {ast.Not: "not", ast.USub: "-"}.get(type(node.op), "")
        if dropped:
            self._replace(self._start(node), self._start(node) + len(dropped), "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        start, end, value = self._start(node), self._end(node), node.value
        if isinstance(value, bool):
            self._replace(start, end, str(not value))
        elif isinstance(value, int):
            self._replace(start, end, str(value + 1))
            if value:
                self._replace(start, end, str(value - 1))
        elif isinstance(value, float):
            self._replace(start, end, repr(2 * value if value else 1.0))

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node)
        if name in TALK:
            return
        if name in OPPOSITES:
            end = self._end(node.func)
            self._replace(end - len(name), end, OPPOSITES[name])
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg != "strict":  # of zip: an invariant
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self._negate(node.test)
            self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._negate(test)
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        """The other branch, where the condition has no operator of its own to change."""
        if not isinstance(test, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
            start, end = self._start(test), self._end(test)
            self._replace(start, end, f"(not ({self._source[start:end].decode()}))")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and _called(node.value) not in TALK:
            self._remove(node)
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._remove(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._remove(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._remove(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if all(isinstance(target, (ast.Subscript, ast.Attribute)) for target in node.targets):
            self._remove(node)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._remove(node)
        self._swap(node.target, node.op, node.value)
        self.generic_visit(node)

    def _remove(self, node: ast.stmt) -> None:
        self._replace(self._start(node), self._end(node), "pass")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
            self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """An invariant."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """A message; until Python 3.12 its parts do not know their places either."""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _called(node: ast.Call) -> str:
    return str(node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))


def mutations(root: Path, packages: Sequence[str]) -> list[Mutation]:
    """Every mutation of the files of some packages, in order."""
    given = [root / package for package in packages]
    files = {file for path in given for file in (path.rglob("*.py") if path.is_dir() else [path])}
    return [
        found
        for file in sorted(files)
        if file.name != "__init__.py"
        for found in Finder(str(file.relative_to(root)), file.read_bytes()).found
    ]
