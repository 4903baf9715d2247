"""A family of another kind goes through everything: the proof that nothing else knows what clusters are."""

import numpy as np
import pytest
import torch
from toy import PARAMETERS, PIVOTS, ToyGalaxies

import clusterpost
from clusterpost.bands import BANDS
from clusterpost.families import register_family
from clusterpost.training.recipes import affine, train_model

COLUMNS = [p.column for p in PARAMETERS]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network, trained in seconds."""
    register_family(ToyGalaxies)
    folder = tmp_path_factory.mktemp("toy")
    recipe = affine(ToyGalaxies(), name="toy", n_blocks=4, width=48, epochs=1, mocks_per_epoch=150_000, batch_size=512,
                    learning_rate=3e-3, n_validation=2000, validations_per_epoch=1)
    train_model(recipe, folder)
    yield folder / "toy"
    for band in PIVOTS:
        BANDS.pop(band, None)


@pytest.fixture(scope="module")
def mocks():
    return clusterpost.simulate(200, model=ToyGalaxies(), seed=3, errors=0.1)


def test_simulate(mocks):
    assert mocks.colnames == [*(f"{c}_true" for c in COLUMNS), "redshift",
                              *(name for band in PIVOTS for name in (band, f"{band}_err"))]
    assert (mocks["fraction_young_true"] + mocks["fraction_middle_true"] <= 1).all()
    assert 0.01 <= mocks["redshift"].min() <= mocks["redshift"].max() <= 0.2
    # The model itself is random: without noise, the same parameters twice give other fluxes.
    params = mocks[["redshift"]].copy()
    for column in COLUMNS:
        params[column] = mocks[f"{column}_true"]
    one, two = (clusterpost.simulate(params, model=ToyGalaxies(), seed=seed) for seed in (1, 2))
    assert 0 < np.std(np.log((one["toy_r"] / two["toy_r"]).value)) < 1
    faint = mocks["luminosity_true"].value < 1e9
    scatter = np.abs(np.log((one["toy_r"] / two["toy_r"]).value))
    assert scatter[faint].mean() > 3 * scatter[~faint].mean()


def test_model_file(model):
    loaded = clusterpost.load_model(model)
    assert loaded.parameters == tuple(p.name for p in PARAMETERS)
    assert loaded.bands == tuple(PIVOTS)
    assert loaded.family.likelihood is None
    assert "toy" in repr(loaded.family)


def test_network_learns(model, mocks):
    """The truth lies nearer to the draws than to those of other objects."""
    loaded = clusterpost.load_model(model)
    from clusterpost.training.simulation import Simulator, seeded_generator

    drawn = Simulator.of(loaded).draw(500, seeded_generator(9))
    with torch.inference_mode():
        conditions = loaded.encode(drawn)
        right, wrong = (loaded.flow.log_prob(drawn.theta, c).mean() for c in (conditions, conditions.roll(1, 0)))
    assert right > wrong + 1
