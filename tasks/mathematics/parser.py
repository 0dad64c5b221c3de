r"""Terms read from tokens, by recursive descent; no text is ever evaluated.

    sum      = ["+"|"-"] product { ("+"|"-") product }
    product  = power { ("*"|"/") power | power }          what stands side by side is multiplied
    power    = base [ "^" exponent ] { "!" }
    base     = number | letters | command | "(" sum ")" | "[" sum "]" | "{" sum "}" | "|" sum "|"

A whole number before a fraction makes a mixed one, 2\frac{1}{2} or 2 1/2; other numbers side by side are
not understood.  Letters are variables, one each, up to four in a row; ``e`` and ``i`` are constants.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.mathematics.functions import PERIODIC
from tasks.mathematics.names import ACCENTS, COMMANDS, CONSTANTS, FUNCTIONS, GREEK, MAX_LETTERS, SCALES
from tasks.mathematics.size import MAX_DEPTH
from tasks.mathematics.terms import Term, negative, number, times, variable, written_number
from tasks.mathematics.tokens import NotReadError, Token, match_of, text_of

_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}


def term_of(tokens: Sequence[Token]) -> Term:
    """The term that tokens are, all of them.

    Raises:
        NotReadError: they are none.
    """
    reader = _Reader(list(tokens))
    term = reader.sum()
    if reader.tokens[reader.place :]:
        raise NotReadError
    return term


class _Reader:
    """One method for each line of the grammar."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0
        self.in_bars = False
        """Whether the next bar closes."""

    @property
    def next(self) -> Token:
        return self.tokens[self.place] if self.place < len(self.tokens) else Token("end of text", "")

    def take(self, *wanted: str) -> Token:
        token = self.next
        if wanted and token.text not in wanted:
            raise NotReadError
        self.place += 1
        return token

    def sum(self) -> Term:
        parts = [self._signed_product()]
        while self.next.text in ("+", "-"):
            parts.append(self._signed_product())
        return parts[0] if len(parts) == 1 else Term("sum", tuple(parts))

    def _signed_product(self) -> Term:
        minus = False
        while self.next.text in ("+", "-"):
            minus ^= self.take().text == "-"
        return negative(self.product()) if minus else self.product()

    def product(self) -> Term:
        term = self.power()
        while True:
            if self.next.text == "*":
                self.take()
                term = times(term, self._signed_power())
            elif self.next.text == "/":
                self.take()
                term = Term("quotient", (term, self._signed_power()))
            elif self._starts_base():
                term = times(term, self.power())
            else:
                return term

    def _signed_power(self) -> Term:
        """A factor after a sign of multiplication may have one of its own."""
        if self.next.text not in ("+", "-"):
            return self.power()
        return self.power() if self.take().text == "+" else negative(self.power())

    def _starts_base(self) -> bool:
        token = self.next
        if token.kind == "number":
            return False
        if token.kind == "text":
            return token.word in SCALES or len(token.word) == 1
        if token.kind == "letters":
            return True
        if token.text == "|":
            return not self.in_bars
        return token.text in _CLOSED_BY or (token.kind == "command" and token.text[1:] in COMMANDS)

    def power(self) -> Term:
        base = self.base()
        while True:
            if self.next.text == "^":
                base = self._raised(base)
            elif self.next.text == "!":
                self.take()
                if self.next.text == "!":
                    raise NotReadError  # a double factorial is another function
                base = Term("factorial", (base,))
            else:
                return base

    def _raised(self, base: Term) -> Term:
        exponent = self._exponent()
        if exponent is None:  # degrees
            return Term("quotient", (times(base, Term("constant", name="pi")), number(180)))
        return Term("exp", (exponent,)) if base == variable("e") else Term("power", (base, exponent))

    def _exponent(self) -> Term | None:
        """What stands after ``^``; None for the sign of degrees."""
        self.take("^")
        self._deeper()
        if self.next.text == r"\circ":
            self.take()
            exponent = None
        elif [token.text for token in self.tokens[self.place : self.place + 3]] == ["{", r"\circ", "}"]:
            self.place += 3
            exponent = None
        else:
            sign = self.take().text if self.next.text in ("+", "-") else "+"
            exponent = self.base()
            if self.next.text == "^":  # a tower is built from above
                exponent = self._raised(exponent)
            exponent = negative(exponent) if sign == "-" else exponent
        self.depth -= 1
        return exponent

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotReadError

    def base(self) -> Term:
        self._deeper()
        token = self.take()
        if token.kind == "number":
            term = self._number(token)
        elif token.kind == "letters":
            term = self._letters(token)
        elif token.kind == "text":
            term = self._word(token.word)
        elif token.kind == "command":
            term = self._command(token.text[1:])
        elif token.text == "|":
            term = Term("abs", (self._inside("|", bars=True),))
        elif token.text in _CLOSED_BY:
            term = self._inside(_CLOSED_BY[token.text], bars=False)
        else:
            raise NotReadError
        self.depth -= 1
        return term

    def _inside(self, closing: str, *, bars: bool) -> Term:
        outside, self.in_bars = self.in_bars, bars
        term = self.sum()
        self.take(closing)
        self.in_bars = outside
        return term

    def _number(self, token: Token) -> Term:
        term = written_number(token.text)
        if token.text.isdigit():
            term = self._mixed(term)
        while self.next.kind in ("letters", "text") and self.next.word.lower() in SCALES:
            term = times(term, number(10 ** SCALES[self.take().word.lower()]))
        return term

    def _mixed(self, whole: Term) -> Term:
        """A whole number and the fraction after it."""
        ahead = self.tokens[self.place : self.place + 3]
        if (
            [t.kind for t in ahead] == ["number", "sign", "number"]
            and ahead[1].text == "/"
            and ahead[0].spaced
        ):
            above, below = (written_number(t.text) for t in (ahead[0], ahead[2]))
            if ahead[0].text.isdigit() and ahead[2].text.isdigit():
                self.place += 3
                return Term("sum", (whole, Term("quotient", (above, below))))
        if self.next.text == r"\frac" and self._is_numeric_fraction():
            return Term("sum", (whole, self.base()))
        return whole

    def _is_numeric_fraction(self) -> bool:
        r"""Whether both arguments of the ``\frac`` ahead are whole numbers."""
        written = " ".join(token.text for token in self.tokens[self.place + 1 : self.place + 7])
        return bool(
            re.match(r"[0-9]{2}(?![0-9])|(?:\{ [0-9]+ \}|[0-9](?![0-9])) ?(?:\{ [0-9]+ \}|[0-9])", written)
        )

    def _letters(self, token: Token) -> Term:
        if token.text in FUNCTIONS or token.text in CONSTANTS:
            return self._named(token.text)
        if len(token.text) > MAX_LETTERS:
            raise NotReadError
        # The last letter is left to be raised, or to have an index.
        *first, last = list(token.text)
        if first:
            self.place -= 1
            self.tokens[self.place : self.place + 1] = [
                Token("letters", letter) for letter in (*first[1:], last)
            ]
            return variable(first[0])
        return self._indexed(last)

    def _word(self, word: str) -> Term:
        if word in FUNCTIONS or word in CONSTANTS:
            return self._named(word)
        if len(word) != 1:
            raise NotReadError
        return self._indexed(word)

    def _indexed(self, name: str) -> Term:
        """A variable, with its primes and its index."""
        index = ""
        while self.next.text == "'":
            index += self.take().text
        if self.next.text == "_":
            self.take()
            index += "_" + "".join(self._argument_text())
        return variable(name + index) if not index else Term("symbol", name=name + index)

    def _argument_text(self) -> str:
        """The next token or group as text."""
        if self.next.text != "{":
            return self.take().text
        end = self.place + match_of(self.tokens[self.place :])
        inner = self.tokens[self.place + 1 : end]
        self.place = end + 1
        return text_of(inner)

    def _command(self, name: str) -> Term:
        if name in FUNCTIONS or name in CONSTANTS:
            return self._named(name)
        if name in GREEK:
            return self._indexed(name)
        if name in ACCENTS:
            return self._indexed(f"{name} {self._argument_text()}")
        if name == "frac":
            return Term("quotient", (self._argument(), self._argument()))
        if name == "binom":
            return Term("binomial", (self._argument(), self._argument()))
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.take(r"\r" + name[1:])
            return Term(name[1:], (inner,))
        raise NotReadError

    def _argument(self) -> Term:
        """A group, or as TeX reads it one digit, letter or command."""
        token = self.next
        if token.kind in ("number", "letters") and len(token.text) > 1:
            self.tokens[self.place] = Token(token.kind, token.text[1:])
            digit = token.text[0]
            return number(int(digit)) if digit.isdigit() else variable(digit)
        return self.base()

    def _named(self, name: str) -> Term:
        if name in CONSTANTS:
            return Term("constant", name=CONSTANTS[name])
        function = FUNCTIONS[name]
        if function == "sqrt":
            return self._square_root()
        base = number(10)
        if function == "log" and self.next.text == "_":
            self.take()
            base = self._argument()
        exponent = self._exponent() if self.next.text == "^" else number(1)
        argument = self._function_argument()
        if exponent is None:
            raise NotReadError
        if function in PERIODIC and exponent == negative(number(1)):
            return Term(f"a{function}", (argument,))
        if function == "ln":
            value = Term("log", (argument, Term("constant", name="e")))
        elif function == "log":
            value = Term("log", (argument, base))
        else:
            value = Term(function, (argument,))
        return value if exponent == number(1) else Term("power", (value, exponent))

    def _square_root(self) -> Term:
        index = number(2)
        if self.next.text == "[":
            end = self.place + match_of(self.tokens[self.place :])
            index = term_of(self.tokens[self.place + 1 : end])
            self.place = end + 1
        if self.next.kind == "letters" and len(self.next.text) > 1:
            return Term("root", (self._argument(), index))
        return Term("root", (self.base(), index))

    def _function_argument(self) -> Term:
        """A bracket, or what is multiplied up to the next sign or function."""
        if self.next.text in ("(", "{", "["):
            return self.base()
        sign = self.take().text if self.next.text == "-" else ""
        term = self.power()
        while self._starts_base() and not self._starts_function():
            if self.next.text in ("(", "[", "|"):
                break
            term = times(term, self.power())
        return negative(term) if sign else term

    def _starts_function(self) -> bool:
        return self.next.text.removeprefix("\\") in FUNCTIONS
