"""A correction of quantiles: learned, checked, saved and asked for."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

import clusterpost
from clusterpost import conf
from clusterpost.errors import InputError, ModelError
from clusterpost.flow.bundled import MODELS_PATH
from clusterpost.training.simulation import Simulator, seeded_generator
from clusterpost.validation import PosteriorSampler, SBCResult, corrected_levels, recalibrate, recalibration

pytestmark = pytest.mark.usefixtures("exact_by_default")

NARROW, SHIFT = 1.5, 0.3


class WrongSampler(PosteriorSampler):
    """Too narrow, and too high in reddening."""

    def __call__(self, mocks, n_draws, generator):
        draws = super().__call__(mocks, n_draws, generator)
        middle, width = draws.median(1, keepdim=True).values, draws.std(1, keepdim=True)
        return middle + (draws - middle) / NARROW + width * torch.tensor([0, 0, SHIFT])


def wrong(monkeypatch, **options):
    monkeypatch.setattr(recalibration, "PosteriorSampler", WrongSampler)
    return recalibrate("default", **{"n_mocks": 2500, "n_draws": 39, "refine": False, "progress": False, **options})


def test_it_mends_a_wrong_posterior(monkeypatch):
    correction = wrong(monkeypatch, n_check=1600)
    table = correction.summary(level=0.9999)
    assert not any(table["inside_band_before"])
    assert all(table["inside_band_after"])
    assert (table["max_difference_after"] < 0.6 * table["max_difference_before"]).all()
    np.testing.assert_allclose(table["inside_16_84_after"], 0.68, atol=0.06)
    assert max(table["inside_16_84_before"]) < 0.6
    assert correction.record["max_difference_before"] == table["max_difference_before"].tolist()
    assert table.meta == {"n_mocks": 2500, "n_check": 1600, "level": 0.9999, "beyond_expected": 0.05}
    assert min(table["beyond_draws"]) > 0.08

    # The face that an inference uses: quantiles of other draws, at the levels of the card.
    card = {"sha256": correction.record["sha256"], "recalibration": json.loads(json.dumps(correction.record))}
    levels = corrected_levels(card, (0.16, 0.84), refine=False)
    assert levels.shape == (3, 2)
    sampler = WrongSampler("default", refine=False)
    mocks = Simulator.of(sampler.model).draw(800, seeded_generator(77, 1))
    with torch.inference_mode():
        draws = sampler(mocks, 99, seeded_generator(77, 2)).double().numpy()
    for i, wanted in enumerate(levels):
        low, high = np.quantile(draws[..., i], wanted, axis=1, method="weibull")
        truth = mocks.theta[:, i].numpy()
        assert np.mean((truth > low) & (truth < high)) == pytest.approx(0.68, abs=0.06)
    # Too narrow: corrected levels lie farther out; too high in reddening: farther down.
    assert levels[0, 0] < 0.12
    assert levels[0, 1] > 0.88
    assert levels[2].mean() < levels[0].mean() - 0.05


def test_ranks_of_a_right_posterior_stay_uniform():
    rng = np.random.default_rng(3)
    learned, other = (SBCResult(rng.integers(0, 100, size=(n, 3)), ("a", "b", "c"), 99) for n in (50_000, 10_000))
    levels, shares = recalibration._shares_below(learned)
    after = recalibration._corrected_ranks(other, levels, shares, 0)
    assert all(after.passes(0.999).values())
    np.testing.assert_allclose(shares, np.tile(levels, (3, 1)), atol=0.01)


def test_a_known_map_is_found():
    # Posteriors N(0, 1/1.3) where N(0, 1) is right: the q-quantile lies at level Phi(1.3 z_q).
    u = norm.cdf(1.3 * np.random.default_rng(4).normal(size=(200_000, 1)))
    result = SBCResult(np.floor(200 * u).astype(int), ("a",), 199)
    levels, shares = recalibration._shares_below(result)
    q = np.array([0.025, 0.16, 0.5, 0.84, 0.975])
    card = {"sha256": "c0", "recalibration": {"levels": levels, "shares": shares, "sha256": "c0"}}
    np.testing.assert_allclose(corrected_levels(card, q)[0], norm.cdf(1.3 * norm.ppf(q)), atol=0.006)


@given(data=st.data(), n_draws=st.integers(7, 60), n_mocks=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_levels_stay_in_order_whatever_was_learned(data, n_draws, n_mocks):
    ranks = data.draw(st.lists(st.integers(0, n_draws), min_size=n_mocks, max_size=n_mocks))
    levels, shares = recalibration._shares_below(SBCResult(np.array(ranks)[:, None], ("a",), n_draws))
    record = {"levels": levels.tolist(), "shares": shares.tolist(), "sha256": "c0", "refine": True}
    got = corrected_levels({"sha256": "c0", "recalibration": record}, np.linspace(0, 1, 101))[0]
    assert (got[0], got[-1]) == (0, 1)
    assert (np.diff(got) >= 0).all()


@pytest.fixture
def own_model(tmp_path):
    for suffix in ("json", "safetensors"):
        shutil.copy(MODELS_PATH / f"{conf.default_model}.{suffix}", tmp_path / f"mine.{suffix}")
    return tmp_path / "mine"


def test_saved_in_the_card_beside_all_else(own_model, monkeypatch):
    correction = wrong(monkeypatch, n_mocks=200)
    before = json.loads(own_model.with_suffix(".json").read_text())
    correction.save(own_model)
    after = json.loads(own_model.with_suffix(".json").read_text())
    assert after.pop("recalibration") == correction.record
    assert after == {key: value for key, value in before.items() if key != "recalibration"}


def test_of_other_weights_it_is_neither_saved_nor_used(own_model, monkeypatch):
    correction = wrong(monkeypatch, n_mocks=50)
    correction.record["sha256"] = "another"
    text = own_model.with_suffix(".json").read_text()
    with pytest.raises(ModelError, match="for another model"):
        correction.save(own_model)
    assert own_model.with_suffix(".json").read_text() == text
    with pytest.raises(ModelError, match="for another model"):
        corrected_levels({"sha256": "this", "recalibration": correction.record}, [0.5])


def test_what_cannot_be_asked_for(monkeypatch):
    with pytest.raises(ModelError, match=r"has no recalibration.*recalibrate"):
        corrected_levels({"name": "m", "sha256": "a"}, [0.5])
    record = wrong(monkeypatch, n_mocks=50).record
    card = {"sha256": record["sha256"], "recalibration": record}
    with pytest.raises(ModelError, match="for the network alone, not for refined posteriors"):
        corrected_levels(card, [0.5], refine=True)
    with pytest.raises(InputError, match="between 0 and 1"):
        corrected_levels(card, [0.5, 1.2])
    with pytest.raises(InputError, match="between 0 and 1"):
        corrected_levels(card, [np.nan])
    with pytest.raises(InputError, match="at least 7 draws"):
        recalibrate("default", n_mocks=10, n_draws=5)


def test_the_seed_decides_and_checks_on_other_mocks(monkeypatch):
    one, same, other = (wrong(monkeypatch, n_mocks=60, n_check=60, seed=seed) for seed in (1, 1, 2))
    assert one.record == same.record
    np.testing.assert_array_equal(one.after.ranks, same.after.ranks)
    assert one.record["shares"] != other.record["shares"]
    learned = [round(61 * share - level) for share, level in zip(one.record["shares"][0], one.record["levels"],
                                                                 strict=True)]
    at = np.rint(np.multiply(one.record["levels"], 40)).astype(int)
    checked = [(one.before.ranks[:, 0] < k).sum() for k in at]
    assert learned != checked


def test_infer_table_takes_the_quantiles_where_the_card_says(tmp_path, clusters):
    for suffix in (".json", ".safetensors"):
        shutil.copy(MODELS_PATH / f"any_bands{suffix}", tmp_path)
    path = tmp_path / "any_bands.json"
    card = json.loads(path.read_text())
    shares = [[0, 0.3, 0.5, 0.7, 1], [0, 0.16, 0.5, 0.84, 1], [0, 0.1, 0.5, 0.9, 1]]
    record = {"parameters": ["log_age", "log_mass", "ebv"], "levels": [0, 0.16, 0.5, 0.84, 1], "shares": shares,
              "sha256": card["sha256"], "refine": True}
    path.write_text(json.dumps(card | {"recalibration": record}))
    options = {"model": path, "n_samples": 400, "n_modes": 1, "progress": False}
    out = clusterpost.infer_table(clusters, quantiles=(0.3, 0.5, 0.7), recalibrated=True, **options)
    raw = clusterpost.infer_table(clusters, quantiles=(0.16, 0.5, 0.84), **options)
    np.testing.assert_array_equal(out["age_q30"], raw["age_q16"])
    np.testing.assert_array_equal(out["age_q50"], raw["age_q50"])
    plain = clusterpost.infer_table(clusters, quantiles=(0.3,), **options)
    assert (plain["age_q30"] > out["age_q30"]).all()
    assert out.meta["CPRECAL"]
    assert "CPRECAL" not in raw.meta
    with pytest.raises(ModelError, match="has no recalibration"):
        clusterpost.infer_table(clusters, recalibrated=True)
