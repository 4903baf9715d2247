"""From a recipe to a model file that inference takes."""

import pytest

import clusterpost
from clusterpost.flow.modelfile import load_model
from clusterpost.training.recipes import condition_range, train_model, walter2025
from clusterpost.training.simulation import seeded_generator


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
    out = clusterpost.infer_table(tbl, model=folder / "walter2025", n_samples=50)
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
    conditions = load_model(folder / "walter2025").encode(mocks.flux, mocks.error, mocks.distance).numpy()
    low, high = card["condition_range"]["low"], card["condition_range"]["high"]
    assert ((conditions >= low) & (conditions <= high)).all(axis=1).mean() > 0.995
    # One that cuts off a tenth at each end does not hold them.
    narrow = condition_range(recipe.simulator, recipe.encoder, n=10_000, tail=0.1)
    inside = ((conditions >= narrow["low"]) & (conditions <= narrow["high"])).all(axis=1)
    assert inside.mean() < 0.9
