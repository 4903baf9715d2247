"""Most results improbable: one question about unit and distance."""

import numpy as np
import pytest
from astropy.table import Table

import clusterpost
from clusterpost import flags
from clusterpost.errors import InputWarning
from clusterpost.families import get_family
from clusterpost.findings import warn_of_improbable

pytestmark = pytest.mark.usefixtures("exact_by_default")

PARAMETERS = get_family("clusters")().parameters


def results(flag=0, mass=1e4, n=12):
    return Table({"flag": np.full(n, flag), "mass_q50": np.full(n, mass), "age_q50": np.full(n, 1.0)})


@pytest.mark.parametrize("flag", [flags.POOR_FIT, flags.OUTSIDE_SUPPORT, flags.POOR_FIT | flags.OUTSIDE_SUPPORT])
def test_results_that_fit_badly(flag):
    out = results(flag)
    out["flag"][:5] = 0
    with pytest.warns(InputWarning, match=r"most of 12 rows fit badly.*distance \(distance=\)") as told:
        warn_of_improbable(out, PARAMETERS)
    assert "--distance" in told[0].message.at_the_shell()
    out["flag"][:6] = 0
    warn_of_improbable(out, PARAMETERS)


@pytest.mark.parametrize("mass", [9.9e7, 101.0])
def test_masses_at_the_edge_of_the_prior(mass):
    with pytest.warns(InputWarning, match="edge of the prior in mass"):
        warn_of_improbable(results(mass=mass), PARAMETERS)


def test_of_few_rows_and_of_ages_nothing_is_concluded():
    warn_of_improbable(results(flags.POOR_FIT, n=4), PARAMETERS)
    warn_of_improbable(results(flags.NOT_INFERRED | flags.POOR_FIT), PARAMETERS)
    warn_of_improbable(results(), PARAMETERS)


def test_a_distance_in_parsecs_is_asked_about():
    mocks = clusterpost.simulate(6, seed=3, distance=10)
    clusterpost.infer_table(mocks, n_samples=20, refine=False)  # a warning would be an error
    with pytest.warns(InputWarning) as told:
        clusterpost.infer_table(mocks, distance=9.9e6, n_samples=20, refine=False)
    assert any("where no cluster is resolved" in str(w.message) for w in told)
