"""Distances whose errors the table tells, row by row."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from infer_tables import coordinate, half_width

import clusterpost
from clusterpost import exact_posterior, infer_table, log_prob, sample_posterior
from clusterpost.errors import InputError, InputWarning
from clusterpost.priors import PowerLaw, ProductPrior, cluster_prior

pytestmark = pytest.mark.usefixtures("exact_by_default")

OPTIONS = {"n_samples": 500, "progress": False}


@pytest.fixture(scope="module")
def mocks():
    """Clusters whose mass is well known at a known distance."""
    truths = QTable({"age": [30, 300, 1000] * u.Myr, "mass": [1e5] * 3 * u.Msun, "ebv": [0.2, 0.1, 0.3] * u.mag})
    return clusterpost.simulate(truths, seed=3, errors=0.1, distance=10)


def with_errors(mocks, relative):
    tbl = mocks.copy()
    tbl["distance_err"] = np.asarray(relative) * tbl["distance"]
    return tbl


def away(one, other):
    """Largest difference of quantiles in half-widths."""
    def differences(name, q):
        return np.abs(coordinate(one, f"{name}_{q}") - coordinate(other, f"{name}_{q}")) / half_width(other, name)

    return max(differences(name, q).max() for name in ("age", "mass", "ebv") for q in ("q16", "q50", "q84"))


@pytest.mark.parametrize(("call", "options"), [
    (infer_table, {**OPTIONS, "noise": "lognormal"}), (infer_table, {**OPTIONS, "noise": "normal"}),
    (exact_posterior, {"progress": False}),
])
def test_the_same_error_for_all_is_that_of_a_prior(mocks, call, options):
    known, by_prior = call(mocks, **options), call(mocks, prior=cluster_prior(distance_error=0.3), **options)
    by_column = call(with_errors(mocks, 0.3), **options)
    assert away(by_column, by_prior) < 0.02
    assert away(by_column, known) > 0.2  # and that is not little
    np.testing.assert_allclose(by_column["log_evidence"], by_prior["log_evidence"], atol=0.02)


@pytest.mark.parametrize("call", [infer_table, exact_posterior])
def test_every_row_has_its_own(mocks, call):
    options = OPTIONS if call is infer_table else {"progress": False}
    out = call(with_errors(mocks, [0.3, np.nan, 0.1]), **options)
    for row, error in enumerate((0.3, 0.0, 0.1)):
        alone = call(mocks[row:row + 1], prior=cluster_prior(distance_error=error), **options)
        assert away(out[row:row + 1], alone) < 0.1
    of_prior = call(with_errors(mocks, [np.nan] * 3), prior=cluster_prior(distance_error=0.3), **options)
    assert half_width(of_prior, "mass")[1] > 1.5 * half_width(out, "mass")[1]


def test_draws_and_densities_know_it_too(mocks):
    tbl, prior = with_errors(mocks, 0.3), ProductPrior(log_mass=PowerLaw(-2))
    draws = sample_posterior(tbl, n_samples=2000, prior=prior, progress=False)
    by_prior = sample_posterior(mocks, n_samples=2000, progress=False,
                                prior=ProductPrior(log_mass=PowerLaw(-2), distance_error=0.3))
    spread = [np.log10(each["mass"].value).std(axis=1) for each in (draws, by_prior)]
    np.testing.assert_allclose(*spread, rtol=0.1)
    theta = np.array([[1.5, 5.0, 0.2]] * 3)
    np.testing.assert_allclose(log_prob(tbl, theta), log_prob(mocks, theta, prior=cluster_prior(distance_error=0.3)),
                               atol=0.05)


def test_what_is_drawn_from_results_repeats_it(mocks):
    out = infer_table(with_errors(mocks, 0.3), **OPTIONS)
    draws = sample_posterior(out, n_samples=2000, progress=False)
    np.testing.assert_allclose(np.median(np.log10(draws["mass"].value), axis=1), coordinate(out, "mass_q50"), atol=0.03)
    given = infer_table(with_errors(mocks, 0.3), distance=10, **OPTIONS)  # another distance than the column's
    assert away(given, infer_table(mocks, **OPTIONS)) < 0.02


@pytest.mark.parametrize("error", [-1.0, 11.0])
def test_errors_that_are_none(mocks, error):
    tbl = with_errors(mocks, 0.3)
    tbl["distance_err"][1] = error * u.Mpc
    with pytest.warns(InputWarning, match=f"an error of {error:g} Mpc for a distance of 10 in row 1; it must be"):
        out = infer_table(tbl, **OPTIONS)
    assert away(out[1:2], infer_table(mocks[1:2], **OPTIONS)) < 0.1
    tbl["distance_err"] = error * u.Mpc
    with pytest.raises(InputError, match="it must be from 0 to below"):
        infer_table(tbl, **OPTIONS)
