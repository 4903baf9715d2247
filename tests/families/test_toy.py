"""A family of another kind goes through everything: the proof that nothing else knows what clusters are."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from small_samples import small_samples
from toy import PARAMETERS, PIVOTS, ToyGalaxies

import clusterpost
import clusterpost.flags
import clusterpost.scale
from clusterpost.bands import BANDS
from clusterpost.errors import ColumnError, DistanceError, InputError
from clusterpost.families import register_family
from clusterpost.priors import Normal, ProductPrior
from clusterpost.training.recipes import affine, train_model
from clusterpost.training.simulation import Simulator, seeded_generator
from clusterpost.validation import PosteriorSampler, by_region, draw_ensemble, rank_statistics, tarp_ranks
from clusterpost.validation.certificate import certify

COLUMNS = [p.column for p in PARAMETERS]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network, trained in seconds."""
    register_family(ToyGalaxies)
    folder = tmp_path_factory.mktemp("toy")
    recipe = affine(ToyGalaxies(), name="toy", n_blocks=4, width=48, epochs=1, mocks_per_epoch=150_000, batch_size=512,
                    learning_rate=3e-3, n_validation=2000, validations_per_epoch=1)
    with small_samples():
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
    drawn = Simulator.of(loaded).draw(500, seeded_generator(9))
    with torch.inference_mode():
        conditions = loaded.encode(drawn)
        right, wrong = (loaded.flow.log_prob(drawn.theta, c).mean() for c in (conditions, conditions.roll(1, 0)))
    assert right > wrong + 1


@pytest.fixture(scope="module")
def inferred(model, mocks):
    return clusterpost.infer_table(mocks, model=model, n_samples=400)


def test_infer_table(inferred):
    assert (inferred["flag"] & clusterpost.flags.NOT_INFERRED == 0).all()
    for column in COLUMNS:
        assert all(np.isfinite(inferred[f"{column}_{kind}"]).all() for kind in ("q16", "q50", "q84", "mean", "map"))
        inside = (inferred[f"{column}_q16"] <= inferred[f"{column}_true"]) & (
            inferred[f"{column}_true"] <= inferred[f"{column}_q84"])
        assert 0.5 < inside.mean() < 0.85
    # Derived quantities have columns; what only a likelihood can tell has none.
    assert "fraction_old_q50" in inferred.colnames
    assert not {"log_evidence", "chi2_map"} & set(inferred.colnames)
    assert np.isnan(inferred["efficiency"]).all()  # nothing was weighted
    assert inferred["luminosity_q50"].unit == "solLum"
    assert 0.4 < np.mean(inferred["support"]) < 0.8  # above one half, as the posterior has seen the data


def test_other_photometry_is_outside_support(model, mocks):
    """The negative control of `support`: bands in another order."""
    shuffled = mocks.copy()
    for kind in ("", "_err"):
        shuffled[f"toy_g{kind}"], shuffled[f"toy_K{kind}"] = mocks[f"toy_K{kind}"], mocks[f"toy_g{kind}"]
    with pytest.warns(AstropyUserWarning, match="most of 200 rows"):
        out = clusterpost.infer_table(shuffled, model=model, n_samples=200)
    assert np.median(out["support"]) < 0.05


def test_sample_posterior_and_log_prob(model, inferred, mocks):
    draws = clusterpost.sample_posterior(inferred[:20], n_samples=400)
    for column in COLUMNS:
        median = np.median(u.Quantity(draws[column]).value, axis=1)
        half = (inferred[f"{column}_q84"] - inferred[f"{column}_q16"])[:20] / 2
        difference = np.abs(median - u.Quantity(inferred[f"{column}_q50"][:20]).value) / u.Quantity(half).value
        assert np.median(difference) < 0.15
    np.testing.assert_allclose(draws["fraction_old"], 1 - draws["fraction_young"] - draws["fraction_middle"], atol=1e-6)
    theta = np.stack([p.from_column(u.Quantity(mocks[f"{p.column}_true"]).value) for p in PARAMETERS], -1)
    density = clusterpost.log_prob(mocks, theta, model=model)
    assert np.isfinite(density).all()
    assert density.mean() > clusterpost.log_prob(mocks, np.roll(theta, 1, axis=0), model=model).mean() + 1
    with pytest.raises(InputError, match=r"give \(200, 5\)"):
        clusterpost.log_prob(mocks, theta[:, :3], model=model)


def test_prior_of_the_users(model, mocks):
    """A prior over any parameter, by reweighting: it moves that parameter, and efficiency says what is left."""
    prior = ProductPrior(family=ToyGalaxies(), tau=Normal(1.5, 0.2))
    before, after = (clusterpost.infer_table(mocks[:30], model=model, n_samples=1000, prior=p) for p in (None, prior))
    spread = [np.std(out["tau_q50"]) for out in (before, after)]
    assert spread[1] < 0.7 * spread[0]
    assert np.abs(np.mean(after["tau_q50"]) - 1.5) < 0.2


def test_missing_redshift(model, mocks):
    without = mocks.copy()
    del without["redshift"]
    with pytest.raises(ColumnError, match="the model needs a column 'redshift'"):
        clusterpost.infer_table(without, model=model)
    without["redshift"] = np.where(np.arange(len(mocks)) == 4, np.nan, mocks["redshift"])
    out = clusterpost.infer_table(without, model=model, n_samples=50)
    assert (out["flag"][4] & clusterpost.flags.NOT_INFERRED) != 0
    assert np.isfinite(out["tau_q50"]).sum() == len(out) - 1
    with pytest.raises(DistanceError, match="does not use a distance"):
        clusterpost.infer_table(mocks, model=model, distance=10)
    far = mocks.copy()
    far["redshift"][:3] = 0.5
    with pytest.warns(AstropyUserWarning, match="supports 0.01 to 0.2"):
        out = clusterpost.infer_table(far, model=model, n_samples=50)
    assert np.isnan(out["tau_q50"][:3]).all()


def test_stream(model, mocks, tmp_path):
    clusterpost.write_catalog(mocks, tmp_path / "mocks.parquet")
    clusterpost.scale.infer_file(tmp_path / "mocks.parquet", tmp_path / "out.parquet", model=model, n_samples=200,
                                 rows_per_part=70)
    out, whole = Table.read(tmp_path / "out.parquet"), clusterpost.infer_table(mocks, model=model, n_samples=200)
    np.testing.assert_allclose(out["tau_q50"], u.Quantity(whole["tau_q50"]).value, rtol=1e-5)


def test_calibration_follows_the_family(model):
    """Every parameter and every pair is tested, and draws that are too narrow are caught."""
    certificate = certify(model, n_mocks=300, n_draws=20, progress=False)
    assert list(certificate["posteriors"]) == ["network"]  # there is no likelihood to refine with
    record = certificate["posteriors"]["network"]
    names = [p.name for p in PARAMETERS]
    assert list(record["tests"])[:5] == names
    assert len(record["tests"]) == 5 + 10 + 2
    assert set(record["regions"]) == {"fraction_young", "fraction_middle", "snr"}
    loaded = clusterpost.load_model(model)
    ensemble = draw_ensemble(PosteriorSampler(loaded), Simulator.of(loaded), 300, 20, progress=False)
    assert ensemble.draws.shape == (300, 20, 5)
    assert tarp_ranks(ensemble).n_mocks == 300
    middle = ensemble.draws.mean(1, keepdims=True)
    narrow = ensemble.with_draws(middle + (ensemble.draws - middle) / 5)
    assert not any(rank_statistics(narrow, narrow.marginals).passes().values())
    assert len(by_region(ensemble, "tau", 2)) == 2 * 5
    with pytest.raises(ValueError, match=r"must be one of fraction_young, .*, snr, n_bands"):
        by_region(ensemble, "age")


def test_figures_and_draws_repeat_the_result(model, inferred):
    """With five parameters, no likelihood, and a model from a file."""
    pytest.importorskip("corner")
    figure = clusterpost.plot_posterior(inferred[3], n_samples=400)
    axes = np.array(figure.axes[:25]).reshape(5, 5)
    assert [ax.get_xlabel() for ax in axes[-1]] == [p.label or p.name for p in PARAMETERS]
    medians = [next(line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--") for ax in axes.diagonal()]
    for p, median in zip(PARAMETERS, medians, strict=True):
        low, high = (p.from_column(float(np.asarray(getattr(inferred[f"{p.column}_{q}"], "value", inferred[
            f"{p.column}_{q}"]))[3])) for q in ("q16", "q84"))
        assert low < median < high
    np.testing.assert_array_equal(clusterpost.sample_posterior(inferred[:3], n_samples=20)["luminosity"],
                                  clusterpost.sample_posterior(inferred[:3], n_samples=20, model=model)["luminosity"])
