"""Names that mean something in an answer: functions, constants, letters, units, words."""

from __future__ import annotations

import re

from tasks.mathematics.functions import GROWING, INVERSE, PERIODIC


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_LETTERS = 4
"""Letters in a row that are a product of variables, inside an expression."""

FUNCTIONS = {
    **{name: name for name in (*PERIODIC, *INVERSE, *GROWING)},
    **{f"arc{name}": f"a{name}" for name in PERIODIC},
    **{f"ar{name}h": f"a{name}h" for name in ("sin", "cos", "tan")},
    "ln": "ln", "log": "log", "sqrt": "sqrt", "Gamma": "gamma", "abs": "abs", "floor": "floor", "ceil": "ceil",
}  # fmt: skip
"""By how they are written, with and without a backslash."""

CONSTANTS = {"pi": "pi", "infty": "oo", "infinity": "oo", "inf": "oo", "oo": "oo"}
GREEK = _words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar"
)
ACCENTS = _words("bar hat vec tilde overline widehat widetilde overrightarrow mathbb mathcal dot")
COMMANDS = frozenset((*FUNCTIONS, *CONSTANTS, *GREEK, *ACCENTS, "frac", "binom", "lfloor", "lceil"))
"""Commands that begin an expression."""
SCALES = {
    "hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12,
}  # fmt: skip
"""Words that multiply by a power of ten."""


TWO_LETTER_WORDS = _words(
    "no on up am pm we he me my or so to do go if in is it at as an by of us be ok hi ad"
)
"""Two letters alone that are a word, and not a product of variables."""

_UNITS = {
    "cm": "centimeter centimetre centimeters centimetres cms",
    "mm": "millimeter millimetre millimeters millimetres",
    "km": "kilometer kilometre kilometers kilometres kms",
    "m": "meter metre meters metres",
    "inch": "inches in",
    "ft": "foot feet",
    "yard": "yards yd yds",
    "mile": "miles mi",
    "kg": "kilogram kilograms kgs kilo kilos",
    "g": "gram grams gm gms",
    "mg": "milligram milligrams",
    "lb": "lbs",
    "oz": "ounce ounces",
    "l": "liter litre liters litres L",
    "ml": "milliliter millilitre milliliters millilitres mL",
    "s": "second seconds sec secs",
    "minute": "minutes min mins",
    "hour": "hours hr hrs h",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "year": "years yr yrs",
    "dollar": "dollars usd USD buck bucks",
    "cent": "cents",
    "euro": "euros eur EUR",
    "pound": "pounds gbp GBP",
    "yen": "JPY",
    "degree": "degrees deg degs",
    "radian": "radians rad rads",
    "mph": "",
    "kmh": "kph",
    "unit": "units",
    "square": "sq",
    "cubic": "cu",
    "hz": "Hz hertz",
    "n": "N newton newtons",
    "j": "J joule joules",
    "w": "W watt watts",
    "v": "V volt volts",
    "ohm": "ohms",
    "mol": "mole moles mols",
    "k": "K kelvin kelvins",
    "c": "C celsius",
    "f": "F fahrenheit",
    "pa": "Pa pascal pascals",
    "acre": "acres",
    "gallon": "gallons gal",
    "th": "st nd rd",
}
UNITS = {word: unit for unit, words in _UNITS.items() for word in (unit, *words.split())}
"""Units by how they are written; each to one way of writing it."""

ATTACHED = _words("cm mm km kg mg ml mL lb lbs ft oz mph kmh hr hrs sec th st nd rd")
"""Units that may follow a number without a space, and are no product of variables."""

DIMENSIONS = frozenset(("square", "cubic", "per"))

CHANGING = _words(
    "half halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths seventh sevenths eighth "
    "eighths ninth ninths tenth tenths hundredth hundredths thousandth thousandths squared cubed factorial choose "
    "plus minus times over divided multiplied mod modulo percent pct percentage dozen dozens hundred thousand million "
    "billion trillion"
)
"""Words after a number that make it another one."""

NO_UNITS = CHANGING | _words(
    "not no none never nor neither or and but if is isn are was maybe wrong incorrect false fails fail works too does "
    "do doesn cannot would could should will so by root power negative point base to than greater less between except "
    "versus vs equals equal log sin cos tan exp sqrt infinity"
)
"""Words that are no unit: they change what stands before them, or take it back."""


def words_of(text: str) -> str:
    """Words as they are compared: small letters, one space, no punctuation."""
    return " ".join(re.sub(r"\\text\b|[^\w\s]", " ", text).lower().split())


def unit_of(words: str) -> str | None:
    """The one way of writing a unit, such as ``m^2`` or ``dollar``; None where words are no unit."""
    words = re.sub(r"^\s*\((.*)\)\s*$", r"\1", words)
    parts = re.findall(
        r"[A-Za-z]+|\^-?[0-9]+|/|\S", words.replace("{", "").replace("}", "").replace(".", " ")
    )
    found: list[str] = []
    for part in parts:
        if part in ("*", "-"):
            continue
        if part == "/" or part in ("a", "an"):
            found.append("per")
        elif part.startswith("^") and len(part) > 1:
            found.append({"^2": "square", "^3": "cubic"}.get(part, part))
        elif not part.isalpha() or part.lower() in NO_UNITS or len(found) > MAX_UNIT_WORDS:
            return None
        elif len(part) == 1 and part not in UNITS:
            return None  # a variable
        else:
            word = part.lower()
            found.append(UNITS.get(part) or UNITS.get(word) or word.removesuffix("s"))
    return " ".join(sorted(found)) if found else None


MAX_UNIT_WORDS = 6


def same_unit(gold: str, answer: str) -> bool:
    """Whether two units agree: what is there on both sides must; "apples" may be "red apples"."""
    ours, theirs = set(gold), set(answer)
    if not ours or not theirs or ours == theirs:
        return True
    known = set(UNITS.values()) | DIMENSIONS
    if (ours | theirs) & DIMENSIONS or (ours & known and theirs & known):
        return ours & known == theirs & known
    return ours <= theirs or theirs <= ours
