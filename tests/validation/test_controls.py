"""Posteriors spoiled on purpose: that they are, that their densities follow, and that they are caught."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.training.simulation import Mocks
from clusterpost.validation import CONTROLS, control_table, controls, draw_ensemble, rank_statistics
from clusterpost.validation.controls import KINDS, own_truths

MEAN = torch.tensor([2.0, 4.0, 0.7])
COVARIANCE = torch.tensor([[0.04, 0.0, -0.028], [0.0, 0.09, 0.0], [-0.028, 0.0, 0.03]])
APART, WEAK = torch.tensor([1.6, 0.0, 0.0]), 0.3


class ToySimulator:
    """Observations only: what the truths are is left to `own_truths`."""

    def draw(self, n, generator):
        flux = MEAN + 0.3 * torch.randn(n, 3, generator=generator)
        error = torch.empty(n, 1).uniform_(0.5, 1.0, generator=generator)
        seen = torch.ones(n, 3, dtype=torch.bool)
        return Mocks(flux, error.expand(n, 3), seen, ~seen, {}, flux.clone())


class ToySampler:
    """Correlated normals; of half of the mocks two, three parts in ten of them farther up in age."""

    def draw(self, mocks, n_draws, generator):
        z = torch.randn(len(mocks.flux), n_draws, 3, generator=generator)
        second = torch.rand(len(z), n_draws, 1, generator=generator) < self.weight(mocks)[:, None, None]
        theta = mocks.flux[:, None] + mocks.error[:, None] * (z @ torch.linalg.cholesky(COVARIANCE).T) + second * APART
        return theta, self.log_prob(mocks, theta), self.log_prob(mocks, mocks.theta[:, None])[:, 0]

    def log_prob(self, mocks, theta):
        each = []
        for shift in (0.0, APART):
            at = (theta - mocks.flux[:, None] - shift) / mocks.error[:, None]
            each.append(torch.distributions.MultivariateNormal(torch.zeros(3), COVARIANCE).log_prob(at)
                        - torch.log(mocks.error).sum(-1, keepdim=True))
        weight = self.weight(mocks)[:, None]
        return torch.logaddexp(each[0] + torch.log1p(-weight), each[1] + torch.log(weight))

    @staticmethod
    def weight(mocks):
        return torch.where(mocks.flux[:, 0] > MEAN[0], WEAK, 1e-9)


def ensemble_of(n=300, n_draws=100, seed=1):
    return own_truths(draw_ensemble(ToySampler(), ToySimulator(), n, n_draws + 1, seed, progress=False))


def quantiles(ensemble):
    return np.quantile(ensemble.draws, [0.16, 0.5, 0.84], axis=1, method="nearest")


RNG = np.random.default_rng(5)


def test_shifted_widened_and_narrowed():
    ensemble = ensemble_of()
    low, middle, high = quantiles(ensemble)
    half = (high - low) / 2
    for name, factor, shift in (("shifted by 0.5", 1.0, 0.5), ("widened x 1.3", 1.3, 0.0),
                                ("narrowed / 1.3", 1 / 1.3, 0.0)):
        got = quantiles(CONTROLS[name](ensemble, RNG))
        np.testing.assert_allclose((got[1] - middle) / half, shift, atol=0.05)
        np.testing.assert_allclose((got[2] - got[0]) / (high - low), factor, rtol=1e-4)


def test_shifted_by_signal_to_noise():
    ensemble = ensemble_of()
    low, middle, high = quantiles(ensemble)
    moved = 2 * (quantiles(CONTROLS["shifted by S/N"](ensemble, RNG))[1] - middle) / (high - low)
    faint = ensemble.about["snr"] < np.median(ensemble.about["snr"])
    np.testing.assert_allclose(moved, np.where(faint, 0.5, -0.5)[:, None] * np.ones(3), atol=0.05)


@pytest.mark.parametrize("name", ["shifted by 0.5", "shifted by S/N", "widened x 1.3", "narrowed / 1.3"])
def test_density_moves_with_the_draws(name):
    ensemble = ensemble_of(50)
    spoiled = CONTROLS[name](ensemble, RNG)
    assert spoiled.has_density
    # A truth that lies where a spoiled draw does has the spoiled density of that draw.
    at = spoiled.draws[:, 7]
    log_q = ensemble.log_prob(at[:, None])[:, 0]
    same = CONTROLS[name](replace(ensemble, truth=at, log_q_truth=log_q), RNG)
    np.testing.assert_allclose(same.log_q_truth, spoiled.log_q[:, 7], atol=2e-3)


@pytest.mark.parametrize("name", ["widened x 1.3", "narrowed / 1.3", "one mode dropped"])
def test_density_stays_normalized(name):
    ensemble = ensemble_of(200, 400)
    spoiled = CONTROLS[name](ensemble, RNG)
    gain = np.mean(ensemble.log_q) - np.mean(spoiled.log_q)
    bimodal = ensemble.mocks.flux[:, 0].numpy() > 2
    dropped = bimodal.mean() * (WEAK * np.log(WEAK) + (1 - WEAK) * np.log(1 - WEAK))
    expected = {"widened x 1.3": 3 * np.log(1.3), "narrowed / 1.3": -3 * np.log(1.3), "one mode dropped": dropped}
    assert gain == pytest.approx(expected[name], abs=0.02)


def test_without_a_density_draws_are_spoiled_all_the_same():
    ensemble = replace(ensemble_of(20), sampler=None)
    spoiled = CONTROLS["widened x 1.3"](ensemble, RNG)
    assert not spoiled.has_density
    assert np.isnan(spoiled.log_q_truth).all()
    np.testing.assert_array_equal(spoiled.draws, CONTROLS["widened x 1.3"](ensemble_of(20), RNG).draws)


def test_correlation_destroyed():
    ensemble = ensemble_of(100)
    spoiled = CONTROLS["correlation destroyed"](ensemble, np.random.default_rng(2))
    np.testing.assert_array_equal(np.sort(spoiled.draws, axis=1), np.sort(ensemble.draws, axis=1))
    before, after = (np.mean([np.corrcoef(x[:, 0], x[:, 2])[0, 1] for x in e.draws]) for e in (ensemble, spoiled))
    assert before < -0.4
    assert abs(after) < 0.03
    assert not spoiled.has_density


def test_one_mode_dropped():
    ensemble = ensemble_of(400, 100)
    spoiled = CONTROLS["one mode dropped"](ensemble, RNG)
    assert spoiled.draws.shape == (400, 50, 3)
    bimodal = ensemble.mocks.flux[:, 0].numpy() > 2
    offset = spoiled.draws[..., 0] - ensemble.mocks.flux[:, :1].numpy()
    assert (offset[bimodal] < 0.8).all()
    np.testing.assert_array_equal(spoiled.draws[~bimodal], ensemble.draws[~bimodal, :50])
    assert len(np.unique(spoiled.draws[bimodal][0, :, 0])) == 50
    lost = np.isneginf(spoiled.log_q_truth)
    np.testing.assert_array_equal(lost, ensemble.truth[:, 0] - ensemble.mocks.flux[:, 0].numpy() > 0.8)
    assert 0.1 < lost.mean() < 0.2
    np.testing.assert_allclose(spoiled.log_q_truth[bimodal & ~lost] - ensemble.log_q_truth[bimodal & ~lost],
                               -np.log(1 - WEAK), atol=0.25)


@given(seed=st.integers(0, 99), scale=st.floats(0.01, 100), shift=st.floats(-10, 10),
       kind=st.sampled_from(["normal", "uniform", "exponential", "standard_t"]))
@settings(max_examples=40, deadline=None)
def test_one_group_is_not_taken_for_two(seed, scale, shift, kind):
    rng = np.random.default_rng(seed)
    values = getattr(rng, kind)(size=(20, 200), **({"df": 5} if kind == "standard_t" else {}))
    assert not controls._split(shift + scale * values)[2].any()
    two = values.copy() + (rng.random((20, 200)) < 0.3) * (12 * values.std() + np.ptp(values))
    split, share, bimodal = controls._split(shift + scale * two)
    assert bimodal.all()
    np.testing.assert_allclose(share, 0.3, atol=0.15)
    np.testing.assert_array_equal(share, ((shift + scale * two) > split[:, None]).mean(1))


def test_draws_all_alike_are_one_mode():
    assert not controls._split(np.zeros((3, 50)))[2].any()


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "_MOST_TRIALS", 3)
        return control_table(ToySampler(), ToySimulator(), sizes=(200, 1500), n_draws=40, seed=3, progress=False)


@pytest.mark.slow
def test_every_control_is_caught_by_two_kinds_and_none_by_none(table):
    rows = {row["control"]: row for row in table}
    assert list(rows) == ["none", *CONTROLS]
    assert rows["none"]["n_kinds"] == 0
    for name in CONTROLS:
        assert rows[name]["n_kinds"] >= 2, name


@pytest.mark.slow
def test_what_cannot_be_caught_is_not(table):
    rows = {row["control"]: row for row in table}
    # Marginals are as they were; density of the spoiled posterior is not known.
    assert {rows["correlation destroyed"][key] for key in ("T1", "T2", "T3", "p-p")} == {"not caught"}
    assert {rows["correlation destroyed"][key] for key in ("HPD", "entropy")} == {"n/a"}
    # Moves from one half to the other half of mocks leave the mean where it was.
    assert rows["shifted by S/N"]["regions"] == "200"


@pytest.mark.slow
def test_table_says_how_it_was_made(table, tmp_path):
    statistics = ["T1", "T2", "T3", "T4", "T5", "T6", "p-p"]
    assert table.colnames == ["control", *statistics, *(name for names in KINDS.values() for name in names), "n_kinds"]
    assert table.meta["trials"] == [3, 1]
    assert table.meta["bimodal"] == pytest.approx(0.5, abs=0.05)
    alarms = [share for of in table.meta["shares"]["none"].values() for share in of]
    assert np.mean(alarms) < 0.08
    table.write(tmp_path / "controls.ecsv")
    again = Table.read(tmp_path / "controls.ecsv")
    assert again.meta["sizes"] == [200, 1500]
    assert again.meta["shares"]["shifted by 0.5"]["T1"] == [1.0, 1.0]
    assert np.isnan(again.meta["shares"]["correlation destroyed"]["HPD"]).all()
    assert again["T1"].tolist() == table["T1"].tolist()
    assert all(len(of) == 2 for of in table.meta["shares"]["none"].values())


def test_classifier_raises_few_false_alarms_and_some_true_ones():
    ensemble = ensemble_of(12 * 300, 41)
    place = controls._place(ensemble.draws[:, 1:])
    moved = CONTROLS["shifted by 0.5"](ensemble, RNG)
    unspoiled, same, other = (controls._placed(draws, *place) for draws in (
        ensemble.draws[:, 0], ensemble.draws[:, 1], moved.draws[:, 1]))
    blocks = [slice(300 * k, 300 * (k + 1)) for k in range(12)]
    assert sum(controls._told_apart(same[rows], unspoiled[rows], 0.99, 0) for rows in blocks) <= 1
    assert all(controls._told_apart(other[rows], unspoiled[rows], 0.99, 0) for rows in blocks[:4])


def test_own_truths_do_not_depend_on_the_order_of_draws():
    ensemble = draw_ensemble(ToySampler(), ToySimulator(), 2000, 20, 1, progress=False)
    order = np.argsort(ensemble.draws[..., 0], axis=1)
    tidy = replace(ensemble, draws=np.take_along_axis(ensemble.draws, order[..., None], 1),
                   log_q=np.take_along_axis(ensemble.log_q, order, 1))
    exact = own_truths(tidy)
    assert exact.draws.shape == (2000, 19, 3)
    assert all(rank_statistics(exact).passes(0.999).values())
    np.testing.assert_allclose(exact.log_prob(exact.draws[:, 3:4])[:, 0], exact.log_q[:, 3], atol=1e-4)
