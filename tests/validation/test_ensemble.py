"""Mocks with draws, and the density of the posteriors they are from."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable, Table
from conjugate import ConjugateSampler, ConjugateSimulator

import clusterpost
from clusterpost.posterior.refine import WeightedSamples
from clusterpost.training.simulation import Simulator, seeded_generator
from clusterpost.validation import Ensemble, PosteriorSampler, draw_ensemble, rank_statistics, samplers, sbc_ranks

pytestmark = pytest.mark.usefixtures("exact_by_default")


def toy(n_mocks=50, n_draws=20, **defect):
    return draw_ensemble(ConjugateSampler(**defect), ConjugateSimulator(), n_mocks, n_draws, progress=False)


@pytest.fixture(scope="module", params=[False, True], ids=["network", "refined"])
def sampler(request):
    return PosteriorSampler("any_bands", refine=request.param)


@pytest.fixture(scope="module")
def simulator(sampler):
    return Simulator.of(sampler.model)


def test_same_mocks_and_draws_as_calibration(sampler, simulator):
    ensemble = draw_ensemble(sampler, simulator, 30, 12, seed=5, progress=False)
    ranks = sbc_ranks(sampler, simulator, 30, 12, seed=5, progress=False).ranks
    np.testing.assert_array_equal(rank_statistics(ensemble, seed=5).ranks, ranks)


def test_the_chunk_changes_nothing(sampler, simulator):
    whole, parts = (draw_ensemble(sampler, simulator, 11, 12, seed=5, chunk=chunk, progress=False)
                    for chunk in (1000, 40))
    np.testing.assert_allclose(parts.draws, whole.draws, atol=1e-5)
    np.testing.assert_allclose(parts.log_q, whole.log_q, atol=0.01)
    np.testing.assert_array_equal(parts.truth, whole.truth)


def test_density_is_that_of_the_public_face(sampler, simulator):
    ensemble = draw_ensemble(sampler, simulator, 8, 10, seed=2, progress=False)
    mocks = ensemble.mocks
    tbl = QTable({"distance": mocks.covariates["distance"].numpy() * u.Mpc})
    for i, band in enumerate(simulator.bands):
        for name, values in ((band, mocks.flux), (f"{band}_err", mocks.error)):
            tbl[name] = torch.where(mocks.measured, values, torch.nan)[:, i].double().numpy() * u.mJy
    expected = clusterpost.log_prob(tbl, ensemble.truth, refine=sampler.refine, error_floor=None)
    # WeightedSamples, both evidences are estimates.
    np.testing.assert_allclose(ensemble.log_q_truth, expected, atol=0.2)
    assert np.ptp(expected) > 1
    np.testing.assert_array_equal(ensemble.about["n_bands"], mocks.measured.sum(1))
    pull = (mocks.flux / mocks.error)[0][mocks.measured[0]]
    assert ensemble.about["snr"][0] == pytest.approx(float(pull.median()))


def test_density_elsewhere(sampler, simulator):
    ensemble = draw_ensemble(sampler, simulator, 6, 10, seed=2, progress=False)
    again = ensemble.log_prob(ensemble.draws, chunk=30)
    assert np.median(np.abs(again - ensemble.log_q)) < 1e-3
    assert np.isneginf(ensemble.log_prob(ensemble.draws[:, :2] + [0, 0, 2])).all()


def test_a_call_and_draw_give_the_same(sampler, simulator):
    mocks = simulator.draw(4, seeded_generator(1, 2))
    with torch.inference_mode():
        assert torch.equal(sampler(mocks, 7, seeded_generator(3)), sampler.draw(mocks, 7, seeded_generator(3))[0])


def test_few_weighted_draws_do_not_show_in_the_ranks(monkeypatch):
    """With replacement, 100 of 128 even weights would have two fifths too many ranks 0 and 100."""
    generator, size = seeded_generator(3), 128

    def refine(proposal, target, *args, **kwargs):
        n = len(target)
        even = torch.full((n, size), 1 / size)
        return WeightedSamples(torch.randn(n, size, 3, generator=generator), even, even, *[torch.zeros(n)] * 4)

    class Normal(Simulator):
        def draw(self, n, generator):
            mocks = super().draw(n, generator)
            mocks.theta = torch.randn(n, 3, generator=generator)
            return mocks

    monkeypatch.setattr(samplers, "refine", refine)
    monkeypatch.setattr(samplers, "_WEIGHTED", size)
    sampler = PosteriorSampler("any_bands")
    ranks = sbc_ranks(sampler, Normal.from_dict(sampler.model.card["simulator"]), 4000, progress=False).ranks[:, :3]
    outer = np.isin(ranks, (0, 100)).mean()
    assert outer == pytest.approx(2 / 101, abs=4 * np.sqrt(2 / 101 / ranks.size))


def test_rows_can_be_chosen():
    ensemble = toy()
    part = ensemble[ensemble.about["snr"] > 2]
    chosen = np.asarray(ensemble.about["snr"] > 2)
    assert 0 < len(part) < len(ensemble)
    np.testing.assert_array_equal(part.draws, ensemble.draws[chosen])
    np.testing.assert_allclose(part.log_prob(part.draws), part.log_q, atol=1e-4)
    np.testing.assert_array_equal(part.mocks.flux, ensemble.mocks.flux[chosen])


def test_other_draws_forget_the_density():
    ensemble = toy()
    other = ensemble.with_draws(ensemble.draws + 1)
    assert ensemble.has_density
    assert not other.has_density
    with pytest.raises(ValueError, match="known at their draws only"):
        other.log_prob(other.draws)
    assert ensemble.with_draws(ensemble.draws, ensemble.log_q, ensemble.log_q_truth).has_density


@pytest.mark.parametrize(("name", "shape"), [("truth", (5, 2)), ("draws", (5, 4)), ("log_q", (5, 3)),
                                          ("log_q_truth", (5, 1))])
def test_wrong_shapes_are_refused(name, shape):
    values = {"truth": np.zeros((5, 3)), "draws": np.zeros((5, 4, 3)), "log_q": np.zeros((5, 4)),
              "log_q_truth": np.zeros(5), "about": Table({"snr": np.zeros(5)})}
    assert len(Ensemble(**values)) == 5
    with pytest.raises(ValueError, match=name):
        Ensemble(**{**values, name: np.zeros(shape)})
    with pytest.raises(ValueError, match="about"):
        Ensemble(**{**values, "about": Table({"snr": np.zeros(4)})})


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="n_draws"):
        toy(n_draws=0)
