"""A network of clusters drawn star by star, from mocks to posteriors in a table."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from small_samples import small_samples
from tiny_stochastic import FIVE, TINY

import clusterpost
from clusterpost.errors import InputError
from clusterpost.families.stochastic.priors import TrainingPrior
from clusterpost.flags import MISSING_BAND, NOT_INFERRED, UPPER_LIMIT
from clusterpost.flow.modelfile import load_model
from clusterpost.flow.network import build_flow
from clusterpost.training import fit as training
from clusterpost.training.recipes import RECIPES, stochastic, train_model
from clusterpost.training.simulation import Simulator, seeded_generator
from clusterpost.training.surveys import SURVEYS, survey_bands

PARAMETERS = ("age", "mass", "ebv", "metallicity", "rv", "nebular_covering")


@pytest.fixture
def model(tiny_stochastic):
    return tiny_stochastic


@pytest.fixture
def mocks(model):
    return clusterpost.simulate(4, model=model, bands=FIVE, errors=0.05, seed=3)


@pytest.mark.filterwarnings("ignore:model stochastic has no certificate")
class TestModel:
    def test_learns_from_the_photometry(self, model):
        card = load_model(model).card
        nll = [entry["validation_nll"] for entry in card["training"]["history"]]
        prior = TrainingPrior()
        unseen = -prior.log_prob(prior.sample(4000, seeded_generator(1))).mean().item()
        assert min(nll) < nll[0]
        assert card["training"]["test_nll"] < unseen - 0.5

    def test_card_brings_the_simulator_back(self, model):
        recipe, loaded = stochastic(**TINY), load_model(model)
        assert loaded.card["simulator"] == json.loads(json.dumps(recipe.simulator.to_dict()))
        one, two = (each.draw(200, seeded_generator(1)) for each in (recipe.simulator, Simulator.of(loaded)))
        assert torch.equal(one.flux, two.flux)
        assert torch.equal(one.limit, two.limit)
        assert loaded.takes_sets
        assert loaded.min_bands == 2

    def test_posteriors_of_a_table(self, model, mocks):
        out = clusterpost.infer_table(mocks, model=model, n_samples=100)
        for column in (*PARAMETERS, "stellar_mass", "M_V", "ionizing_rate"):
            low, middle, high = (np.asarray(out[f"{column}_q{level}"]) for level in (16, 50, 84))
            assert np.isfinite(middle).all()
            assert ((low <= middle) & (middle <= high)).all()
        # A table without the model's sixth band lacks nothing.
        assert not (out["flag"] & (MISSING_BAND | NOT_INFERRED)).any()

    def test_floor_is_that_of_the_family(self, model, mocks):
        given = {"open": {}, "auto": {"error_floor": "auto"}, "own": {"error_floor": 0.05},
                 "none": {"error_floor": None}}
        floor = {name: clusterpost.infer_table(mocks, model=model, n_samples=20, **options).meta["CPFLOOR"]
                 for name, options in given.items()}
        assert floor == {"open": 0.12, "auto": 0.12, "own": 0.05, "none": 0.0}

    @pytest.mark.parametrize("name", ["survey", "flat"])
    def test_prior_by_its_name(self, model, mocks, name):
        default, trained, out = (clusterpost.infer_table(mocks, model=model, n_samples=100, prior=prior)
                                 for prior in (None, "training", name))
        assert [tbl.meta["CPPRIOR"] for tbl in (default, trained, out)] == ["survey", "training", name]
        assert not np.allclose(out["metallicity_q50"], trained["metallicity_q50"], rtol=1e-3)
        # What is drawn from the results repeats it, and another prior is noticed.
        assert clusterpost.sample_posterior(out, n_samples=20).meta["CPPRIOR"] == name
        clusterpost.sample_posterior(out, n_samples=20, prior=name)
        with pytest.warns(clusterpost.errors.InputWarning, match="prior"):
            clusterpost.sample_posterior(out, n_samples=20, prior={"survey": "flat", "flat": "survey"}[name])

    def test_prior_of_no_such_name_is_refused(self, model, mocks):
        with pytest.raises(InputError, match="prior='dusty' is not a prior; give 'survey', 'flat', 'training', a Prod"):
            clusterpost.infer_table(mocks, model=model, prior="dusty")
        with pytest.raises(InputError, match="prior='survey' is not a prior; give a ProductPrior"):
            clusterpost.infer_table(clusterpost.simulate(1), model="any_bands", prior="survey")

    def test_upper_limits(self, model, mocks):
        before = clusterpost.infer_table(mocks, model=model, n_samples=100)
        mocks["F275W_limit"] = [True, False, False, False]
        out = clusterpost.infer_table(mocks, model=model, n_samples=100)
        assert out["flag"][0] & UPPER_LIMIT
        assert not (out["flag"] & NOT_INFERRED).any()
        assert out["age_q50"][0] != before["age_q50"][0]
        assert out["n_bands"].tolist() == [4, 5, 5, 5]
        np.testing.assert_allclose(out["age_q50"][1:], before["age_q50"][1:], rtol=1e-4)

    def test_finished_training_is_taken_up_as_it_is(self, model):
        before = load_model(model).card
        again = train_model(stochastic(**TINY), model.parent, progress=False)
        assert again["sha256"] == before["sha256"]


@pytest.mark.slow
def test_killed_run_continues_to_the_same_end(model, tmp_path):
    """Also when the kill comes between two draws of mocks, and with an average of weights."""
    recipe = stochastic(**TINY)

    def stop(entry):
        if entry["step"] == 90:
            raise KeyboardInterrupt

    torch.manual_seed(recipe.config.seed)
    with pytest.raises(KeyboardInterrupt):
        training.fit(build_flow(recipe.spec), recipe, tmp_path, progress=False, report=stop)
    card = train_model(recipe, tmp_path, progress=False)
    whole = load_model(model)
    assert [h["validation_nll"] for h in card["training"]["history"]] == pytest.approx(
        [h["validation_nll"] for h in whole.card["training"]["history"]], rel=1e-5)
    other = load_model(tmp_path / "stochastic")
    for name, value in whole.flow.export().items():
        torch.testing.assert_close(value, other.flow.export()[name], rtol=1e-4, atol=1e-5)


def test_weights_of_a_model_with_other_bands_are_a_start(model, tmp_path):
    recipe = stochastic(**TINY | {"bands": FIVE, "epochs": 1, "mocks_per_epoch": 640})
    with small_samples():
        card = train_model(recipe, tmp_path, start=model, progress=False)
    started, before = card["training"]["started_from"], load_model(model).card
    assert started["sha256"] == before["sha256"]
    assert 0.5 * before["n_weights"] < started["weights_taken"] < before["n_weights"]  # all but those of the bands
    assert started["mocks_seen"] == before["training"]["mocks_seen"]
    scale = load_model(tmp_path / "stochastic").flow.standardize.scale  # there are none of these bands to take
    assert (scale != 1).sum() > len(scale) / 2


def test_average_of_weights_is_kept(model):
    history = load_model(model).card["training"]["history"]
    assert min(history, key=lambda entry: entry["validation_nll"]) == history[-1]
    with safe_open(str(model.parent / "checkpoint.safetensors"), framework="pt") as file:
        name = "tokens.merge.weight"
        best, average, now = (file.get_tensor(f"{which}.{name}") for which in ("best", "average", "now"))
    assert torch.equal(best, average)
    assert not torch.equal(best, now)


def test_average_follows_the_weights():
    recipe = stochastic(**TINY)
    run = training._Run(build_flow(recipe.spec), recipe.simulator, recipe.objective, recipe.config, record=False)
    generator = seeded_generator(0)
    mocks = recipe.simulator.draw(100, generator)
    batch = mocks, recipe.encoder(mocks), generator
    run.advance(*batch)  # at first it is the weights themselves
    torch.testing.assert_close(run.average.tokens.bias, run.flow.tokens.bias)
    before = run.average.tokens.bias.detach().clone()
    with torch.no_grad():
        run.flow.tokens.bias += 1.0
    run.step = 1000 * run.config.steps
    share = 1 - run.config.average
    run.advance(*batch)
    assert run.average.tokens.bias.mean().item() == pytest.approx((before + share).mean().item(), abs=0.02)


def test_full_size():
    recipe = RECIPES["stochastic"]()
    assert len(recipe.simulator.bands) == 31
    assert 3e5 < recipe.spec.count_weights() < 8e5
    assert len(recipe.simulator.coverage.sets) == len(SURVEYS)
    assert recipe.simulator.prior.describe() == "training"
    mocks = recipe.simulator.draw(2000, seeded_generator(0))
    conditions = recipe.encoder(mocks)
    assert conditions.shape[1] == recipe.spec.n_conditions
    assert torch.isfinite(conditions).all()
    assert (mocks.measured.sum(1) >= 2).all()
    assert 0.01 < mocks.limit.any(1).float().mean() < 0.2


def test_surveys_of_the_bands_that_there_are():
    assert survey_bands(FIVE).sets == ((0, 1, 2, 3, 4), (1, 2, 3, 4))
    assert survey_bands(["F275W", "F110W_IR"]).sets == ((0, 1),)  # of no survey
    with pytest.raises(InputError, match="at least two bands"):
        survey_bands(["F275W"])
