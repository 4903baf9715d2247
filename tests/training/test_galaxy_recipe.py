"""A network of galaxies, from the recipe to posteriors in a table."""

import numpy as np
import pytest

import clusterpost
from clusterpost.training.recipes import RECIPES, galaxies, train_model


@pytest.fixture(scope="module", params=["galaxies", "galaxies_young"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name, tmp_path_factory):
    """Trained for a moment: enough to go all the way to a table."""
    folder = tmp_path_factory.mktemp(name)
    recipe = galaxies(family=name, width=(16,), depth=(1,), context=16, mocks_per_epoch=2048, n_validation=512,
                      batch_size=256, average=0.0)
    card = train_model(recipe, folder)
    assert card["learned"] == list(recipe.learned)
    return folder / name


def test_recipe():
    recipe = RECIPES["galaxies"]()
    assert "log_mstar" not in recipe.learned
    assert recipe.spec.count_weights() < 900_000
    assert len(galaxies(family="galaxies_young").learned) == 9


def test_posteriors_of_a_table(model, name):
    mocks = clusterpost.simulate(3, model=name, errors=0.05, seed=2)
    out = clusterpost.infer_table(mocks, model=model, n_samples=200, error_floor=None, refine=False)
    for column in ("log_mstar_formed", "stellar_mass", "sfr_100myr", "age_mw", "metallicity_mw", "tau_ism"):
        low, middle, high = (np.asarray(out[f"{column}_q{level}"].value if hasattr(out[f"{column}_q{level}"], "value")
                                        else out[f"{column}_q{level}"]) for level in (16, 50, 84))
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert np.isfinite(middle).all()
    # Even of a network that has learned nothing the mass follows the brightness.
    assert (np.abs(out["log_mstar_formed_q50"] - mocks["log_mstar_formed_true"]) < 1).all()
