"""Simulation-based calibration, on a problem whose posterior is known."""

import numpy as np
import pytest
import torch
from conjugate import ConjugateSampler, ConjugateSimulator
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from clusterpost.validation import STATISTICS, SBCResult, sbc_ranks
from clusterpost.validation.sbc import _adjusted_gamma


def ranks_of(n_mocks=3000, **defect):
    return sbc_ranks(ConjugateSampler(**defect), ConjugateSimulator(), n_mocks=n_mocks, progress=False)


def test_exact_posterior_passes():
    result = ranks_of()
    assert result.ranks.shape == (3000, 6)
    assert result.n_draws == 100
    assert all(result.passes().values()), result.passes()
    assert min(result.summary()["p_value"]) > 1e-3
    assert max(result.outside_share().values()) < 0.6


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_shifted_posterior_fails(shift):
    result = ranks_of(shift=shift)
    assert not any(result.passes().values())
    # Draws too high put truths low: the curve rises above zero, as in Fig. 3 of the paper.
    assert np.all(np.sign(result.ecdf_difference()[1][:, 50]) == np.sign(shift))


@pytest.mark.parametrize("widen", [1.3, 1 / 1.3])
def test_posterior_of_wrong_width_fails(widen):
    result = ranks_of(widen=widen)
    assert not any(result.passes().values())
    assert max(result.summary()["p_value"]) < 1e-3
    assert min(result.outside_share().values()) > 0.3


def test_chunks_do_not_change_ranks_and_bound_the_memory():
    wanted = sbc_ranks(ConjugateSampler(), ConjugateSimulator(), 300, 20, seed=3, progress=False)
    sampler = ConjugateSampler()
    got = sbc_ranks(sampler, ConjugateSimulator(), 300, 20, seed=3, chunk=170, progress=False)
    np.testing.assert_array_equal(got.ranks, wanted.ranks)
    assert sampler.largest == 160


def test_seed_decides():
    one, same, other = (sbc_ranks(ConjugateSampler(), ConjugateSimulator(), 50, 20, seed=s, progress=False)
                        for s in (1, 1, 2))
    np.testing.assert_array_equal(one.ranks, same.ranks)
    assert (one.ranks != other.ranks).any()


def test_ties_fall_either_way():
    class Stuck(ConjugateSampler):
        def __call__(self, mocks, n_draws, generator):
            return torch.zeros(len(mocks.flux), n_draws, 3)

    class AtBound(ConjugateSimulator):
        def draw(self, n, generator):
            mocks = super().draw(n, generator)
            mocks.theta = torch.zeros(n, 3)
            return mocks

    assert all(sbc_ranks(Stuck(), AtBound(), 2000, 20, progress=False).passes().values())


def test_statistics():
    theta = np.array([[1.0, 4.0, 0.5], [2.0, 3.0, 0.1]])
    got = np.stack([function(theta) for function in STATISTICS.values()], axis=-1)
    np.testing.assert_allclose(got, [[1, 4, 0.5, 4, 2, 0.5], [2, 3, 0.1, 6, 0.3, 0.2]])
    assert list(STATISTICS) == ["T1", "T2", "T3", "T4", "T5", "T6"]


@pytest.mark.parametrize(("n_mocks", "n_draws", "level"), [(30, 10, 0.9), (200, 20, 0.95), (500, 100, 0.99)])
def test_simultaneous_band_covers_as_promised(n_mocks, n_draws, level):
    rng = np.random.default_rng(7)
    uniform = rng.integers(0, n_draws + 1, size=(n_mocks, 2000))
    inside = np.mean(list(SBCResult(uniform, tuple(range(2000)), n_draws).passes(level).values()))
    # Binomial scatter of 2000 trials and of the band's own simulation; discreteness only widens the band.
    assert inside > level - 4 * np.sqrt(level * (1 - level) / 2000)
    assert inside < level + 4 * np.sqrt(level * (1 - level) / 2000) + (0.03 if n_mocks < 100 else 0.0)


def test_simultaneous_band_is_wider_than_pointwise_and_remembered():
    result = ranks_of(500)
    (low, high), (simultaneous_low, simultaneous_high) = result.pointwise_band(), result.simultaneous_band()
    assert (simultaneous_low <= low).all()
    assert (simultaneous_high >= high).all()
    assert np.all(simultaneous_high[1:-1] > 0)
    assert np.all(simultaneous_low[1:-1] < 0)
    hits = _adjusted_gamma.cache_info().hits
    result.simultaneous_band()
    assert _adjusted_gamma.cache_info().hits == hits + 1


def test_pointwise_band_is_binomial():
    result = ranks_of(500)
    lower, upper = result.pointwise_band()
    z = np.arange(102) / 101
    np.testing.assert_allclose((upper + z)[40] * 500, binom.ppf(0.99, 500, 40 / 101))
    np.testing.assert_allclose((lower + z)[40] * 500, binom.ppf(0.01, 500, 40 / 101))
    assert lower[0] == upper[0] == lower[-1] == upper[-1] == 0


@given(n_draws=st.integers(1, 40), bins=st.none() | st.integers(1, 60), n_mocks=st.integers(1, 50),
       seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_counts_are_conserved(n_draws, bins, n_mocks, seed):
    ranks = np.random.default_rng(seed).integers(0, n_draws + 1, size=(n_mocks, 2))
    result = SBCResult(ranks, ("a", "b"), n_draws)
    edges, counts, expected = result.histogram(bins)
    assert (counts.sum(1) == n_mocks).all()
    assert expected.sum() == pytest.approx(n_mocks)
    assert edges[0] == -0.5
    assert edges[-1] == n_draws + 0.5
    assert len(edges) == len(expected) + 1
    z, difference = result.ecdf_difference()
    np.testing.assert_allclose(difference[:, [0, -1]], 0, atol=1e-12)
    np.testing.assert_allclose(difference[0, 1], (ranks[:, 0] == 0).mean() - z[1])


@given(seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_mirrored_ranks_mirror_the_curve(seed):
    ranks = np.random.default_rng(seed).binomial(20, 0.4, size=(40, 1))
    curve = SBCResult(ranks, ("a",), 20).ecdf_difference()[1]
    mirrored = SBCResult(20 - ranks, ("a",), 20).ecdf_difference()[1]
    np.testing.assert_allclose(mirrored, -curve[:, ::-1], atol=1e-12)


def test_summary_columns():
    table = ranks_of(400).summary()
    assert table.colnames == ["statistic", "max_difference", "outside_pointwise", "inside_band", "p_value"]
    assert list(table["statistic"]) == list(STATISTICS)
    assert table["inside_band"].dtype == bool
    assert table.meta == {"n_mocks": 400, "n_draws": 100, "level": 0.99}


@pytest.mark.parametrize(("ranks", "names"), [([[21]], ("a",)), ([[-1]], ("a",)), ([[1, 2]], ("a",)), ([1, 2], ("a",)),
                                          (np.empty((0, 1), int), ("a",))])
def test_impossible_ranks_are_refused(ranks, names):
    with pytest.raises(ValueError, match="ranks"):
        SBCResult(ranks, names, 20)


def test_no_mocks_are_refused():
    with pytest.raises(ValueError, match="n_mocks"):
        sbc_ranks(ConjugateSampler(), ConjugateSimulator(), 0)
