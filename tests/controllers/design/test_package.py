import doctest
import subprocess
import sys
from dataclasses import fields

import pytest

import controllers.design as package
from tests.controllers.documented_fields import documented

CLASSES = [
    package.Authority,
    package.Design,
    package.FirstOrder,
    package.Margins,
    package.Promise,
    package.Robustness,
    package.StabilityMap,
    *package.SPECIFICATIONS.values(),
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_field_is_documented_below_itself(cls):
    assert documented(cls) >= {field.name for field in fields(cls)}


def test_the_example_in_the_docstring_runs():
    result = doctest.testmod(package)
    assert result.attempted >= 4
    assert result.failed == 0


def test_importing_it_leaves_the_heavy_ones_out():
    code = (
        "import sys, controllers.design; "
        "print([n for n in ('torch', 'control', 'scipy', 'matplotlib') if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
