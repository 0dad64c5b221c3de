import ast
from fractions import Fraction
from pathlib import Path

import pytest

import tasks
from tasks.base import Problem
from tasks.kinds.math_word import MathWord
from tasks.mathematics.equivalence import equivalent, plain_number, tidied


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", Fraction(5)),
        ("-0.50", Fraction(-1, 2)),
        (".25", Fraction(1, 4)),
        ("3.", Fraction(3)),
        ("1,000", Fraction(1000)),
        ("12,345,678.5", Fraction(24691357, 2)),
        ("3/4", Fraction(3, 4)),
        (r"\frac{6}{8}", Fraction(3, 4)),
        (r"-\frac{1}{2}", Fraction(-1, 2)),
        ("3,4", None),  # two numbers
        ("1/0", None),
        ("5%", None),
        ("٣", None),  # a digit, but none of ours
        ("9" * 41, None),
        ("1e9", None),
        ("", None),
    ],
)
def test_plain_numbers(text, value):
    assert plain_number(text) == value


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        (r" $\dfrac{1}{2}$ ", r"\frac{1}{2}"),
        (r"\left( 3, 4 \right)", "(3,4)"),
        (r"\text{Evelyn}", "Evelyn"),
        (r"\$18", "18"),
        ("1 000", "1 000"),  # may be two numbers
        ("x + y.", "x+y"),
        (r"A \rightarrow B", r"A\rightarrowB"),  # no \right in it
        (r"\left\{1\right\}", r"\{1\}"),
    ],
)
def test_what_changes_no_meaning_is_taken_away(text, tidy):
    assert tidied(text) == tidy


SAME = [
    ("(1, 2)", "x = 1, y = 2"),
    ("0", "a + b = 0"),
    ("5", "f(2) = 5"),
    ("f(2) = 5", "5"),
    ("2", "x \\equiv 2 \\pmod{7}"),
    ("x \\equiv 1 \\pmod{3}", "x \\equiv 1 \\pmod 3"),
    (r"\text{11:00 a.m.}", "11:00 a.m."),
    ("5", "5"),
    ("24", "4! = 24"),
    ("10", r"\binom{5}{2} = 10"),
    ("e^{x^2}", "e^{x^{2}}"),
    ("512", "2^{3^2}"),
    ("(1+x)^{100}", "(x+1)^{100}"),
    ("12345", "x = 12,345"),
    (r"1{,}000\pi", r"1000\pi"),
    ("x^2+2x+1", "(x+1)^2"),
    (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
    (r"\{1,2\}", "2,1"),
    ("90", r"90^\circ"),
    ("12", r"12\text{ cm}"),
    ("C", r"\text{(C)}"),
    ("5", "x=5"),
    ("x=5", "5"),
    ("C", r"\textbf{(C)}\ 12"),
    ("12", r"\textbf{(C) } 12"),
    (r"\frac{8}{3}", "2 2/3"),
    ("12", r"12\%"),
    ("0.12", r"12\%"),
    (r"12\%", "12"),
    (r"12\%", "0.12"),
    (r"1.6 \times 10^{-19}", "1.6e-19"),
    ("101_2", "101_{2}"),
    ("101_2", "101"),
    ("(1,2)", r"\left(1, 2\right)"),
    ("[1,2)", r"1 \le x < 2"),
    (r"(3,\infty)", "x>3"),
    ("x>3", "3<x"),
    (r"(1,2)\cup(3,4)", r"(3,4)\cup(1,2)"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    ("y=2x+1", "y = 1+2x"),
    ("y=2x+1", "2x-y+1=0"),
    ("2x+1", "y=2x+1"),
    (r"\frac{1}{3}", r"0.\overline{3}"),
    (r"2\pm\sqrt{3}", r"2+\sqrt{3}, 2-\sqrt{3}"),
    ("18", "18 dollars"),
    (r"\$18", "18"),
    ("5000000", "5 million"),
    ("Evelyn", r"\text{Evelyn}"),
    ("yes", "Yes"),
    (r"\sin 30^\circ", "1/2"),
    (r"\log_2 8", "3"),
    (r"\ln(4)", r"2\ln 2"),
    ("120", "5!"),
    ("3", r"\sqrt[3]{27}"),
    ("-2", r"\sqrt[3]{-8}"),
    ("x^{1/3}", r"\sqrt[3]{x}"),
    (r"\tan^{-1} x", r"\arctan x"),
    ("1", r"\sin^2 x+\cos^2 x"),
    (r"\frac{1}{2}", r"\dfrac{1}{2}"),
    ("xy", "yx"),
    ("2ab", "2ba"),
    (r"10\,000", "10000"),
    ("1000", "1{,}000"),
    (r"\infty", r"+\infty"),
    (r"-\infty", r"- \infty"),
    ("2/3, 1/3", "1/3, 2/3"),
    ("x=2, x=3", "2,3"),
    ("2,3", r"x=2 \text{ or } x=3"),
    ("2,3", "x=2, x=3"),
    (r"\pi", r"\pi \approx 3.14"),
    ("3.14", r"\pi \approx 3.14"),
    ("6", r"2 \cdot 3"),
    (r"i\sqrt{2}", r"\sqrt{-2}"),
    ("-1", "i^2"),
    ("(2, 5)", "2,5"),
    ("3125", "3,125"),
    ("3, 125", "3,125"),
    ("5", "**5**"),
    ("7", r"\boxed{7}"),
    ("2516_8", "2516_{8}"),
    (r"11\frac{1}{2}", "11.5"),
    (r"(-\infty,1)\cup(2,\infty)", r"x<1 \text{ or } x>2"),
    (r"\emptyset", r"\varnothing"),
    ("1/8", r"12.5\%"),
    (r"\frac{\pi}{2}", r"\pi/2"),
    ("3+4i", "4i+3"),
    ("0.5", ".5"),
    ("5", "5.0"),
    (r"x \in [1,2]", "[1,2]"),
    ("5", "y = 5"),
    (r"\frac{a}{b}", "a/b"),
    ("m/s", "m/s"),
    ("5 m/s", "5 m/s"),
    ("x^2", "x²"),
    ("1/2", "½"),
    ("-3", "−3"),
]
DIFFERENT = [
    ("0", "x^2 + y^2 - 25 = 0"),
    ("0", "x^2 - 5x + 6 = 0"),
    ("(1, 2)", "y = 1, x = 2"),
    ("A \\Rightarrow B", "C \\Rightarrow B"),
    ("x \\equiv 1 \\pmod{3}", "x \\equiv 1 \\pmod{5}"),
    (r"1.6 \times 10^{-19}", r"9.1 \times 10^{-31}"),
    ("101_2", "101_3"),
    ("cat", "act"),
    ("A, B, C", "A, C, B"),
    ("2", "2 2/3"),
    (r"A \rightarrow B", r"A \leftarrow B"),
    ("12", "12,12"),
    ("12", "12!"),
    ("12", "not 12"),
    ("5", "101_2"),
    ("x=5", "y=5"),
    ("(1,2)", "(2,1)"),
    ("[1,2)", "(1,2]"),
    ("(1,2)", "[1,2]"),
    ("1/3", "0.333"),
    ("C", "D"),
    ("12", "12x"),
    ("12", "0.12"),
    ("0.12", "12"),
    ("0.5", r"0.5\%"),
    (r"12\%", "1200"),
    ("5", "5 million"),
    ("12 cm", "12 m"),
    (r"12\text{ cm}", r"12\text{ cm}^2"),
    ("5", "5 thirds"),
    ("2, 3", "2"),
    ("2", "2, 3"),
    ("2", r"2 \text{ or } 3"),
    (r"\{1,2\}", "(1,2)"),
    ("x>3", "x<3"),
    ("x>3", r"x \ge 3"),
    ("5", "2x=5"),
    ("6", "9^{9^{9^9}}"),
    ("6", "(10^8)!"),
    ("6", r"\Gamma(10^8)"),
    ("6", "(a+b+c+d+e)^{64}"),
    ("6", r"\cos(4096x)"),
    ("no", "on"),
    ("12", "7=12"),
    ("12", "12 or 13"),
    ("5", "-5"),
    ("2", r"\pm 2"),
    ("x+1", "x-1"),
    (r"\sqrt{2}", "1.414"),
    ("1000", "1,0000"),
    ("1", "1,000"),
    ("", ""),
    ("x", "y"),
    ("5", "|5|x"),
    ("12", "1 2"),
    ("12", r"\frac{1}{2}"),
    ("6", ""),
    ("6", "\ud800"),
    ("3", "xyz"),
    ("10", "10_2"),
    (r"\sqrt{x^2}", "x"),
    ("0", "10^{-50}"),
    ("1", "0.999999999"),
    ("1", "0.9999999"),
    ("0.333", "1/3"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix}1&3\\2&4\end{bmatrix}"),
    ("3", "3 apples or 4"),
    ("12", "12 is wrong"),
    ("12", r"\neg 12"),
    ("12", r"x \neq 12"),
    ("12", "x > 12"),
    ("1, 2", "1, 2, 2"),
    (r"\infty", r"-\infty"),
    ("a", "b"),
    ("2^{2013}", "2^{2013}+1"),
]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_answers_that_are_the_same(gold, answer):
    assert equivalent(gold, answer)


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_answers_that_are_not(gold, answer):
    assert not equivalent(gold, answer)


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        # A percent sign is a value, 12 % = 0.12, or a unit that the question has asked for.
        ("12", "12%", True),
        ("12", r"12\%", True),
        ("12", "12 percent", True),
        ("0.12", "12%", True),
        ("3/25", r"12\%", True),
        (r"12\%", "12%", True),
        (r"12\%", r"12.0\%", True),
        (r"12\%", "12", True),
        (r"12\%", "0.12", True),
        (r"12\%", r"\frac{3}{25}", True),
        (r"0.5\%", "0.5", True),
        ("150", r"150\%", True),
        ("1.5", r"150\%", True),
        ("1", r"100\%", True),
        (r"12\%", r"0.12\%", False),
        (r"12\%", "1200", False),
        ("12", "0.12", False),
        ("0.12", "12", False),
        ("12", r"1200\%", True),
        ("12", r"0.12\%", False),
        # At most 1, a bare number is a part of one, and half a percent is no half.
        ("0.5", r"0.5\%", False),
        ("1", r"1\%", False),
        ("0.12", r"0.12\%", False),
    ],
)
def test_the_rule_for_percent(gold, answer, same):
    assert equivalent(gold, answer) is same


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("12", r"12\text{ cm}", True),
        (r"12\text{ cm}", "12", True),
        (r"12\text{ cm}", "12 centimeters", True),
        (r"12\text{ cm}^2", r"12 \mathrm{cm}^{2}", True),
        (r"12\text{ cm}^2", "12 square centimeters", True),
        (r"5\text{ m/s}", "5 meters per second", True),
        ("18", "18 dollars per day", True),
        (r"\$18", "18 dollars", True),
        ("3", "3 red apples", True),
        ("3 apples", "3 red apples", True),
        (r"2\pi", r"2\pi \text{ cm}", True),
        (r"12\text{ cm}", r"12\text{ m}", False),
        (r"12\text{ cm}^2", r"12\text{ cm}", False),
        (r"12\text{ cm}^2", r"12\text{ cm}^3", False),
        (r"\$18", "18 cents", False),
        (r"90^\circ", r"90\text{ radians}", False),
        ("3 apples", "3 pears", False),
        ("12", "12x", False),
        ("5", "5 thirds", False),
        ("5", "5 million", False),
        ("12", "12 not", False),
        ("12", "12 squared", False),
        ("12", "12 or so minus 3", False),
    ],
)
def test_the_rule_for_units(gold, answer, same):
    assert equivalent(gold, answer) is same


def test_a_verdict_is_kept():
    equivalent("41", "a text that was never seen")
    before = equivalent.cache_info().hits
    equivalent("41", "a text that was never seen")
    assert equivalent.cache_info().hits == before + 1


INJECTIONS = [
    "__import__('os').system('touch {file}')",
    "[__import__('os').system('touch {file}')]",
    r"\text{{__import__('os').system('touch {file}')}}",
    "1 + __import__('os').system('touch {file}')",
    "open('{file}', 'w')",
    "exec(\"open('{file}', 'w')\")",
    "(lambda: open('{file}', 'w'))()",
    "().__class__.__base__.__subclasses__()",
    "Symbol('x').__class__",
    r"\operatorname{{exec}}(open('{file}', 'w'))",
    "1 if open('{file}', 'w') else 2",
    "5 ** (open('{file}', 'w') and 1)",
    r"\input{{{file}}}",
    r"\write18{{touch {file}}}",
]


@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize(
    "shape", ["{}", "#### {}", r"\boxed{{{}}}", "The answer is ${}$", "<answer>{}</answer>", "x = {}"]
)
def test_no_text_is_evaluated(tmp_path, monkeypatch, injection, shape):
    monkeypatch.chdir(tmp_path)
    text = shape.format(injection.format(file=tmp_path / "written"))
    problem = Problem(prompt="", answer="73419", domain="", difficulty=0.0)
    assert MathWord(path="f.jsonl").grade(problem, text) == 0.0
    assert not equivalent("73419", text)
    assert list(tmp_path.iterdir()) == []
    assert equivalent("5", "5.0"), "the grader is as it was"


def test_nothing_on_the_way_can_evaluate_text():
    rooms = Path(tasks.__file__).parent
    files = [*rooms.glob("mathematics/*.py"), *rooms.glob("answers/*.py"), rooms / "kinds" / "math_word.py"]
    assert len(files) >= 10
    for file in files:
        tree = ast.parse(file.read_text())
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        imported = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not called & {"eval", "exec", "compile", "__import__"}, file
        assert not imported & {
            "sympy",
            "math_verify",
            "latex2sympy2_extended",
            "numexpr",
            "subprocess",
            "os",
        }, file
