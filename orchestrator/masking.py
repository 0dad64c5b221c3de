"""Shows, stores and compares credentials as ``***``: in URIs, in their queries, in messages of other programs.

Everything that leaves this process for a file, a tracker, a log or a terminal goes through `mask` or `masked`.  The
value itself stays in memory, and is read again from the user's file or environment when it is needed again.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any
from urllib.parse import unquote, unquote_plus

MASK = "***"
SHORTEST_KNOWN = 8
"""Characters from which on the value of a confidential variable of the environment is looked for in texts."""

_SCHEME = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]+):(?://|/)(?![/])"
_WHOLE_URI = re.compile(rf"{_SCHEME}(?P<rest>.*)\Z", re.DOTALL)
_URI = re.compile(rf"\b{_SCHEME}(?P<rest>[^\s'\"<>`]*)")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^:]*)(:(\d*|port)[.,;:)]*)?", re.IGNORECASE)
_SHORT_USER = re.compile(r"[A-Za-z_][\w.\-]{0,31}")
_DATABASES = ("postgres", "mysql", "mariadb", "mssql", "oracle", "redis", "mongodb", "cockroachdb")
"""Their URIs have a user who is no secret; elsewhere a token may stand in the user's place."""

_CONFIDENTIAL = (
    r"pass(?:word|wd|phrase|code)?|pwd|pw|secret|token|credentials?|signature|sig|sas|jwt|bearer|auth|authorization|"
    r"cookie|session|odbc_connect|key|(?:api|access|account|private|secret|shared|subscription)[_\-]?key(?:[_\-]?id)?"
)
_CONFIDENTIAL_NAME = re.compile(
    rf"(?:.*[_.\-])?(?:{_CONFIDENTIAL})|.*(?:password|passwd|secret|token|credentials?|signature|accesskey(?:id)?|apikey)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"(?P<before>[?&;#])(?P<name>[^\s=?&;#'\"<>]+)=(?P<value>[^\s&'\"<>]*)")
_WHOLE_PARAMETER = re.compile(r"(?P<before>[?&;#])(?P<name>[^=?&;#]+)=(?P<value>[^&]*)")
_HEADER = re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|token)\s+)?)[^\s'\",;]+")
_BEARER = re.compile(r"\b(Bearer\s+)[^\s'\",;]+")
_ASSIGNED = re.compile(
    r"(?i)\b([\w\-]*(?:password|passwd|pwd|secret|token|api_?key|account_?key|access_?key)(?:\s*=|['\"]\s*[=:])\s*)"
    r"(?![\s\[{(]|none\b|null\b|must\b|\d+\b)([^\s&;,'\"]+|'[^']*'|\"[^\"]*\")(?=[\s&;,'\"]|\Z)"
)
_CONFIDENTIAL_VARIABLE = re.compile(
    r"(?!PWD$)(?:.*_)?(?:PASSWORD|PASSWD|PASS|PWD|PASSPHRASE|TOKEN|SECRET|API_?KEY|ACCESS_KEY|SECRET_KEY|CREDENTIALS?)",
    re.I,
)


def mask(text: str) -> str:
    """A text without the credentials that are in it; one that begins as a URI is a URI as a whole."""
    if _WHOLE_URI.match(text) and not re.search(r"\s", text):
        return _known(_uri(_WHOLE_URI, _WHOLE_PARAMETER, text))
    text = _uri(_URI, _PARAMETER, text)
    text = _BEARER.sub(rf"\1{MASK}", _HEADER.sub(rf"\1{MASK}", text))
    return _known(_ASSIGNED.sub(_assignment, text))


def mask_uri(uri: str) -> str:
    """A URI without its credentials, whatever characters they are of."""
    return _known(_uri(_WHOLE_URI, _WHOLE_PARAMETER, uri))


def masked(content: Any) -> Any:
    """Settings as they are stored and compared: every text of a nested mapping, and every key, without its credentials."""
    if isinstance(content, str):
        return mask_uri(content) if _WHOLE_URI.match(content) else mask(content)
    if isinstance(content, dict):
        return {masked(key): masked(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [masked(value) for value in content]
    return content


def scrub(text: str, *confidential: str) -> str:
    """A text of another program about some URIs: `mask`, and no piece of their credentials as they may be quoted."""
    pieces = {piece for uri in confidential for piece in credentials(uri)}
    for piece in sorted(pieces, key=len, reverse=True):
        pattern = re.escape(piece) if len(piece) > 3 else rf"(?<!\w){re.escape(piece)}(?!\w)"
        text = re.sub(pattern, MASK, text)
    return mask(text)


def credentials(uri: str) -> set[str]:
    """The credentials of a URI, as they stand and decoded, and the pieces that a careless reader cuts them into."""
    found = set()
    match = _WHOLE_URI.match(uri)
    if match and (end := _end_of_user(match["scheme"], match["rest"])):
        user, colon, password = match["rest"][:end].rpartition("@")[0].partition(":")
        is_shown = colon and _is_shown(match["scheme"], user)
        found |= {password} if is_shown else {user, password, f"{user}{colon}{password}"}
    found |= {each["value"] for each in _WHOLE_PARAMETER.finditer(uri) if _is_confidential(each["name"])}
    found |= {decoded for value in found for decoded in (unquote(value), unquote_plus(value))}
    found |= set(chain.from_iterable(re.split(r"[/@:?#&]", value) for value in found))
    return {value for value in found if len(value) > 1 and value != MASK}


class MaskedStream:
    """An output stream in which no credential is written, whatever library writes to it.

    Args:
        stream: where the rest goes.
        confidential: URIs of which no piece may be written.
    """

    def __init__(self, stream: Any, confidential: Sequence[str] = ()) -> None:
        self._stream = stream
        self._confidential = confidential

    def write(self, text: str) -> int:
        """Write a text without its credentials."""
        self._stream.write(scrub(text, *self._confidential))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def mask_output(*confidential: str) -> None:
    """Let nothing that this process prints or logs from now on have credentials in it."""
    sys.stdout, sys.stderr = MaskedStream(sys.stdout, confidential), MaskedStream(sys.stderr, confidential)


def hides(stored: Any) -> bool:
    """Whether a stored setting is without credentials that it had."""
    return isinstance(stored, str) and MASK in stored


def leaves(content: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value of a nested mapping with the keys that lead to it."""
    if isinstance(content, dict):
        items: Any = content.items()
    elif isinstance(content, list | tuple):
        items = enumerate(content)
    else:
        yield path, content
        return
    for key, value in items:
        yield from leaves(value, (*path, key))


def _uri(pattern: re.Pattern[str], parameter: re.Pattern[str], text: str) -> str:
    return parameter.sub(_parameter, pattern.sub(_authority, text))


def _authority(match: re.Match[str]) -> str:
    scheme, rest = match["scheme"], match["rest"]
    end = _end_of_user(scheme, rest)
    if end == 0:
        return match[0]
    head = match[0][: match.start("rest") - match.start()]
    user, colon, password = rest[:end].rpartition("@")[0].partition(":")
    if colon and password and _is_shown(scheme, user):
        return f"{head}{user}:{MASK}@{rest[end:]}"
    return f"{head}{MASK}@{rest[end:]}"


def _end_of_user(scheme: str, rest: str) -> int:
    """The start of the host after a user and a password, which may hold unescaped characters; 0: no user.

    In doubt more counts as the password: a path with an "@" is hidden rather than a password with a "/" shown.
    """
    first = re.split(r"[/?#]", rest, maxsplit=1)[0]
    before_query = rest.partition("?")[0]
    has_user = "@" in first
    has_colon = not _HOST.fullmatch(first) or (":" in first and "@" in before_query)
    is_web = scheme.lower().partition("+")[0] in ("http", "https")
    if has_user and _is_shown(scheme, first.partition("@")[0]) and ":" not in first.partition("@")[0]:
        return 0  # a database's user without a password
    if has_user or has_colon:
        return rest.rfind("@") + 1 or len(rest)
    return before_query.rfind("@") + 1 if is_web else 0


def _is_shown(scheme: str, user: str) -> bool:
    return scheme.lower().startswith(_DATABASES) and bool(_SHORT_USER.fullmatch(user))


def _is_confidential(name: str) -> bool:
    return bool(_CONFIDENTIAL_NAME.fullmatch(unquote(name)))


def _parameter(match: re.Match[str]) -> str:
    if not match["value"] or not _is_confidential(match["name"]):
        return match[0]
    return f"{match['before']}{match['name']}={MASK}"


def _assignment(match: re.Match[str]) -> str:
    return match[0] if match[2].strip("'\"").startswith(MASK) else f"{match[1]}{MASK}"


def _known(text: str) -> str:
    """Without the values of this process's confidential variables, such as ``HF_TOKEN``."""
    for name, value in os.environ.items():
        # PWD alone is the shell's working directory.
        if len(value) >= SHORTEST_KNOWN and value in text and _CONFIDENTIAL_VARIABLE.fullmatch(name):
            text = text.replace(value, MASK)
    return text
