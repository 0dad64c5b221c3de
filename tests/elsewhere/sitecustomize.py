"""Perturbs the policies that tests start from, in this process and in those it starts: see docs/testing.md.

Python imports a module of this name at its start, so what stands on ``PYTHONPATH`` here reaches worker
processes, ranks and clusters too.  Nothing happens unless ``ENTROSTAT_TEST_PERTURB`` is set.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import os
import sys

SIZE, SEED = "ENTROSTAT_TEST_PERTURB", "ENTROSTAT_TEST_PERTURB_SEED"
MODULE = "policies.model.tiny"


def asked_size():
    """How large the noise is to be; 0 where none is wanted."""
    return float(os.environ.get(SIZE) or 0)


def perturb(model):
    """Add noise of the size that is asked for to every weight, the same each time; gives the model."""
    if size := asked_size():
        import torch

        generator = torch.Generator().manual_seed(int(os.environ.get(SEED) or 0))
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=size)
    return model


def perturbed(tiny_model):
    """The maker of the built-in policy, whose supervised start and training then begin beside their place."""

    @functools.wraps(tiny_model)
    def make(*arguments, **named):
        return perturb(tiny_model(*arguments, **named))

    return make


class Finder(importlib.abc.MetaPathFinder):
    """Replaces the maker as soon as its module is there, before others import it by name."""

    def find_spec(self, name, path=None, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)  # or the search below would come here
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_replace(module):
            load(module)
            if not hasattr(module.tiny_model, "__wrapped__"):
                module.tiny_model = perturbed(module.tiny_model)

        spec.loader.exec_module = load_and_replace
        return spec


if asked_size():
    sys.meta_path.insert(0, Finder())
