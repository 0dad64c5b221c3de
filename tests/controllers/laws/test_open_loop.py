import pytest

from controllers.base import Sample
from controllers.laws.open_loop import OpenLoop


def test_it_does_not_look():
    law = OpenLoop(value=0.01)
    for y in (0.0, 0.3, 9.0):
        state, terms = law.step(law.init(), Sample(t=0, dt=1.0, y=y, r=0.5, u=0.7))
        assert (state, terms) == ((), {"value": 0.01})


def test_refusal():
    with pytest.raises(ValueError, match=r"^value must be finite, got nan$"):
        OpenLoop(value=float("nan"))
