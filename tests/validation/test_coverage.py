"""Expected coverage of posteriors that are known."""

import numpy as np
import pytest
from astropy.table import Table
from conjugate import MEAN, WIDTH, ConjugateSampler, ConjugateSimulator
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.priors import BoxPrior
from clusterpost.validation import Ensemble, coverage_ranks, draw_ensemble, expected_coverage, tarp_ranks

BOX = BoxPrior(MEAN - 4 * WIDTH, MEAN + 4 * WIDTH)
TESTS = {"HPD": coverage_ranks,
         "TARP, prior": lambda ensemble: tarp_ranks(ensemble, prior=BOX),
         "TARP, draws": lambda ensemble: tarp_ranks(ensemble, references="draws")}


def toy(n_mocks=3000, **defect):
    return draw_ensemble(ConjugateSampler(**defect), ConjugateSimulator(), n_mocks, 100, progress=False)


def random_ensemble(seed, n=6, k=5):
    rng = np.random.default_rng(seed)
    log_q = rng.normal(size=(n, k + 1))
    return Ensemble(rng.normal(size=(n, 3)), rng.normal(size=(n, k, 3)), log_q[:, 1:], log_q[:, 0],
                    Table({"snr": np.ones(n)}))


@pytest.fixture(scope="module")
def exact():
    return toy()


@pytest.mark.parametrize("name", TESTS)
def test_exact_posterior_passes(name, exact):
    result = TESTS[name](exact)
    assert result.names == (name[:4].strip(","),)
    assert all(result.passes().values())
    assert result.summary()["p_value"][0] > 1e-3


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize(("widen", "sign"), [(1.3, 1), (1 / 1.3, -1)])
def test_wrong_width_fails_on_its_side(name, widen, sign):
    result = TESTS[name](toy(widen=widen))
    assert not any(result.passes().values())
    credibility, coverage = expected_coverage(result)
    assert sign * (coverage[0] - credibility)[75:95].mean() > 0.02


@pytest.mark.parametrize("name", TESTS)
def test_bias_is_seen(name):
    """Also by TARP, of which an implementation once moved draws and truths but not the references."""
    assert not any(TESTS[name](toy(shift=0.75)).passes().values())


def test_bias_to_one_side_of_a_reference_is_seen_best(exact):
    biased = toy(shift=0.2)
    corner = np.broadcast_to(BOX.high.numpy(), biased.truth.shape)
    assert not any(tarp_ranks(biased, references=corner, prior=BOX).passes().values())
    assert all(tarp_ranks(exact, references=corner, prior=BOX).passes().values())


def test_credible_regions_hold_the_truth_as_often_as_they_say(exact):
    credibility, coverage = expected_coverage(coverage_ranks(exact))
    assert coverage[0, 0] == 0
    assert coverage[0, -1] == 1
    dense = (exact.log_q > exact.log_q_truth[:, None]).mean(1)  # credibility of the region that just holds the truth
    for level in (0.3, 0.68, 0.9):
        assert np.interp(level, credibility, coverage[0]) == pytest.approx((dense <= level).mean(), abs=0.02)


@given(seed=st.integers(0, 99), scale=st.floats(0.1, 10), move=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_units_do_not_matter(seed, scale, move):
    ensemble = random_ensemble(seed)
    other = Ensemble(scale * ensemble.truth + move, scale * ensemble.draws + move, ensemble.log_q - 3 * np.log(scale),
                     ensemble.log_q_truth - 3 * np.log(scale), ensemble.about)
    box, moved = BoxPrior([-5.0] * 3, [5.0] * 3), BoxPrior([-5 * scale + move] * 3, [5 * scale + move] * 3)
    np.testing.assert_array_equal(coverage_ranks(other).ranks, coverage_ranks(ensemble).ranks)
    for one, two in ((tarp_ranks(other, references="draws"), tarp_ranks(ensemble, references="draws")),
                     (tarp_ranks(other, prior=moved), tarp_ranks(ensemble, prior=box))):
        assert np.mean(one.ranks != two.ranks) < 0.2  # rounding of the bounds may turn two near equals around


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_order_of_draws_does_not_matter(seed):
    ensemble = random_ensemble(seed)
    order = np.random.default_rng(seed).permutation(ensemble.n_draws)
    other = ensemble.with_draws(ensemble.draws[:, order], ensemble.log_q[:, order], ensemble.log_q_truth)
    np.testing.assert_array_equal(coverage_ranks(other).ranks, coverage_ranks(ensemble).ranks)
    for references in ("prior", "draws"):
        np.testing.assert_array_equal(tarp_ranks(other, references=references).ranks,
                                      tarp_ranks(ensemble, references=references).ranks)


def test_truth_is_one_of_the_draws_for_tarp():
    """Whichever of the points is called the truth, the reference is the same: ranks go through all values."""
    points = np.random.default_rng(0).normal(size=(1, 7, 3))
    ranks = set()
    for i in range(7):
        ensemble = Ensemble(points[:, i], np.delete(points, i, axis=1), np.zeros((1, 6)), np.zeros(1),
                            Table({"snr": [1.0]}))
        ranks.add(int(tarp_ranks(ensemble, seed=4, references="draws").ranks[0, 0]))
    assert ranks == set(range(7))


def test_no_density_no_coverage(exact):
    with pytest.raises(ValueError, match="not applicable"):
        coverage_ranks(exact.with_draws(exact.draws))


@pytest.mark.parametrize("references", ["middle", np.zeros((3, 3))])
def test_other_references_are_refused(references):
    with pytest.raises(ValueError, match="references"):
        tarp_ranks(random_ensemble(0), references=references)
