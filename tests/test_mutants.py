"""The mutations of a source by hand, and which tests look for them."""

from __future__ import annotations

import pytest

from tests.mutants import ROOT, covering
from tests.mutations import Finder, mutations


def mutated(source):
    """The source once for each of its mutations."""
    given = source.encode()
    return [found.apply(given).decode() for found in Finder("m.py", given).found]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("c = np.min(a)", ["c = np.max(a)"]),
        ("x = any(a)", ["x = all(a)"]),
        ("a += b", ["pass", "a -= b"]),
        ("a[b] = c", ["pass"]),
        ("a = b", []),
        ("f(a)", ["pass"]),
        ("raise ValueError(1 + 2)", ["pass"]),
        ("def f(a: int = 1) -> Literal[5]:\n    'text'\n    b: Literal[6] = 2", [
            "def f(a: int = 2) -> Literal[5]:\n    'text'\n    b: Literal[6] = 2",
            "def f(a: int = 0) -> Literal[5]:\n    'text'\n    b: Literal[6] = 2",
            "def f(a: int = 1) -> Literal[5]:\n    'text'\n    b: Literal[6] = 3",
            "def f(a: int = 1) -> Literal[5]:\n    'text'\n    b: Literal[6] = 1",
        ]),
        ("@dataclass(frozen=True)\nclass A:\n    'text'", []),
        ("logger.info(1 + 2)", []),
        ("f'{a + b}'", []),
        ("'%d' % a", []),
        ("assert a > 0", []),
        ("zip(a, b, strict=True)", ["pass"]),
    ],
)  # fmt: skip
def test_mutations_by_hand(source, expected):
    assert sorted(mutated(source)) == sorted(expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a < b >= c", ["a <= b >= c", "a < b > c"]),
        ("a is not b", ["a is b"]),
        ("a not in b", ["a in b"]),
        ("a + (b - c)", ["a - (b - c)", "a + (b + c)"]),
        ("a // b", ["a / b"]),
        ("a ** b", ["a * b"]),
        ("a and b or c", ["a and b and c", "a or b or c"]),
        ("not (a)", [" (a)"]),
        ("-a", ["a"]),
        ("7", ["8", "6"]),
        ("0", ["1"]),
        ("2.5", ["5.0"]),
        ("0.0", ["1.0"]),
        ("True", ["False"]),
        ("a if b else c", ["a if (not (b)) else c"]),
        ("[a for a in b if a]", ["[a for a in b if (not (a))]"]),
        ("'→', a < b", ["'→', a <= b"]),  # places are counted in bytes
    ],
)
def test_mutations_of_expressions_by_hand(expression, expected):
    found = [source.removeprefix("x = ") for source in mutated(f"x = {expression}")]
    assert sorted(found) == sorted(expected)


def test_a_mutation_says_where_it_is():
    (found,) = Finder("m.py", b"a = 'b'\nc = (\n    a\n    < b)\n").found
    assert str(found) == "m.py:4  < b)  →  <= b)"


def test_every_mutation_of_a_file_is_python_and_the_list_is_always_the_same():
    path = "controllers/loop.py"
    found = mutations(ROOT, [path])
    source = (ROOT / path).read_bytes()
    assert len(found) > 100
    assert found == mutations(ROOT, [path])
    for mutation in found:
        changed = mutation.apply(source)
        assert changed != source
        compile(changed, path, "exec")


def test_the_nearest_tests_come_first_and_a_package_hides_no_module():
    near, folder, elsewhere = covering(ROOT, "controllers/laws/increment.py")
    assert "tests/controllers/laws/test_increment.py" in near
    assert "tests/controllers/laws/test_open_loop.py" in folder
    assert "tests/controllers/test_loop.py" in elsewhere  # from controllers import Increment
    assert not {*near} & {*folder} | {*near, *folder} & {*elsewhere}
