"""Identification: the entropy plant from the recordings of runs.

>>> import numpy as np
>>> from controllers.identification import Recording, identify
>>> rng = np.random.default_rng(0)
>>> u = np.repeat(rng.choice([-0.2, 0.2], size=100), 3)
>>> z = [0.0]
>>> for t in range(299):
...     z.append(0.95 * z[-1] + 0.1 * u[t] + 0.01 * rng.normal())
>>> found = identify([Recording(name="run", y=np.exp(z), u=u, dither=u)])
>>> found.order.na, round(found.plant.a[0], 1), round(found.plant.b[0], 1)
(1, 0.9, 0.1)
"""

from controllers.identification.arx import Fit, Order, fit_arx
from controllers.identification.errors import IdentificationError
from controllers.identification.identify import Identification, identify
from controllers.identification.instrumental_variables import InstrumentCheck, instrument_check
from controllers.identification.recordings import Recording
from controllers.identification.selection import Candidate, chosen_order, order_candidates
from controllers.identification.validation import fit_share, free_run, input_test, ljung_box, prediction

__all__ = [
    "Candidate",
    "Fit",
    "Identification",
    "IdentificationError",
    "InstrumentCheck",
    "Order",
    "Recording",
    "chosen_order",
    "fit_arx",
    "fit_share",
    "free_run",
    "identify",
    "input_test",
    "instrument_check",
    "ljung_box",
    "order_candidates",
    "prediction",
]
