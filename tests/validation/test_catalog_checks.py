"""The checks that need no truth, on a table of mocks."""

import numpy as np
import pytest

import clusterpost
from clusterpost.validation import check_catalog

pytestmark = pytest.mark.usefixtures("exact_by_default")


@pytest.fixture(scope="module")
def catalog():
    tbl = clusterpost.simulate(12, seed=3, errors=0.1)
    tbl["class_mode"] = np.arange(12) % 4
    return tbl


def test_classes_one_and_two_are_the_clusters(catalog):
    checks = check_catalog(catalog, n_draws=20)
    assert checks.counts["rows"] == checks.counts["inferred"] == 12
    assert checks.counts["clusters"] == checks.counts["five_bands"] == 6
    assert len(checks.predictive) == 6 * 5  # of each band


def test_a_few_of_them_only(catalog):
    checks = check_catalog(catalog, n_clusters=3, n_draws=20)
    assert checks.counts["rows"] == checks.counts["clusters"] == 3
    assert set(checks.out["class_mode"]) <= {1, 2}
    everything = check_catalog(catalog, n_clusters=100, n_draws=20)
    assert everything.counts["rows"] == 6
