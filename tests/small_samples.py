"""Trainings whose standardization, test and range of conditions come from few mocks."""

from contextlib import contextmanager

import pytest


@contextmanager
def small_samples():
    """Standardize, test and find the range of conditions with thousands of mocks, in place of a million."""
    from clusterpost.training import recipes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clusterpost.training.recipes._N_TEST", 1000)
        patch.setattr("clusterpost.training.fit._N_STANDARDIZE", 3000)
        patch.setattr(recipes.condition_range, "__defaults__", (20_000, 1e-5))
        yield
