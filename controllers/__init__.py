"""Feedback control of policy entropy, in plain floats: no torch, no files, no network.

A ``FeedbackLoop`` joins a sensor's name, a filter, a reference, a law and an actuator's name; a
``Bank`` is several of them.  The letters and the shape of every part are in ``controllers.base``.

    >>> from controllers import Auto, Constant, FeedbackLoop, IntegratingPlant, simulate
    >>> loop = FeedbackLoop(
    ...     sensor="entropy", reference=Constant(value_nats=0.5), law=Auto(),
    ...     actuator="bonus", low=-1.0, high=1.0, neutral=0.0,
    ... )
    >>> plant = IntegratingPlant(gain=0.02, drift=0.004, initial_nats=1.0)
    >>> round(simulate(loop, plant, num_iterations=1000)[-1].y, 3)
    0.5
"""

from controllers.bank import Bank
from controllers.base import Dither, Feedforward, Filter, Law, Reference, Sample, State, Terms, Trace
from controllers.laws import LAWS
from controllers.laws.auto import Auto
from controllers.laws.doubling import Doubling
from controllers.laws.dual_ascent import DualAscent
from controllers.laws.increment import Increment
from controllers.laws.log_ratio import LogRatio
from controllers.laws.open_loop import OpenLoop
from controllers.laws.pid import PID
from controllers.laws.relay import Relay
from controllers.laws.scheduled import ScheduledPID
from controllers.loop import FeedbackLoop, replay
from controllers.loop_state import restore
from controllers.parts.cascade import Cascade
from controllers.parts.covariance_feedforward import CovarianceFeedforward
from controllers.parts.coverage import Coverage
from controllers.parts.dither import DITHERS, PRBS, Multisine
from controllers.parts.feedforward import FEEDFORWARDS
from controllers.parts.filters import EMA, FILTERS, Hold, Median
from controllers.parts.moving_references import Piecewise, ScheduledBand
from controllers.parts.paced import Paced
from controllers.parts.references import (
    REFERENCES,
    Annealed,
    Band,
    Constant,
    Free,
    InitialAnchored,
    Schedule,
)
from controllers.plants.plant import Plant
from controllers.plants.simulated_plants import Changed, IntegratingPlant
from controllers.plants.simulation import Simulated, simulate, simulate_many
from controllers.quality.entropy_law import EntropyLaw, Extrapolation, fit_entropy_law, predict_rest
from controllers.quality.harris import harris_index
from controllers.quality.quality import Quality, assess, recovery_iterations

__all__ = [
    "DITHERS",
    "EMA",
    "FEEDFORWARDS",
    "FILTERS",
    "LAWS",
    "PID",
    "PRBS",
    "REFERENCES",
    "Annealed",
    "Auto",
    "Band",
    "Bank",
    "Cascade",
    "Changed",
    "Constant",
    "CovarianceFeedforward",
    "Coverage",
    "Dither",
    "Doubling",
    "DualAscent",
    "EntropyLaw",
    "Extrapolation",
    "FeedbackLoop",
    "Feedforward",
    "Filter",
    "Free",
    "Hold",
    "Increment",
    "InitialAnchored",
    "IntegratingPlant",
    "Law",
    "LogRatio",
    "Median",
    "Multisine",
    "OpenLoop",
    "Paced",
    "Piecewise",
    "Plant",
    "Quality",
    "Reference",
    "Relay",
    "Sample",
    "Schedule",
    "ScheduledBand",
    "ScheduledPID",
    "Simulated",
    "State",
    "Terms",
    "Trace",
    "assess",
    "fit_entropy_law",
    "harris_index",
    "predict_rest",
    "recovery_iterations",
    "replay",
    "restore",
    "simulate",
    "simulate_many",
]
