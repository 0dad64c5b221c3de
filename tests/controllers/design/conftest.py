import pytest

from controllers.plants.plant import Plant


@pytest.fixture
def make():
    """A plant from what matters in a test; an integrator with push 0.1 unless said otherwise."""

    def make(**given):
        usual = {"coordinates": "log", "a": (1.0,), "b": (0.1,), "delay": 1, "drift": -0.02}
        return Plant(**(usual | {"noise_std": 0.05, "level_nats": 0.5} | given))

    return make


@pytest.fixture
def plants(make):
    """One of each kind, by name."""
    return {
        "integrator": make(),
        "late": make(delay=4),
        "lag": make(a=(0.9,), b=(0.1, 0.05), delay=2),
        "memoryless": make(a=(), b=(0.5,), delay=2),
        "high order": make(a=(0.6, 0.2, 0.1, 0.05), b=(0.1, 0.02)),
        "absolute": make(coordinates="absolute", b=(0.02,), drift=-0.004),
        "relative": make(coordinates="relative", a=(0.95,), b=(0.05,)),
    }
