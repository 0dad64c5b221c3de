"""What a YAML file may hold: bounded before it is parsed, each value one thing, each fault one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from orchestrator.configuration.text_files import MOST_BYTES
from orchestrator.configuration.yaml_files import read_yaml
from orchestrator.errors import ConfigError, lines_of, named, quoted, short

DOUBLED = "\n".join(["x0: aaaaaaaaaa", *(f"x{i}: ${{x{i - 1}}}${{x{i - 1}}}" for i in range(1, 60))])
LISTS = "\n".join(["x0: [1]", *(f"x{i}: ['${{x{i - 1}}}', '${{x{i - 1}}}']" for i in range(1, 60))])
BACKWARDS = "\n".join([*(f"x{i}: ['${{x{i + 1}}}', '${{x{i + 1}}}']" for i in range(60)), "x60: 1"])
ALIASES = "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))])
CHAIN = "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 60))])


@pytest.fixture
def read(tmp_path):
    """`read(text, *overrides)` reads a file of that text."""
    path = tmp_path / "x.yaml"

    def reading(text, *overrides):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path, overrides)

    return reading


REFUSED = [
    ("description: '${'", r"description: no viable alternative at input '\$\{'; fix that value"),
    ("a: ${nowhere}", "a: Interpolation key 'nowhere' not found"),
    ("a: ${oc.env:NO_SUCH_VARIABLE}", "a: KeyError .*NO_SUCH_VARIABLE"),
    ("a: ${a}", "a: Recursive interpolation"),
    ("a: {b: '${a}'}", r"a\.b: Interpolation to parent"),
    ("a: ['${b}']\nb: ['${a}']", r"b\.0: refers to itself in a circle"),
    (
        "a: '${" + "x" * 600 + "}'",
        "a: a text with '.*' must have at most 500 characters, got 603; shorten it",
    ),
    ("\n".join(f"a{i}: ${{b{i}}}{'x' * 400}" for i in range(100)), "there are too many interpolations"),
    (DOUBLED, "x16: stands for too much"),
    (LISTS, "stands for too much"),
    (BACKWARDS, "stands for too much"),
    (ALIASES, r"line 12: a11\.1: must have at most 10000 keys and values, aliases written out"),
    (CHAIN, "must be nested at most 32 deep"),
    ("a: &a [*a]", r"line 1: a\.0: the alias \*a stands for what it is in"),
    ("a: *b", r"line 1: a: the alias \*b has no anchor before it"),
    ("null: 1", "line 1: a key must be a text, got 'null', which YAML reads as another value; quote it"),
    ("~: 1", "a key must be a text, got '~'"),
    ("yes: 1", "a key must be a text, got 'yes'"),
    ("a:\n  1: b", "line 2: a: a key must be a text, got '1'"),
    ("1e3: 4", "a key must be a text, got 1000"),
    ("'': 1", "a key must be a text, got ''"),
    ("? [1]\n: 2", "a key must be a text, got an alias or a collection"),
    ("a: &x b\n*x : 1", "a key must be a text, got an alias or a collection"),
    ("a: 1\na: 2", "line 2: found duplicate key a; keep one of the two"),
    ("a: {b: 1, 'b': 2}", "line 1: a: found duplicate key b"),
    ("!!set {a, b}", "line 1: the tag 'tag:yaml.org,2002:set' is not accepted; leave it out"),
    ("a: !!int abc", "not valid YAML: invalid literal for int"),
    ("a: !!timestamp x", "line 1: a: the tag 'tag:yaml.org,2002:timestamp' is not accepted"),
    ("a: !!python/object/apply:os.getcwd []", "line 1: a: the tag .* is not accepted"),
    ("a: !mine b", "the tag '!mine' is not accepted"),
    ("a: " + "9" * 5000, "line 1: a: a number must have at most 60 characters, got 5000; round it"),
    ("a: " + "9" * 5000 + ".5", "a number must have at most 60 characters, got 5002"),
    ("a: -1" + "0" * 100 + "e5", "a number must have at most 60 characters"),
    (
        "a: 99999999999999999999",
        "a: must be a whole number of at most 64 bits, got 99999999999999999999; lower it",
    ),
    ("a: 0x" + "f" * 40, "a: must be a whole number of at most 64 bits"),
    ("a: 010", "line 1: a: '010' is another number in YAML than it looks .* write it to base 10"),
    ("a: [1:30]", r"line 1: a\.0: '1:30' is another number"),
    ('a: "\\0"', r"a: must have no NUL character, got '\\x00'; remove it"),
    ('a: "\\ud800"', "not valid YAML: .*invalid Unicode character escape"),
    ("a: \x07", "not valid YAML: unacceptable character #x0007"),
    ("\ta: 1", "not valid YAML: .*cannot start any token.* line 1, column 1; fix that line"),
    ("a: 1\n---\nb: 2", "line 2: must be one document, and '---' begins another"),
    ("", "must be a mapping of keys to values, got an empty file"),
    ("# nothing", "must be a mapping of keys to values, got an empty file"),
    ("abc", "must be a mapping of keys to values, got a single value"),
    ("- a", "must be a mapping of keys to values, got a list"),
    ("<<: 5", "not valid YAML: .*expected a mapping"),
    ("a: " + "[" * 100 + "]" * 100, "must be nested at most 32 deep, got more; flatten it"),
    ("a: [" + "1, " * 20_000 + "]", "must have at most 10000 keys and values"),
    ("a: " + "x" * MOST_BYTES, f"must have at most {MOST_BYTES} bytes, got more"),
    (b"a: \xff", r"not UTF-8 text \(.* at byte 3\); save it as UTF-8"),
    ("a: b".encode("utf-16"), "not UTF-8 text"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[str(text)[:24] for text, _ in REFUSED])
def test_what_is_not_one_plain_mapping_is_refused_in_one_line(read, tmp_path, text, expected):
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/x\.yaml: .*{expected}") as refused:
        read(text)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\ufeffa: 1", 1),
        ("a:\t1\r\n", 1),
        ("a: 2024-01-01", "2024-01-01"),
        ("a: 1e-3", 0.001),
        ("a: '010'", "010"),
        ("a: '1:30'", "1:30"),
        ("a: 0x10", 16),
        ("a: '${b}'\nb: ${c.d}\nc: {d: 5}", 5),
        ("b: ${c.x}\nc: ${d}\nd: {x: [1, 2]}\na: ${b}", [1, 2]),
        ("c: {a: 1, b: '${.a}'}\na: ${c.b}", 1),
        ("a: '\\${x}'", "${x}"),
        ("c: &c {b: 1, d: 2}\na: {<<: *c, d: 3}", {"b": 1, "d": 3}),
        ("a: !!str 5", "5"),
    ],
)
def test_what_is_one_is_read(read, text, value):
    assert read(text)["a"] == value


def test_what_an_interpolation_comes_to_is_a_value_of_its_own(read):
    content = read("a: {x: 1}\nb: ${a}\nc: ${a}")
    content["b"]["x"] = 2
    assert content["a"] == content["c"] == {"x": 1}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("[=1", "cannot be set: .*the form is key.path=value"),
        ("a=${", "no viable alternative"),
        ("a=!!int x", "invalid literal"),
        ("a=010", "another number in YAML"),
        ("a.b.99999999999999999999999=1", "cannot be set"),
        ("a=" + "[" * 1000, "must be nested at most 32 deep"),
        (".".join("a" * 50) + "=1", "must be nested at most 32 deep"),
        ("x" * 20_000 + "=1", "must have at most 10000 characters, got 20002"),
        ("a=\ud800", "surrogates not allowed"),
        ("a=\x00", "unacceptable character #x0000"),
        ("a=" + "9" * 5000, "a number must have at most 60 characters"),
    ],
)
def test_a_hostile_override_is_named(read, override, expected):
    with pytest.raises(ConfigError, match=f"^--set .*{expected}") as refused:
        read("a: {b: [1, 2]}", override)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_an_override_that_the_file_does_not_survive_names_the_file(read):
    with pytest.raises(ConfigError, match=r"x\.yaml: a\.'': a key must be a text, got ''"):
        read("a: {b: 1}", "a..b=1")
    with pytest.raises(ConfigError, match=r"x\.yaml: '\\ud800': must be Unicode"):
        read("a: {b: 1}", "\ud800=1")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, expected in [
        (tmp_path / "fifo", "is no regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
        (tmp_path / "none", "No such file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (tmp_path / "a\0b", "null byte"),
        (tmp_path / "\ud800", "surrogates not allowed"),
        ("/dev/zero", "is no regular file"),
    ]:
        with pytest.raises(ConfigError, match=f"cannot be read: .*{expected}.*; ") as refused:
            read_yaml(type(tmp_path)(path))
        assert str(refused.value).isprintable()


CRASHERS = [
    "[" * 100_000,
    "{a: " * 100_000,
    "- " * 100_000,
    "a: " + "[" * 100_000 + "]" * 100_000,
    "? " * 100_000,
]


@pytest.mark.parametrize("text", CRASHERS, ids=[text[:6] for text in CRASHERS])
def test_no_depth_exhausts_the_stack(tmp_path, text):
    """In a process of its own: libyaml's loader ends its own by a segmentation fault."""
    path = tmp_path / "deep.yaml"
    path.write_text(text)
    command = [sys.executable, "-m", "orchestrator.cli", "validate", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr[-500:]
    assert ended.stderr.startswith(f"error: {path}: ")
    assert ended.stderr.count("\n") == 1


def test_values_and_paths_stand_in_a_message_so_that_it_can_be_read():
    assert short("a\nb\x1b") == r"'a\nb\x1b'"
    assert short("x" * 100) == "'" + "x" * 56 + "..."
    assert short(10**5000) == "a int"
    assert quoted("learner") == "learner"
    assert quoted("a\nb") == r"'a\nb'"
    assert quoted("") == "''"
    assert named("\ud800/x") == r"\ud800/x"
    assert len(named("x" * 5000)) == 303
    assert lines_of(["a\tb", "c\nd"]) == "a\\tb\nc\nd"
    assert lines_of(map(str, range(100))).endswith("39\nand 60 more")
