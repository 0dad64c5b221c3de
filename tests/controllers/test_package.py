import doctest
import subprocess
import sys
from dataclasses import fields

import pytest

import controllers
from controllers import (
    DITHERS,
    FEEDFORWARDS,
    FILTERS,
    LAWS,
    REFERENCES,
    Bank,
    Changed,
    FeedbackLoop,
    IntegratingPlant,
    Plant,
    Quality,
    Simulated,
)
from tests.controllers.documented_fields import documented

PARTS = [
    *FILTERS.values(),
    *REFERENCES.values(),
    *LAWS.values(),
    *FEEDFORWARDS.values(),
    *DITHERS.values(),
    FeedbackLoop,
    Bank,
    Plant,
    IntegratingPlant,
    Changed,
    Simulated,
    Quality,
]


def test_public_names_exist_and_are_documented():
    for name in controllers.__all__:
        public = getattr(controllers, name)
        if isinstance(public, type) or callable(public):
            assert public.__doc__, name


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_every_field_is_documented_below_itself(cls):
    """The schema of the configuration takes its texts from there."""
    assert documented(cls) == {field.name for field in fields(cls)}


def test_the_example_in_the_docstring_runs():
    result = doctest.testmod(controllers)
    assert result.attempted >= 4
    assert result.failed == 0


def test_importing_it_stays_light():
    """No analysis library and no tensor library comes with the control laws."""
    heavy = ("torch", "control", "scipy", "matplotlib")
    code = f"import sys, controllers; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
