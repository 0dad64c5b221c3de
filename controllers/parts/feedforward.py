"""Every feedforward by its kind."""

from __future__ import annotations

from controllers.base import Feedforward
from controllers.parts.covariance_feedforward import CovarianceFeedforward  # noqa: F401 - registers it
from controllers.parts.paced import Paced  # noqa: F401 - registers it

FEEDFORWARDS: dict[str, type[Feedforward]] = {part.kind: part for part in Feedforward.__subclasses__()}
