r"""Normalises the text of an answer: sizes, spaces, typography, thousands separators."""

from __future__ import annotations

import re
from fractions import Fraction

from tasks.mathematics.size import MAX_DIGITS, MAX_LENGTH

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})")
_RATIO = re.compile(r"([+-]?[0-9]{1,40})/([0-9]{1,40})")
_FRACTION = re.compile(r"([+-]?)\\frac\{([0-9]{1,40})\}\{([0-9]{1,40})\}")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")

_SIZES = re.compile(r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![A-Za-z])(?:\s*\.(?![0-9]))?")
r"""``\left`` and ``\right`` alone, and not the beginning of ``\leftarrow``; with the dot of an empty bracket."""

_SPACES = re.compile(
    r"(?<!\\)\\[,;:> ]|~|\\(?:quad|qquad|thinspace|enspace|medspace|thickspace|space|displaystyle|textstyle"
    r"|limits|nolimits|mathstrut|strut|bf|rm|it|sf|tt|scriptstyle)(?![A-Za-z])|\\[hv]space\*?\{[^{}]*\}|\\[hv]?phantom\{[^{}]*\}"
)

_BETWEEN_DIGITS = r"(?:\{,\}(?:\\!)?|,\\!|\\,|[\u2009\u202f\u200a\u2007\u00a0\u2006])\s*"
_SEPARATED = re.compile(rf"(?<![0-9.])[0-9]{{1,3}}(?:{_BETWEEN_DIGITS}[0-9]{{3}})+(?![0-9])")

_REPEATING = re.compile(r"([0-9]{0,15})\.([0-9]{0,15})\\(?:overline|bar|dot)\s*(?:\{([0-9]{1,15})\}|([0-9]))")

_WRAPPED = re.compile(
    r"\\(?:mathbf|mathit|mathsf|mathtt|boldsymbol|bm|pmb|emph|underline|mathbin|mathrel|mathord|ensuremath"
    r"|boxed|fbox|framebox|displaylines)\s*\{([^{}]*)\}"
)
_AS_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up|sc|md)?|mathrm|mbox|hbox|operatorname\*?)\s*\{([^{}]*)\}"
)

_LETTERS = re.compile(r"\(?[A-Z]\)?(?:\s*(?:,|;|and|or|,\s*and)\s*\(?[A-Z]\)?)+")
"""Choices in ``\\text{}``: a list, and no words."""

_SIGNS = {
    "−": "-", "–": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ",
    "÷": r"\div ", "∕": "/", "⁄": "/", "√": r"\sqrt ", "∛": r"\sqrt[3] ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "∪": r"\cup ",
    "∩": r"\cap ", "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ", "°": r"^\circ ", "º": r"^\circ ",
    "′": "'", "’": "'", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}", "⅛": r"\frac{1}{8}", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
    "γ": r"\gamma ", "λ": r"\lambda ", "μ": r"\mu ", "ω": r"\omega ", "φ": r"\phi ", "σ": r"\sigma ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "→": r"\to ", "⇒": r"\Rightarrow ", "←": r"\leftarrow ",
    "€": r"\text{euro}", "£": r"\text{pound}", "¥": r"\text{yen}", "…": r"\ldots ", "“": '"', "”": '"',
    "\u200b": "", "\u2060": "", "\ufeff": "", "\u3000": " ",
}  # fmt: skip
_SIGNS_TABLE = str.maketrans(_SIGNS | {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)})
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def tidied(text: str) -> str:
    r"""The text without what changes no meaning: ``$``, sizes of brackets, ``\text{}`` around it all, and
    spaces but those between two digits."""
    text = _SIZES.sub("", text.strip())
    text = re.sub(r"\\!|\\?\$", "", re.sub(r"\\[,;:\s]", " ", text))
    text = re.sub(r"(?<![0-9])\s+|\s+(?![0-9])", "", text)
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text).removesuffix(".")
    whole = re.fullmatch(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}", text)
    return whole[1] if whole else text


def plain_number(text: str) -> Fraction | None:
    """The value of a number or a quotient of two, written out; None for anything else."""
    if len(text) > MAX_LENGTH:
        return None
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    if _NUMBER.fullmatch(text):
        return Fraction(text)
    ratio = _RATIO.fullmatch(text)
    if ratio:
        return _quotient(ratio[1], ratio[2])
    fraction = _FRACTION.fullmatch(text)
    return _quotient(fraction[1] + fraction[2], fraction[3]) if fraction else None


def readable(text: str) -> str:
    r"""An answer as plain LaTeX: one way to write each sign, no sizes, no spaces of LaTeX's own, and
    ``\text{}`` around words alone."""
    text = without_separators(text)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda match: f"^{{{match[0].translate(_RAISED)}}}", text)
    text = re.sub(r"[₀₁₂₃₄₅₆₇₈₉]+", lambda match: f"_{{{match[0].translate(_LOWERED)}}}", text)
    text = re.sub(r"\bper\s+cent\b", "percent", text.translate(_SIGNS_TABLE)).replace("->", r"\to ")
    if r"\begin" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z(){}\[\]])", r"\\", text)  # escaped twice, as in JSON
        text = re.sub(r"\\[()\[\]]", " ", text)
    text = _SPACES.sub(" ", _SIZES.sub("", text)).replace(r"\!", "")
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\[dt]binom(?![A-Za-z])", r"\\binom", text)
    text = re.sub(r"(?<!\\)\$", " ", text).replace(r"\%", "%").replace("{,}", ",")
    text = re.sub(r"\{([^{}]+)\\choose(?![A-Za-z])([^{}]+)\}", r"\\binom{\1}{\2}", text)
    text = _REPEATING.sub(_repeated, text)
    for _ in range(3):  # wrapped up to three times
        text = _AS_TEXT.sub(_words_or_bare, _WRAPPED.sub(r"{\1}", text))
    return _unmarked(text.strip().rstrip(".,;: "))


def without_separators(text: str) -> str:
    r"""The text without the separators of thousands that are nothing else: ``{,}``, ``\,`` and thin spaces."""
    return _SEPARATED.sub(lambda match: re.sub(_BETWEEN_DIGITS, "", match[0]), text)


def _unmarked(text: str) -> str:
    """Without the marks of Markdown around it all."""
    for mark in ("**", "__", "`", "*", "_"):
        inner = text.removeprefix(mark).removesuffix(mark)
        if len(text) - len(inner) == 2 * len(mark) and mark not in inner:
            return _unmarked(inner.strip().rstrip(".,;: "))
    return text


def _words_or_bare(match: re.Match[str]) -> str:
    """Words stay marked as such; a number in ``\text{}`` is a number."""
    words = match[1].strip()
    if not words:
        return " "
    if _LETTERS.fullmatch(words):
        return f" {words} "
    return rf"\text{{{match[1]}}}" if re.search(r"[^\W\d_]", words) else f" {words} "


def _repeated(match: re.Match[str]) -> str:
    """0.1\\overline{6} as the fraction that it is."""
    whole, before, period = match[1] or "0", match[2], match[3] or match[4]
    above = int(whole + before + period) - int(whole + before)
    below = 10 ** len(before) * (10 ** len(period) - 1)
    return rf"{{\frac{{{above}}}{{{below}}}}}" if len(str(below)) <= MAX_DIGITS else match[0]


def _quotient(above: str, below: str) -> Fraction | None:
    return None if int(below) == 0 else Fraction(int(above), int(below))
