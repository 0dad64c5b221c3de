"""Kinds of answers by rules: a gold answer, other ways to write it, and wrong ones, all from the same numbers.

Each kind is a function of a random generator.  What it says is right or wrong follows from how it is built,
never from what a grader says.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb, factorial, gcd
from random import Random
from typing import NamedTuple


class Answers(NamedTuple):
    """One gold answer, with right and wrong ways to answer; LaTeX, without a box or a ``$``."""

    gold: str
    right: list[str]
    wrong: list[str]


def frac(value: Fraction) -> str:
    """A fraction in LaTeX."""
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def proper(rng: Random) -> Fraction:
    """A fraction that is no whole number."""
    while True:
        value = Fraction(rng.randint(1, 40), rng.randint(2, 12))
        if value.denominator > 1:
            return value


def grouped(number: int, separator: str) -> str:
    """A number with a separator of thousands."""
    return f"{number:,}".replace(",", separator)


def integer(rng: Random) -> Answers:
    n = rng.randint(2, 999)
    return Answers(
        str(n),
        [str(n), f"{n}.0", f"+{n}", f"{n:03d}", rf"x = {n}", rf"\text{{{n}}}", rf"{n - 1} + 1 = {n}", f"{{{n}}}"],
        [str(n + 1), f"-{n}", f"{n}.5", f"{n}, {n}", f"{n}x", f"{n}!" if n > 2 else "3", rf"\frac{{1}}{{{n}}}",
         f"{n}{n}", rf"x \ne {n}", rf"x > {n}", f"{n - 1} + 2", rf"{n} \text{{ or }} {n + 1}", rf"\pm {n}"],
    )  # fmt: skip


def thousands(rng: Random) -> Answers:
    n = rng.randint(1_000, 9_999_999)
    return Answers(
        rng.choice([str(n), f"{n:,}", grouped(n, "{,}"), grouped(n, r"\,")]),
        [str(n), f"{n:,}", grouped(n, "{,}"), grouped(n, r"\,"), grouped(n, r",\!"), grouped(n, "\u2009"),
         rf"x = {n:,}", f"{n:,}.00", "N = " + grouped(n, "{,}")],
        [f"{n + 1:,}", f"{n // 1000}", f"{n % 1000}", f"{n // 1000}.{n % 1000:03d}", f"{n // 10:,}"],
    )  # fmt: skip


def thousands_inside(rng: Random) -> Answers:
    n = rng.randint(1_000, 99_999)
    return Answers(
        rf"{n}\pi",
        [
            rf"{n:,}\pi",
            grouped(n, "{,}") + r"\pi",
            grouped(n, r"\,") + r"\pi",
            r"\pi \cdot " + grouped(n, "{,}"),
        ],
        [rf"{n + 1:,}\pi", f"{n:,}", rf"{n:,} + \pi", rf"{n // 1000}\pi"],
    )


def decimal(rng: Random) -> Answers:
    cents = rng.randint(101, 99_999)
    cents += cents % 10 == 0
    text = f"{cents // 100}.{cents % 100:02d}"
    value = Fraction(cents, 100)
    return Answers(
        text,
        [text, f"{text}0", frac(value), f"{value.numerator}/{value.denominator}", rf"{cents} \cdot 10^{{-2}}", f"{cents}e-2"],
        [f"{cents}", f"{text}1", f"-{text}", f"{cents // 100}", f"{(cents + 1) // 100}.{(cents + 1) % 100:02d}",
         rf"{cents} \cdot 10^{{-3}}"],
    )  # fmt: skip


def small_decimal(rng: Random) -> Answers:
    n = rng.randint(11, 99)
    n += n % 10 == 0
    return Answers(
        f"0.{n}",
        [f".{n}", f"0.{n}0", f"{n}/100", rf"\frac{{{n}}}{{100}}", rf"{n}\%"],
        [f"0.0{n}", f"{n}", f"0.{n}1", rf"0.{n}\%", f"1.{n}"],
    )


def fraction(rng: Random) -> Answers:
    value, k = proper(rng), rng.randint(2, 6)
    a, b = value.numerator, value.denominator
    short = [rf"\frac{a}{b}", rf"\frac {a} {b}"] if a < 10 and b < 10 else []
    return Answers(
        frac(value),
        [rf"\dfrac{{{a}}}{{{b}}}", rf"\tfrac{{{a}}}{{{b}}}", f"{a}/{b}", rf"\frac{{{a * k}}}{{{b * k}}}", f"({a})/({b})",
         rf"{a} \div {b}", rf"\left(\frac{{{a}}}{{{b}}}\right)", rf"{a} \cdot \frac{{1}}{{{b}}}", *short],
        [rf"\frac{{{b}}}{{{a}}}", f"-{a}/{b}", f"{a}", rf"\frac{{{a + 1}}}{{{b}}}", f"{a}{b}", f"{float(value):.3f}1",
         f"{a}, {b}"],
    )  # fmt: skip


def third(rng: Random) -> Answers:
    b = rng.choice([3, 6, 7, 9, 11])
    a = rng.choice([n for n in range(1, b) if gcd(n, b) == 1])
    nines = {3: 1, 9: 1, 11: 2, 7: 6}.get(b, 0)
    repeating = [rf"0.\overline{{{a * (10**nines - 1) // b:0{nines}d}}}"] if nines else []
    return Answers(
        frac(Fraction(a, b)),
        [f"{a}/{b}", *repeating],
        [f"{a / b:.2f}", f"{a / b:.4f}", f"{a / b:.12f}"],
    )


def mixed(rng: Random) -> Answers:
    n, b = rng.randint(1, 20), rng.randint(2, 9)
    a = rng.choice([m for m in range(1, b) if gcd(m, b) == 1])
    value = n + Fraction(a, b)
    return Answers(
        rng.choice([frac(value), rf"{n}\frac{{{a}}}{{{b}}}"]),
        [rf"{n}\frac{{{a}}}{{{b}}}", rf"{n} \frac{{{a}}}{{{b}}}", f"{n} {a}/{b}", rf"{n}\frac{a}{b}", f"{n} + {a}/{b}",
         f"{value.numerator}/{value.denominator}"],
        [f"{n}", f"{a}/{b}", f"{n * a}/{b}", rf"{n + 1}\frac{{{a}}}{{{b}}}", f"{n}{a}/{b}", f"-{n} {a}/{b}"],
    )  # fmt: skip


def percent(rng: Random) -> Answers:
    n = rng.randint(2, 98)
    return Answers(
        rf"{n}\%",
        [
            rf"{n}\%",
            f"{n}%",
            f"{n} percent",
            rf"{n}.0\%",
            f"{n}",
            frac(Fraction(n, 100)),
            f"{n / 100}",
            rf"{n} \%",
        ],
        [rf"{n + 1}\%", rf"{n / 100}\%", f"{n * 100}", rf"-{n}\%", f"{n + 1}", f"0.0{n}{n}"],
    )


def percent_of_a_number(rng: Random) -> Answers:
    n = rng.randint(2, 98)
    return Answers(
        str(n),
        [rf"{n}\%", f"{n}%", f"{n} percent", rf"{n * 100}\%"],
        [rf"{n + 1}\%", f"{n / 100}", rf"{n / 100}\%"],
    )


_UNITS = [
    ("cm", ["cm", "centimeters"], ["m", "kg", "cm^2"]),
    ("m", ["m", "meters", "metres"], ["cm", "s", "m^2"]),
    ("km", ["km", "kilometers"], ["m", "miles"]),
    ("kg", ["kg", "kilograms"], ["g", "m"]),
    ("hours", ["hours", "hour", "hr"], ["minutes", "days"]),
    ("dollars", ["dollars", "USD"], ["cents", "euros"]),
    ("apples", ["apples", "red apples"], ["pears"]),
    ("degrees", ["degrees"], ["radians"]),
]  # fmt: skip


def unit(rng: Random) -> Answers:
    n, (gold, same, other) = rng.randint(2, 500), rng.choice(_UNITS)
    return Answers(
        rng.choice([rf"{n}\text{{ {gold}}}", rf"{n} \text{{ {gold}}}"]),
        [
            f"{n}",
            *(rf"{n}\text{{ {u}}}" for u in same),
            *(rf"{n}\,\text{{{u}}}" for u in same),
            *(f"{n} {u}" for u in same),
        ],
        [*(rf"{n}\text{{ {u}}}" for u in other if "^" not in u), rf"{n + 1}\text{{ {gold}}}", f"{n + 1}"],
    )


def unit_of_a_number(rng: Random) -> Answers:
    n = rng.randint(2, 500)
    unit = rng.choice(
        ["cm", "miles", "dollars", "apples", "hours", "square feet", "people", "dollars per day"]
    )
    return Answers(
        str(n),
        [rf"{n}\text{{ {unit}}}", f"{n} {unit}", rf"{n} \mathrm{{~{unit}}}", f"{n}.0 {unit}"],
        [f"{n + 1} {unit}", f"{n} thousand", f"{n} thirds", f"{n} {unit} or {n + 1} {unit}", f"{n}x", f"{n} dozen",
         rf"{n} \text{{ million {unit}}}"],
    )  # fmt: skip


def area(rng: Random) -> Answers:
    n, u = rng.randint(2, 500), rng.choice(["cm", "m", "ft"])
    return Answers(
        rf"{n}\text{{ {u}}}^2",
        [
            rf"{n}\text{{ {u}}}^{{2}}",
            rf"{n} \mathrm{{{u}}}^2",
            f"{n}",
            rf"{n} \text{{ square {u}}}",
            rf"{n}\ \text{{{u}}}^2",
        ],
        [rf"{n}\text{{ {u}}}", rf"{n}\text{{ {u}}}^3", rf"{n + 1}\text{{ {u}}}^2", rf"{n**2}"],
    )


def money(rng: Random) -> Answers:
    n = rng.randint(2, 900)
    return Answers(
        rng.choice([rf"\${n}", str(n)]),
        [rf"\${n}", rf"\${n}.00", f"{n} dollars", f"{n}", rf"{n}\text{{ dollars}}"],
        [rf"\${n + 1}", rf"\${n}.50", f"{n + 1} dollars", rf"-\${n}"],
    )


def angle(rng: Random) -> Answers:
    n = rng.randint(2, 359)
    return Answers(
        rng.choice([rf"{n}^\circ", str(n)]),
        [rf"{n}^\circ", rf"{n}^{{\circ}}", f"{n}°", f"{n}", f"{n} degrees", rf"\angle ABC = {n}^\circ"],
        [rf"{n + 1}^\circ", rf"-{n}^\circ", f"{n + 1}", rf"\sin {n}^\circ"],
    )


def radical(rng: Random) -> Answers:
    a, b = rng.randint(2, 9), rng.choice([2, 3, 5, 6, 7])
    return Answers(
        rf"{a}\sqrt{{{b}}}",
        [rf"{a} \sqrt{{{b}}}", rf"{a}\sqrt{b}", rf"\sqrt{{{a * a * b}}}", rf"\sqrt{{{b}}} \cdot {a}", f"{a}sqrt({b})",
         f"{a}√{b}", rf"{a}\times\sqrt{{{b}}}", rf"\frac{{{a * b}}}{{\sqrt{{{b}}}}}", rf"{a} \cdot {b}^{{1/2}}"],
        [rf"{a}\sqrt{{{b + 1}}}", rf"{a + 1}\sqrt{{{b}}}", rf"\sqrt{{{a * b}}}", f"{a * b}", f"{a * b**0.5:.3f}",
         rf"-{a}\sqrt{{{b}}}", rf"{a} + \sqrt{{{b}}}"],
    )  # fmt: skip


def multiple_of_pi(rng: Random) -> Answers:
    value = proper(rng)
    a, b = value.numerator, value.denominator
    return Answers(
        rf"\frac{{{a}\pi}}{{{b}}}",
        [
            rf"\frac{{{a}}}{{{b}}}\pi",
            rf"{a}\pi/{b}",
            rf"\frac{{{a}}}{{{b}}} \cdot \pi",
            f"{a}π/{b}",
            f"{a}*pi/{b}",
        ],
        [
            rf"\frac{{{a}}}{{{b}}}",
            rf"\frac{{{a + 1}\pi}}{{{b}}}",
            rf"\frac{{{b}\pi}}{{{a}}}",
            f"{a * 3.14159 / b:.4f}",
        ],
    )


def polynomial(rng: Random) -> Answers:
    a, b = rng.randint(1, 9), rng.choice([-5, -4, -3, -2, 2, 3, 4, 6])
    s, p = a + b, a * b
    gold = f"x^2{s:+d}x{p:+d}" if s else f"x^2{p:+d}"
    return Answers(
        gold,
        [f"(x{a:+d})(x{b:+d})", f"(x{b:+d})(x{a:+d})", f"{p}+x^2{s:+d}x" if s else f"{p}+x^2", f"x^{{2}}{s:+d}x{p:+d}",
         f"(x{a:+d})*(x{b:+d})", rf"y = x^2{s:+d}x{p:+d}", f"x²{s:+d}x{p:+d}"],
        [f"(x{-a:+d})(x{b:+d})", f"x^2{s + 1:+d}x{p:+d}", f"x^2{s:+d}x{p + 1:+d}", f"x^3{s:+d}x{p:+d}",
         f"y^2{s:+d}y{p:+d}", str(p)],
    )  # fmt: skip


def power(rng: Random) -> Answers:
    n, k = rng.choice([2, 3, 5]), rng.randint(2, 9)
    return Answers(
        str(n**k),
        [f"{n}^{k}", f"{n}^{{{k}}}", f"{n}**{k}", rf"{n}^{{{k}}} = {n**k}", rf"{n} \cdot {n}^{{{k - 1}}}"],
        [f"{n}^{{{k + 1}}}", f"{n * k + (n * k == n**k)}", f"{n}^{{-{k}}}", f"{n**k + 1}"],
    )


def large_power(rng: Random) -> Answers:
    a, n = rng.randint(1, 9), rng.randint(65, 2000)
    return Answers(
        rng.choice([f"(x+{a})^{{{n}}}"]),
        [f"({a}+x)^{{{n}}}", f"(x + {a})^{n}", rf"\left(x+{a}\right)^{{{n}}}", f"(x+{a})(x+{a})^{{{n - 1}}}"],
        [f"(x+{a})^{{{n + 1}}}", f"(x+{a + 1})^{{{n}}}", f"(x-{a})^{{{n}}}", f"x^{{{n}}}+{a}^{{{n}}}"],
    )


def huge_number(rng: Random) -> Answers:
    n, k = rng.choice([2, 3, 7]), rng.randint(300, 3000)
    return Answers(
        f"{n}^{{{k}}}",
        [rf"{n} \cdot {n}^{{{k - 1}}}", f"{n}^{{{k}}}", rf"{n}^{{{k - 2}}} \cdot {n * n}", f"{n}^({k})"],
        [f"{n}^{{{k}}} + 1", f"{n}^{{{k + 1}}}", f"{n + 1}^{{{k}}}", f"{k}^{{{n}}}"],
    )


def tower(rng: Random) -> Answers:
    a = rng.randint(2, 4)
    return Answers(
        rng.choice([f"e^{{x^{a}}}", f"e^{{x^{{{a}}}}}"]),
        [f"e^{{x^{a}}}", f"e^{{x^{{{a}}}}}", rf"\exp(x^{a})", rf"\exp\left(x^{{{a}}}\right)"],
        [f"e^{{{a}x}}", f"e^{{x^{{{a + 1}}}}}", f"x^{{e^{a}}}", f"(e^x)^{a}"],
    )


def count(rng: Random) -> Answers:
    n = rng.randint(5, 12)
    k = rng.randint(2, n - 2)
    c = comb(n, k)
    return Answers(
        str(c),
        [rf"\binom{{{n}}}{{{k}}}", rf"\binom{{{n}}}{{{k}}} = {c}", rf"\dbinom{{{n}}}{{{n - k}}}", rf"{n}!/({k}! \cdot {n - k}!)",
         rf"\frac{{{n}!}}{{{k}!{n - k}!}} = {c}", rf"\sum_{{i=1}}^{{{c}}} 1 = {c}"],
        [rf"\binom{{{n}}}{{{k}}} = {c + 1}", rf"\binom{{{n + 1}}}{{{k}}}", f"{n}!", f"{c}!", rf"\frac{{{n}!}}{{{k}!}}"],
    )  # fmt: skip


def factorial_of(rng: Random) -> Answers:
    n = rng.randint(3, 9)
    return Answers(
        str(factorial(n)),
        [f"{n}!", f"{n}! = {factorial(n)}", rf"{n} \cdot {n - 1}!", rf"\Gamma({n + 1})"],
        [f"{n}", f"{n + 1}!", f"{n - 1}!", f"{factorial(n)}!", f"{n}!!"],
    )


def scientific(rng: Random) -> Answers:
    m, k = rng.randint(11, 99), rng.randint(4, 30) * rng.choice([-1, 1])
    m += m % 10 == 0
    text = f"{m // 10}.{m % 10}"
    return Answers(
        rf"{text} \times 10^{{{k}}}",
        [rf"{text} \cdot 10^{{{k}}}", f"{text}e{k}", f"{text}E{k:+d}", rf"{m} \times 10^{{{k - 1}}}", f"{text}*10^({k})",
         f"{text} × 10^{{{k}}}"],
        [rf"{text} \times 10^{{{k + 1}}}", rf"{text} \times 10^{{{-k}}}", rf"9.{(m + 1) % 10}5 \times 10^{{{k}}}", text, "0",
         rf"{text} \times 10^{{{k - 12}}}"],
    )  # fmt: skip


def interval(rng: Random) -> Answers:
    a, n = rng.randint(-9, 5), rng.randint(1, 9)
    b, left, right = a + n, rng.choice("(["), rng.choice(")]")
    flip = {"(": "[", "[": "(", ")": "]", "]": ")"}
    low, high = "<" if left == "(" else r"\le", "<" if right == ")" else r"\le"
    return Answers(
        f"{left}{a},{b}{right}",
        [f"{left}{a}, {b}{right}", rf"\left{left}{a},{b}\right{right}", f"x \\in {left}{a},{b}{right}", f"{a} {low} x {high} {b}",
         f"{left}{a}.0,{b}{right}"],
        [f"{flip[left]}{a},{b}{right}", f"{left}{a},{b}{flip[right]}", f"{left}{a},{b + 1}{right}", f"{left}{a - 1},{b}{right}",
         f"{left}{b},{a}{right}", str(b)],
    )  # fmt: skip


def ray(rng: Random) -> Answers:
    a = rng.randint(-9, 9)
    return Answers(
        rng.choice([rf"({a},\infty)", rf"x > {a}"]),
        [rf"({a}, \infty)", rf"({a}, +\infty)", f"x > {a}", f"{a} < x", rf"x \in ({a}, \infty)", f"({a}, ∞)"],
        [rf"[{a},\infty)", rf"(-\infty,{a})", rf"x \ge {a}", f"x < {a}", rf"({a + 1},\infty)", f"{a}"],
    )  # fmt: skip


def union(rng: Random) -> Answers:
    a, b = rng.randint(-9, -1), rng.randint(1, 9)
    return Answers(
        rf"(-\infty,{a}) \cup ({b},\infty)",
        [rf"({b},\infty) \cup (-\infty,{a})", rf"(-\infty, {a})\cup({b}, +\infty)", f"(-∞, {a}) ∪ ({b}, ∞)",
         rf"x < {a} \text{{ or }} x > {b}", rf"x \in (-\infty,{a}) \cup ({b},\infty)"],
        [rf"(-\infty,{a}] \cup ({b},\infty)", rf"(-\infty,{a}) \cap ({b},\infty)", rf"({a},{b})", rf"(-\infty,{b}) \cup ({a},\infty)",
         rf"(-\infty,{a})"],
    )  # fmt: skip


def values_list(rng: Random) -> Answers:
    a, b, c = sorted(rng.sample(range(-20, 21), 3))
    return Answers(
        f"{a}, {b}, {c}",
        [f"{c}, {a}, {b}", f"{a},{b},{c}", rf"{b}, {a} \text{{ and }} {c}", rf"\{{{a}, {b}, {c}\}}", f"x = {a}, x = {b}, x = {c}",
         rf"{a}, {b}, \text{{ and }} {c}"],
        [f"{a}, {b}", f"{a}, {b}, {c}, {c + 1}", f"{a}, {b}, {c + 1}", f"{a}, {a}, {c}", f"{b}", f"{a}, {b}, {b}, {c}"],
    )  # fmt: skip


def number_set(rng: Random) -> Answers:
    a, b, c = sorted(rng.sample(range(1, 30), 3))
    return Answers(
        rf"\{{{a},{b},{c}\}}",
        [
            rf"\{{{c},{a},{b}\}}",
            rf"\left\{{{a}, {b}, {c}\right\}}",
            f"{a}, {b}, {c}",
            rf"\{{{a},{b},{c},{a}\}}",
            rf"\lbrace {a}, {b}, {c} \rbrace",
        ],
        [
            rf"\{{{a},{b}\}}",
            rf"\{{{a},{b},{c + 1}\}}",
            f"({a},{b},{c})",
            rf"\{{{a},{b},{c},{c + 1}\}}",
            rf"\{{{a}\}}",
            r"\emptyset",
        ],
    )


def point(rng: Random) -> Answers:
    a, b = rng.sample(range(-20, 21), 2)
    return Answers(
        f"({a},{b})",
        [
            f"({a}, {b})",
            rf"\left({a}, {b}\right)",
            f"({a}.0, {b})",
            f"(x,y) = ({a},{b})",
            f"{a}, {b}",
            rf"P = ({a}, {b})",
        ],
        [
            f"({b},{a})",
            f"({a},{b + 1})",
            f"[{a},{b}]",
            f"({a},{b},0)",
            f"{a}",
            rf"\{{{a},{b}\}}",
            f"{b}, {a}",
        ],
    )


def plus_minus(rng: Random) -> Answers:
    a, b = rng.randint(1, 9), rng.choice([2, 3, 5, 7])
    return Answers(
        rf"{a} \pm \sqrt{{{b}}}",
        [rf"{a}+\sqrt{{{b}}}, {a}-\sqrt{{{b}}}", rf"{a}-\sqrt{{{b}}}, {a}+\sqrt{{{b}}}", rf"x = {a} \pm \sqrt{{{b}}}", f"{a} ± √{b}",
         rf"\sqrt{{{b}}}+{a}, -\sqrt{{{b}}}+{a}"],
        [rf"{a}+\sqrt{{{b}}}", rf"{a} \pm \sqrt{{{b + 1}}}", rf"-{a} \pm \sqrt{{{b}}}", rf"{a}", rf"{a}+\sqrt{{{b}}}, {a}+\sqrt{{{b}}}"],
    )  # fmt: skip


def matrix(rng: Random) -> Answers:
    a, b, c, d = (rng.randint(-9, 9) for _ in range(4))
    b += b == c

    def written(kind: str, *cells: int, columns: str = "") -> str:
        w, x, y, z = cells
        return rf"\begin{{{kind}}}{columns} {w} & {x} \\ {y} & {z} \end{{{kind}}}"

    return Answers(
        written("pmatrix", a, b, c, d),
        [written("bmatrix", a, b, c, d), written("pmatrix", a, b, c, d).replace(" ", ""),
         r"\left(" + written("array", a, b, c, d, columns="{cc}") + r"\right)", "A = " + written("pmatrix", a, b, c, d),
         rf"\begin{{pmatrix}} {a}.0 & {b} \\ {c} & {d} \end{{pmatrix}}"],
        [written("pmatrix", a, c, b, d), written("pmatrix", a + 1, b, c, d), rf"\begin{{pmatrix}} {a} & {b} \end{{pmatrix}}",
         rf"({a}, {b}, {c}, {d})", written("vmatrix", a, b, c, d)],
    )  # fmt: skip


def numeral(rng: Random) -> Answers:
    digits = "1" + "".join(rng.choice("01") for _ in range(rng.randint(2, 7)))
    return Answers(
        f"{digits}_2",
        [f"{digits}_{{2}}", rf"{digits}_{{\text{{two}}}}", digits, f"({digits})_2", f"0{digits}_2"],
        [f"{digits}_3", f"{digits}_{{10}}", f"{digits}0_2", str(int(digits, 2)), f"{digits}1_2"],
    )


def complex_number(rng: Random) -> Answers:
    a, b = rng.randint(1, 9), rng.randint(2, 9)
    return Answers(
        f"{a}+{b}i",
        [f"{a} + {b}i", f"{b}i+{a}", rf"{a}+{b}\cdot i", f"z = {a}+{b}i", rf"{a}+{b}\sqrt{{-1}}"],
        [
            f"{a}-{b}i",
            f"{b}+{a}i" if a != b else f"{b}+{a + 1}i",
            f"{a}",
            f"{a + b}",
            f"{a}+{b}",
            f"-{a}+{b}i",
        ],
    )


def equation(rng: Random) -> Answers:
    m, b = rng.randint(2, 9), rng.randint(1, 9)
    return Answers(
        f"y={m}x+{b}",
        [
            f"y = {m}x + {b}",
            f"y={b}+{m}x",
            f"{m}x-y+{b}=0",
            f"{m}x + {b} = y",
            f"2y = {2 * m}x + {2 * b}",
            f"{m}x+{b}",
        ],
        [f"y={m}x-{b}", f"y={m + 1}x+{b}", f"x={m}y+{b}", f"y={m}x+{b + 1}", f"y<{m}x+{b}", str(b)],
    )


def assignment(rng: Random) -> Answers:
    n = rng.randint(2, 99)
    return Answers(
        f"x={n}",
        [f"{n}", f"x = {n}", f"x = {n}.0", f"{n} = x", f"2x = {2 * n}"],
        [f"y={n}", f"x={n + 1}", f"x > {n}", f"x = {n}, y = {n}", f"2x = {n}", rf"x \ne {n}"],
    )


def function(rng: Random) -> Answers:
    gold, right, wrong = rng.choice(
        [
            (
                r"\sin^2 x",
                [r"1-\cos^2 x", r"\sin(x)^2", r"(\sin x)^2", r"\frac{1-\cos 2x}{2}"],
                [r"\sin x^2", r"\cos^2 x", r"\sin 2x"],
            ),
            (
                r"2\sin x\cos x",
                [r"\sin 2x", r"\sin(2x)", r"2\cos x\sin x"],
                [r"\sin x", r"2\sin x", r"\cos 2x"],
            ),
            (
                r"\ln 4",
                [r"2\ln 2", r"\ln(4)", r"\log_e 4", r"\ln 8 - \ln 2"],
                [r"\log 4", r"\ln 2", "1.386", r"\ln 5"],
            ),
            (
                r"\frac{1}{x+1}",
                ["1/(x+1)", "(x+1)^{-1}", r"\frac{-1}{-x-1}"],
                ["1/x+1", "x+1", r"\frac{1}{x-1}"],
            ),
            (
                r"\log_2 10",
                [r"\frac{\ln 10}{\ln 2}", r"\log_{2}{10}", r"1+\log_2 5"],
                [r"\log_{10} 2", "3.32", r"\log 5"],
            ),
            (r"|x-1|", [r"|1-x|", r"\lvert x-1 \rvert", r"\sqrt{(x-1)^2}"], ["x-1", "|x+1|", "1-x"]),
            (r"\sqrt[3]{x}", [r"x^{1/3}", r"x^{\frac13}"], [r"\sqrt{x}", "x^3", r"3\sqrt{x}"]),
            (r"\arctan x", [r"\tan^{-1} x", r"\arctan(x)"], [r"\frac{1}{\tan x}", r"\tan x", r"\arcsin x"]),
        ]
    )
    return Answers(gold, right, wrong)


def choice(rng: Random) -> Answers:
    letter, other = rng.sample("ABCDE", 2)
    return Answers(
        rng.choice([letter, f"({letter})", rf"\text{{{letter}}}", rf"\textbf{{({letter})}}"]),
        [letter, f"({letter})", rf"\text{{{letter}}}", rf"\text{{({letter})}}", rf"\textbf{{({letter})}}", rf"\textbf{{({letter}) }} 12",
         f"{letter}.", rf"\mathrm{{{letter}}}", f"{letter}. 12"],
        [other, f"({other})", rf"\text{{{other}}}", f"{letter}{other}", f"{letter}, {other}", rf"\textbf{{({other}) }} 12",
         f"{letter} or {other}"],
    )  # fmt: skip


def name(rng: Random) -> Answers:
    words = ["Evelyn", "Thursday", "ellipse", "even", "cat", "blue", "July", "parabola", "Saturday", "Robert"]
    word, other = rng.sample(words, 2)
    swapped = word[1] + word[0] + word[2:]
    return Answers(
        rng.choice([word, rf"\text{{{word}}}"]),
        [word, rf"\text{{{word}}}", rf"\textbf{{{word}}}", word.lower(), rf"\mathrm{{{word}}}"],
        [
            other,
            swapped,
            word[::-1],
            rf"\text{{not {word}}}",
            f"{word}, {other}",
            rf"\text{{{word} or {other}}}",
            "5",
        ],
    )


def ordering(rng: Random) -> Answers:
    order = rng.sample("ABCD", 3)
    a, b, c = order
    return Answers(
        f"{a}, {b}, {c}",
        [f"{a}, {b}, {c}", f"{a},{b},{c}", rf"{a},\ {b},\ {c}"],
        [f"{a}, {c}, {b}", f"{c}, {b}, {a}", f"{a}, {b}", f"{a}"],
    )


def arrow(rng: Random) -> Answers:
    a, b = rng.sample("ABCXYZ", 2)
    return Answers(
        rf"{a} \rightarrow {b}",
        [rf"{a} \rightarrow {b}", rf"{a}\rightarrow {b}", rf"${a} \rightarrow {b}$".strip("$")],
        [rf"{a} \leftarrow {b}", rf"{b} \rightarrow {a}", rf"{a} \leftrightarrow {b}", f"{a}{b}"],
    )


def infinity(rng: Random) -> Answers:
    return Answers(
        r"\infty", [r"+\infty", "∞", r"\infty", "infinity"], [r"-\infty", "0", "10^{100}", r"\emptyset"]
    )


def empty(rng: Random) -> Answers:
    return Answers(
        r"\emptyset", [r"\varnothing", "∅", r"\{\}"], ["0", r"\{0\}", r"\infty", r"\{\emptyset, 1\}"]
    )


def product_of_letters(rng: Random) -> Answers:
    a, b = rng.sample("abckmnpqrst", 2)
    n = rng.randint(2, 9)
    return Answers(
        f"{n}{a}{b}",
        [f"{n}{b}{a}", f"{n} {a} {b}", rf"{n}{a} \cdot {b}", rf"{n} \cdot {a}{b}", rf"{a}{b} \cdot {n}"],
        [f"{n}{a}", f"{n}+{a}{b}", f"{n}{a}^2{b}", f"{n + 1}{a}{b}", rf"\frac{{{n}{a}}}{{{b}}}", str(n)],
    )


def negative(rng: Random) -> Answers:
    n = rng.randint(2, 99)
    return Answers(
        f"-{n}",
        [
            f"-{n}",
            f"- {n}",
            f"−{n}",
            f"-{n}.0",
            f"(-{n})",
            f"x = -{n}",
            rf"-\frac{{{2 * n}}}{{2}}",
            rf"\frac{{-{2 * n}}}{{2}}",
        ],
        [f"{n}", f"--{n}", f"-{n + 1}", f"1-{n}", f"|-{n}|", rf"\pm {n}"],
    )


KINDS: tuple[Callable[[Random], Answers], ...] = (
    integer, thousands, thousands_inside, decimal, small_decimal, fraction, third, mixed, percent, percent_of_a_number,
    unit, unit_of_a_number, area, money, angle, radical, multiple_of_pi, polynomial, power, large_power, huge_number,
    tower, count, factorial_of, scientific, interval, ray, union, values_list, number_set, point, plus_minus, matrix,
    numeral, complex_number, equation, assignment, function, choice, name, ordering, arrow, infinity, empty,
    product_of_letters, negative,
)  # fmt: skip
"""Every kind."""
