"""From a recipe to a model file that inference takes."""

import json
import math

import pytest
import torch

import clusterpost
from clusterpost.bands import ACS_BANDS, WFC3_BANDS
from clusterpost.errors import InputError
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.families.clusters.table import load_table
from clusterpost.flow.modelfile import load_model
from clusterpost.flow.network import build_flow
from clusterpost.noise import get_noise
from clusterpost.posterior.draws import sobol_points
from clusterpost.posterior.proposal import AmplitudeProposal, FlowProposal
from clusterpost.posterior.target import Target
from clusterpost.posterior.weights import effective_sample_size, log_weights, normalized
from clusterpost.priors import BoxPrior
from clusterpost.training.observing import EmpiricalErrors, FlatErrors
from clusterpost.training.recipes import RECIPES, any_bands, condition_range, maf, spline, train_model, walter2025
from clusterpost.training.simulation import Simulator, cluster_simulator, seeded_generator

pytestmark = pytest.mark.usefixtures("exact_by_default")

EIGHT = (*WFC3_BANDS, *ACS_BANDS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    recipe = walter2025(n_blocks=2, width=16, mocks_per_epoch=8192, epochs=2, n_validation=1000, learning_rate=0.01)
    return recipe, train_model(recipe, folder, progress=False), folder


def test_the_card_states_what_was_done(trained):
    _, card, _ = trained
    record = card["training"]
    assert record["mocks_seen"] == 2 * 8192
    best = min(record["history"], key=lambda h: h["validation_nll"])
    assert record["weights_after_mocks"] == best["mocks_seen"]
    assert record["validation_nll"] == best["validation_nll"]
    assert record["settings"]["learning_rate"] == 0.01
    assert card["architecture"]["width"] == 16
    assert record["test_nll"] == pytest.approx(record["validation_nll"], abs=0.3)


def test_the_model_file_infers(trained):
    _, card, folder = trained
    tbl = clusterpost.simulate(3, seed=5)
    out = clusterpost.infer_table(tbl, model=folder / "walter2025", n_samples=50, refine=False)
    assert out.meta["CPHASH"] == card["sha256"][:16]
    assert ((out["flag"] & 1) == 0).all()


def test_a_finished_run_gives_the_same_file_again(trained):
    recipe, card, folder = trained
    again = train_model(recipe, folder, progress=False)
    assert again["sha256"] == card["sha256"]
    assert again["training"]["history"] == card["training"]["history"]


def test_conditions_of_mocks_lie_in_the_range_of_the_card(trained):
    recipe, card, folder = trained
    mocks = recipe.simulator.draw(2000, seeded_generator(3, 4))
    conditions = load_model(folder / "walter2025").encode(mocks)
    conditions = conditions.numpy()
    low, high = card["condition_range"]["low"], card["condition_range"]["high"]
    assert ((conditions >= low) & (conditions <= high)).all(axis=1).mean() > 0.995
    # One that cuts off a tenth at each end does not hold them.
    narrow = condition_range(recipe.simulator, recipe.encoder, n=10_000, tail=0.1)
    inside = ((conditions >= narrow["low"]) & (conditions <= narrow["high"])).all(axis=1)
    assert inside.mean() < 0.9


SMALL = {"width": (16, 16), "depth": (1, 1), "bins": (6, 4), "splines": (1, 1), "knots": 16}
SMALL_3 = {name: (*values, values[-1]) for name, values in SMALL.items() if name != "knots"} | {"knots": 16}
SHORT = {"mocks_per_epoch": 4096, "epochs": 2, "batch_size": 128, "n_validation": 500, "schedule": "epochs",
         "learning_rate": 5e-3}
OF_ANY = {"any_bands": any_bands, "spline": spline, "maf": maf}


class TestOptions:
    @pytest.mark.parametrize("name", OF_ANY)
    def test_bands_table_prior_and_errors_can_be_changed(self, name):
        prior = BoxPrior([0.0, 3.0, 0.0], [3.0, 6.0, 0.8])
        recipe = OF_ANY[name](bands=ACS_BANDS, table="z0.008", prior=prior, errors=FlatErrors(0.1, 0.2), seed=3)
        assert recipe.name == name
        assert recipe.simulator.bands == ACS_BANDS
        assert recipe.simulator.family.table.header["ssp"].endswith("Z = 0.008")
        assert recipe.config.seed == 3
        names = list(recipe.simulator.prior.names)
        index = [names.index(learned) for learned in recipe.learned]
        assert recipe.spec.low == tuple(prior.low[index].tolist())
        assert recipe.spec.high == tuple(prior.high[index].tolist())
        assert recipe.spec.n_conditions == recipe.encoder.size(3)
        mocks = recipe.simulator.draw(500, seeded_generator(1))
        assert torch.isfinite(prior.log_prob(mocks.theta)).all()
        # The card brings the simulator back, table and all.
        again = Simulator.from_dict(recipe.simulator.to_dict()).draw(500, seeded_generator(1))
        assert torch.equal(again.flux, mocks.flux)

    def test_a_table_by_its_path_or_itself(self):
        one, two = any_bands(table=load_table("z0.05")), any_bands(table="z0.05")
        assert torch.equal(one.simulator.family.table.ln_flux_nodes, two.simulator.family.table.ln_flux_nodes)
        with pytest.raises(InputError, match="give one of z0"):
            any_bands(table="z0.1")

    def test_two_slots_are_the_least(self):
        with pytest.raises(InputError, match="fill 1 slot"):
            any_bands(bands=("F555W", "F555W_ACS"))

    def test_defaults(self):
        assert set(RECIPES) == {"any_bands", "spline", "maf", "walter2025", "galaxies", "galaxies_maf", "stochastic",
                                "stochastic_field"}
        recipe = any_bands()
        assert recipe.simulator.bands == EIGHT
        assert recipe.simulator.noise == "lognormal"
        assert (recipe.learned, recipe.encoder.size()) == (("log_age", "ebv"), 18)
        assert spline().simulator.noise == maf().simulator.noise == "normal"
        assert spline(noise="lognormal").simulator.noise == "lognormal"
        assert spline().learned == ("log_age", "log_mass", "ebv")
        assert spline().encoder.size() == 19


class TestOtherFlows:
    """Recipes other than the paper's, as model files that infer."""

    @pytest.mark.parametrize("recipe", [
        any_bands(**SMALL, **SHORT), any_bands(**SMALL, **SHORT, bands=WFC3_BANDS, table="z0.05"),
        spline(**SMALL_3, **SHORT), spline(**SMALL_3, **SHORT, noise="lognormal"),
        maf(blocks=2, width=16, **SHORT, bands=WFC3_BANDS,
            errors=EmpiricalErrors.from_catalog(clusterpost.simulate(100), WFC3_BANDS))],
        ids=["any", "z0.05", "spline", "lognormal", "maf"])
    def test_train_write_load_and_infer(self, recipe, tmp_path, monkeypatch):
        monkeypatch.setattr("clusterpost.training.recipes._N_TEST", 2000)
        card = train_model(recipe, tmp_path, progress=False)
        names = list(recipe.simulator.prior.names)
        index = [names.index(learned) for learned in recipe.learned]
        log_volume = torch.log(recipe.simulator.prior.high - recipe.simulator.prior.low)[index].sum().item()
        assert card["training"]["test_nll"] < log_volume - 0.05
        model = load_model(tmp_path / recipe.name, device="cpu")
        assert model.learned == recipe.learned
        assert model.card["simulator"] == json.loads(json.dumps(recipe.simulator.to_dict()))
        tbl = clusterpost.simulate(3, seed=5, noise=recipe.simulator.noise, errors=0.1)
        out = clusterpost.infer_table(tbl, model=tmp_path / recipe.name, n_samples=50, refine=False)
        assert math.isfinite(out["age_q50"][0].value)

    @pytest.mark.parametrize("noise", ["lognormal", "normal"])
    def test_a_flow_of_all_three_is_a_proposal(self, noise):
        """Importance weights of draws of (age, mass, reddening) give the evidence that those of two and the mass do."""
        simulator = cluster_simulator(noise="lognormal", errors=FlatErrors(0.8, 1.0))
        mocks = simulator.draw(10, seeded_generator(2))
        observed = mocks
        target = Target(observed, ClusterLikelihood(simulator.family.table, get_noise(noise)), simulator.prior)
        points = sobol_points(1 << 15, 3, 0).expand(10, -1, -1)
        evidences = []
        for kind, recipe in ((FlowProposal, spline(**SMALL_3, bands=WFC3_BANDS)),
                             (AmplitudeProposal, any_bands(**SMALL, bands=WFC3_BANDS))):
            torch.manual_seed(0)
            likelihood = ClusterLikelihood(simulator.family.table, get_noise(noise))
            proposal = kind(build_flow(recipe.spec), likelihood, simulator.prior)
            conditions = recipe.encoder(mocks)
            with torch.inference_mode():
                draws = proposal.draw(observed, conditions, points)
                weights = log_weights(target.log_density(draws.theta), draws.log_q)
            enough = effective_sample_size(normalized(weights)) > 100
            evidences.append(torch.where(enough, torch.logsumexp(weights, 1), torch.nan))
        both = torch.isfinite(evidences[0]) & torch.isfinite(evidences[1])
        assert both.sum() >= 4
        torch.testing.assert_close(evidences[0][both], evidences[1][both], rtol=0, atol=0.4)
