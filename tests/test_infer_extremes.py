"""No number in a row stops the table: it gets a flag, and the rows beside it their answer."""

import numpy as np
import pytest
import torch
from infer_tables import value

import clusterpost
from clusterpost import decode_flags, exact_posterior, flags, infer_table
from clusterpost.posterior import mcmc
from clusterpost.posterior.covariance import cholesky
from clusterpost.posterior.kernels import KernelDensity
from clusterpost.posterior.modes import find_modes

pytestmark = [pytest.mark.usefixtures("exact_by_default"),
              pytest.mark.filterwarnings("ignore:taken as missing", "ignore:most of 3. rows fit badly")]
TYPES = (np.float16, np.float32, np.float64)
EXTREMES = [float(getattr(np.finfo(kind), name)) for kind in TYPES
            for name in ("max", "tiny", "smallest_subnormal", "eps")] + [np.inf, 1e10, 1e20, 1e-20, 1e100]
#: Entries that are no number without anything being wrong, where a network alone gives the answer.
BY_REFINEMENT = {"efficiency", "log_evidence"}
NUMBERS = ("age_q16", "mass_q50", "ebv_q84", "age_map", "mass_mean", "entropy", "chi2_map", "support",
           "efficiency", "log_evidence")


def extremes(column):
    """One good row, and rows that have an extreme in one column."""
    signs = (1, -1) if column == "F336W" else (1,)
    values = [sign * x for sign in signs for x in EXTREMES]
    tbl = clusterpost.simulate(1, seed=1)[np.zeros(len(values) + 1, int)]
    if column == "limit":
        tbl["F814W_limit"] = np.arange(len(tbl)) > 0
        column = "F814W"
    tbl[column][1:] = values * tbl[column].unit
    return tbl


def assert_all_accounted_for(out, refine):
    flag = np.asarray(out["flag"])
    assert flag[0] == 0
    for name in NUMBERS if refine else set(NUMBERS) - BY_REFINEMENT:
        missing = np.isnan(value(out[name]))
        assert not missing[0]
        assert (flag[missing] != 0).all(), name
    inferred = flag & flags.NOT_INFERRED == 0
    assert np.isfinite(value(out["mass_q50"])[inferred]).all()


@pytest.mark.parametrize("noise", ["lognormal", "normal", "walter2025"])
@pytest.mark.parametrize("column", ["F336W", "F814W_err", "distance", "limit"])
def test_extremes_without_refinement(column, noise):
    tbl = extremes(column)
    out = infer_table(tbl, noise=noise, refine=False, n_samples=100, error_floor=None)
    assert_all_accounted_for(out, refine=False)
    alone = infer_table(tbl[:1], noise=noise, refine=False, n_samples=100, error_floor=None)
    for name in NUMBERS:
        np.testing.assert_allclose(value(out[name])[0], value(alone[name])[0], rtol=1e-4, equal_nan=True)


@pytest.mark.parametrize("noise", ["lognormal", pytest.param("normal", marks=pytest.mark.slow), "walter2025"])
@pytest.mark.parametrize("column", ["F336W", "F814W_err", "distance", "limit"])
def test_extremes_with_refinement(column, noise, monkeypatch):
    for name, steps in (("_MOST_STEPS", 10), ("_N_STEPS", 10), ("_N_BURN", 5)):
        monkeypatch.setattr(mcmc, name, steps)
    out = infer_table(extremes(column), noise=noise, n_samples=100)
    assert_all_accounted_for(out, refine=True)


@pytest.mark.parametrize("column", ["F336W", "F814W_err", "distance"])
def test_extremes_on_the_exact_grid(column):
    assert_all_accounted_for(exact_posterior(extremes(column)), refine=True)


def test_what_is_said_of_a_fill_value():
    tbl = clusterpost.simulate(3, seed=1)
    tbl["F814W_err"][1] = 1e18 * tbl["F814W_err"].unit  # 1e20 is a sentinel
    tbl["distance"][2] = 1e100 * tbl["distance"].unit
    out = infer_table(tbl, n_samples=100)
    assert out["n_bands"].tolist() == [5, 4, 5]
    assert [set(names) & {"number outside range", "not inferred"} for names in decode_flags(out["flag"])] == [
        set(), {"number outside range"}, {"number outside range", "not inferred"}]


def test_a_covariance_without_a_root_does_not_stop_the_others():
    matrix = torch.tensor([[[4.0, 2.0], [2.0, 2.0]], [[torch.nan, 0.0], [0.0, 1.0]], [[1.0, 3.0], [3.0, 4.0]]])
    root = cholesky(matrix)
    torch.testing.assert_close(root[0] @ root[0].mT, matrix[0])
    torch.testing.assert_close(root[1:], torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]]))


def test_draws_that_are_no_numbers_do_not_stop_the_others():
    draws = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(0))
    alone = find_modes(draws[:1])
    draws[1] = torch.nan
    found = find_modes(draws)
    torch.testing.assert_close(found.theta[0], alone.theta[0], equal_nan=True)
    kernels = KernelDensity(draws, torch.zeros(2, 300), torch.zeros(3), torch.ones(3))
    assert torch.isfinite(kernels.log_prob(draws)[0]).all()
