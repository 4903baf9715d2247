"""Calibration of parts of an ensemble, and of its entropy."""

import numpy as np
import pytest
from conjugate import ConjugateSampler, ConjugateSimulator

from clusterpost.validation import SBCResult, by_region, draw_ensemble, entropy_check, rank_statistics
from clusterpost.validation.sbc import MARGINALS


def toy(n_mocks=3000, n_draws=100, **defect):
    return draw_ensemble(ConjugateSampler(**defect), ConjugateSimulator(), n_mocks, n_draws, progress=False)


@pytest.fixture(scope="module")
def exact():
    return toy()


@pytest.mark.parametrize("by", ["age", "mass", "ebv", "snr"])
def test_exact_posteriors_are_calibrated_everywhere(exact, by):
    table = by_region(exact, by)
    assert len(table) == 12
    assert all(table["inside_band"])
    assert max(table["of_band"]) <= 1.0001
    assert sum(table["n"][table["statistic"] == "ebv"]) == len(exact)
    assert (table["low"] < table["high"]).all()
    assert table.meta["by"] == by


def test_regions_of_the_truth_are_no_regions(exact):
    """Even of exact posteriors, mocks chosen by their true age have ranks that are not uniform."""
    old = exact[exact.truth[:, 0] > np.quantile(exact.truth[:, 0], 0.75)]
    assert not rank_statistics(old, MARGINALS).passes()["log_age"]
    table = by_region(exact, "age")
    assert all(table["inside_band"][table["region"] == 4])


def test_a_fault_of_one_region_is_found_there():
    """Faults of either sign, that cancel in the whole."""
    ensemble = toy()
    snr = np.asarray(ensemble.about["snr"])
    low, high = np.quantile(snr, [0.25, 0.75])
    sign = np.where(snr < low, 1.0, np.where(snr >= high, -1.0, 0.0))
    width = ensemble.draws.std(1)
    faulty = ensemble.with_draws(ensemble.draws + (0.25 * sign[:, None] * width)[:, None])
    assert all(rank_statistics(faulty, MARGINALS).passes().values())
    table = by_region(faulty, "snr")
    caught = {region: not all(table["inside_band"][table["region"] == region]) for region in (1, 2, 3, 4)}
    assert caught == {1: True, 2: False, 3: False, 4: True}
    assert max(table["of_band"]) > 1


def test_each_number_of_bands_is_a_region():
    part = toy(60, 10)
    part.about["n_bands"] = np.arange(60) % 3 + 3
    table = by_region(part, "n_bands", statistics={"age": MARGINALS["log_age"]})
    assert table["low"].tolist() == table["high"].tolist() == [3, 4, 5]
    assert table["n"].tolist() == [20, 20, 20]
    part.about["n_bands"][:] = 5
    assert len(by_region(part, "n_bands")) == 3
    with pytest.raises(ValueError, match="by='colour'"):
        by_region(part, "colour")


def test_the_band_is_widened_for_many_looks():
    """Of exact posteriors, one per cent of all tables has a curve outside."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(20):
        ensemble = toy(200, 20)
        together = rng.permutation(np.concatenate([ensemble.draws, ensemble.truth[:, None]], 1), axis=1)
        ensemble.truth, ensemble.draws = together[:, 0], together[:, 1:]
        alarms += not all(by_region(ensemble, "snr", level=0.99)["inside_band"])
    assert alarms <= 3


@pytest.mark.parametrize(("defect", "sign"), [({"widen": 1.3}, -1), ({"widen": 1 / 1.3}, 1), ({"shift": 0.5}, 1)])
def test_entropy_of_wrong_posteriors(defect, sign):
    check = entropy_check(toy(**defect))
    assert sign * check["z"] > 5
    assert check["difference"] == pytest.approx(check["mean_nll"] - check["mean_entropy"])


def test_entropy_of_exact_posteriors(exact):
    check = entropy_check(exact)
    assert abs(check["z"]) < 3.5
    assert check["standard_error"] < 0.03
    # Of a normal distribution it is known.
    width = ConjugateSampler().posterior(exact.mocks)[1].numpy()
    assert check["mean_entropy"] == pytest.approx(
        (np.log(width) + 0.5 * np.log(2 * np.pi * np.e)).sum(1).mean(), abs=0.02)


def test_entropy_of_posteriors_that_exclude_the_truth(exact):
    log_q_truth = exact.log_q_truth.copy()
    log_q_truth[0] = -np.inf
    check = entropy_check(exact.with_draws(exact.draws, exact.log_q, log_q_truth))
    assert check["z"] == np.inf
    with pytest.raises(ValueError, match="not applicable"):
        entropy_check(exact.with_draws(exact.draws))


def test_summary_of_a_region_is_that_of_its_ranks():
    ensemble = toy(301, 10)
    table = by_region(ensemble, "snr", 2)
    snr = np.asarray(ensemble.about["snr"])
    lower = rank_statistics(ensemble[snr <= table["high"][0]], MARGINALS)
    assert isinstance(lower, SBCResult)
    np.testing.assert_allclose(table["max_difference"][:3], np.abs(lower.ecdf_difference()[1]).max(1))
