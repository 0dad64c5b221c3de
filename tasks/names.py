"""Names that become those of metrics and folders: two names never become one, and each can be read back unchanged.

Trackers and file systems allow less than a data set may write (``a//c``, ``Counting & Probability``), and some treat
``Add`` and ``add``, or ``cafe`` and ``café``, as one name.  Characters that they refuse are escaped, reversibly;
names that they would merge are refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LONGEST_DOMAIN = 120
"""Characters of a domain, escaped: the names of its metrics are longer, and trackers stop at 250."""

# Outside letters, digits and "_.- /"; slashes that make an empty segment; segments that are "." or "..".
_NOT_TAKEN = re.compile(r"[^\w.\- /]|^/|/\Z|(?<=/)/|(?<![^/])\.{1,2}(?![^/])")
_ESCAPED = re.compile(r":([0-9a-f]+):")


def escaped(name: str) -> str:
    """The name as MLflow takes it: ``a@b`` is ``a:40:b``, and no other name is that."""
    return _NOT_TAKEN.sub(lambda match: "".join(f":{ord(character):x}:" for character in match[0]), name)


def unescaped(name: str) -> str:
    """The name that `escaped` has made this of."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)


def look_alikes(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that a database or a file system may take for one; None where there are none.

    Those that differ by no more than case, accents, width, or space at an end.
    """
    first: dict[str, str] = {}
    for name in dict.fromkeys(names):
        bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
        other = first.setdefault(bare.casefold().strip(), name)
        if other != name:
            return other, name
    return None
