"""Comparison with exact posteriors, and that it would notice a fault."""

import json

import astropy.units as u
import numpy as np
import pytest
import torch

import clusterpost
from clusterpost.bands import ACS_BANDS, WFC3_BANDS
from clusterpost.errors import InputError
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.families.clusters.table import load_table
from clusterpost.flow.modelfile import save_model
from clusterpost.noise import get_noise
from clusterpost.posterior.target import Target
from clusterpost.prepare import prepare
from clusterpost.priors import cluster_prior
from clusterpost.validation import compare_with_exact, efficiency_by_bands
from clusterpost.validation.exactness import CASES, dense_draws, survey_mocks

pytestmark = pytest.mark.usefixtures("exact_by_default")

EIGHT = (*WFC3_BANDS, *ACS_BANDS)


def quantiles(theta, weight, levels=(0.16, 0.5, 0.84)):
    result = []
    for x in theta.double().numpy().T:
        order = np.argsort(x)
        result.append(np.interp(levels, np.cumsum(weight.numpy()[order]), x[order]))
    return np.array(result)


def test_dense_draws_agree_with_the_grid():
    tbl = survey_mocks(4, seed=3)
    grid = clusterpost.exact_posterior(tbl, error_floor=None)
    bands = EIGHT
    ready = prepare(tbl, bands, get_noise("lognormal"), slots=[[i] for i in range(8)], at_least=1, columns=None,
                    distance=None, error_floor=None)
    likelihood = ClusterLikelihood(load_table().select(bands), get_noise("lognormal"))
    theta, weight = dense_draws(Target(ready.observed, likelihood,
                                       cluster_prior()))
    for i in range(len(tbl)):
        expected = np.array([[np.log10(grid[f"{name}_q{q}"][i].value) for q in (16, 50, 84)]
                             for name in ("age", "mass")])
        half = (expected[:, 2:] - expected[:, :1]) / 2
        assert np.abs((quantiles(theta[i], weight[i])[:2] - expected) / half).max() < 0.05


def test_a_model_without_exact_posteriors_is_refused():
    with pytest.raises(InputError, match="posteriors of model galaxies have no exact form"):
        compare_with_exact(4, model="galaxies", progress=False)


def test_refined_posteriors_are_exact_and_moved_ones_are_not():
    table = compare_with_exact(12, cases=("prior",), n_classified=3, seed=2, progress=False)
    ours, control = (table[table["case"] == case] for case in ("prior", "control"))
    assert len(ours) == len(control) == 9
    assert max(ours["median"]) < 0.03
    assert max(ours["p95"]) < 0.12
    assert ours["classifier_accuracy"][0] < 0.6  # of three clusters only
    assert max(ours["jensen_shannon"]) < 0.02
    assert min(control["jensen_shannon"]) > 0.02
    assert min(control["median"]) > 0.4
    assert control["classifier_accuracy"][0] > 0.7


@pytest.mark.parametrize("case", CASES)
def test_cases_are_what_their_names_say(case):
    make, noise = CASES[case]
    tbl = make(20, 1)
    assert len(tbl) == 20
    assert noise == ("normal" if case == "normal noise" else "lognormal")
    assert (np.isnan(tbl["F275W"].value).any() or np.isnan(tbl["F336W"].value).any()) == ("missing" in case)
    assert ("F435W_ACS" in tbl.colnames) == (case == "ACS")
    assert (tbl["F275W_err"] < 0 * u.mJy).all() == (case == "upper limit")


def test_efficiency_by_bands():
    table = efficiency_by_bands(60, seed=2)
    assert list(table["n_bands"]) == [5, 4, 3, 2]
    assert ((table["p1"] <= table["p5"]) & (table["p5"] <= table["p50"]) & (table["p50"] <= 1)).all()
    assert min(table["p50"]) > 0.7


def test_survey_errors_do_not_tell_of_their_cluster():
    tbl = survey_mocks(2000, seed=5)
    relative = (tbl["F275W_err"] / tbl["F275W"]).value
    rank = torch.as_tensor(relative).argsort().argsort().double().numpy()
    age = np.log10(tbl["age_true"].value)
    assert abs(np.corrcoef(rank, age)[0, 1]) < 0.08


def test_references_are_of_the_models_own_stellar_models(tmp_path):
    """A copy of the default model that says to be of another metallicity: refined, it is exact all the same."""
    model = clusterpost.load_model("any_bands")
    card = json.loads(json.dumps(model.card))
    card["simulator"]["sed_sha256"] = load_table("z0.008").header["sed_sha256"]
    free = ("format", "name", "sha256", "certificate")
    save_model(tmp_path / "other", model.flow, {key: value for key, value in card.items() if key not in free})
    options = {"model": tmp_path / "other", "progress": False}
    table = compare_with_exact(8, cases=("prior",), n_classified=0, seed=2, **options)
    assert max(table["median"][table["case"] == "prior"]) < 0.06
    mocks = clusterpost.simulate(4, seed=4)
    # The two tables do differ.
    one, other = (clusterpost.infer_table(mocks, model=model, error_floor=None)["age_q50"]
                  for model in ("any_bands", tmp_path / "other"))
    assert np.abs(np.log10(one / other)).max() > 0.05
