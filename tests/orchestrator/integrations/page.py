"""The programs of docs/integrations.md, and a loop for them whose command is computed by hand."""

from __future__ import annotations

import re
from pathlib import Path

from controllers import PID, Constant, FeedbackLoop

PAGE = (Path(__file__).parents[3] / "docs" / "integrations.md").read_text()


def block(language: str, with_text: str) -> str:
    """The one block of the page that has the text."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    (only,) = [text for text in found if with_text in text]
    return only


def loop_of(actuator: str) -> FeedbackLoop:
    """u = 0.5 · (1 − y)."""
    return FeedbackLoop(
        sensor="entropy", reference=Constant(value_nats=1.0), law=PID(kp=0.5, ki=0.0), actuator=actuator,
        low=-1.0, high=1.0, neutral=0.0,
    )  # fmt: skip
