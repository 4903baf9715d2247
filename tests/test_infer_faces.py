"""Draws, densities, and the exact grid: faces of one posterior."""

import re

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable, Table
from infer_tables import (
    INTEGERS,
    LEVELS,
    MODES,
    NAMES,
    PARAMETERS,
    assert_close,
    coordinate,
    half_width,
    in_unit,
    theta_of,
    value,
    without,
)

import clusterpost
from clusterpost import conf, decode_flags, exact_posterior, infer_table, log_prob, sample_posterior
from clusterpost.bands import WFC3_BANDS
from clusterpost.errors import ColumnError, InputError, ModelError
from clusterpost.families.clusters import PARAMETERS as CLUSTER_PARAMETERS
from clusterpost.families.clusters import FullySampledClusters
from clusterpost.families.clusters.table import TABLES, load_table
from clusterpost.priors import BoxPrior, Normal, ProductPrior
from clusterpost.schema import output_columns

pytestmark = pytest.mark.usefixtures("exact_by_default")

OPTIONS = [
    {},
    {"noise": "normal"},
    {"refine": False},
    {"prior": ProductPrior(ebv=Normal(0.3, 0.2)), "error_floor": 0.1},
]


@pytest.fixture(scope="module")
def with_gap(clusters):
    """The second cluster has one band only."""
    return without(clusters.copy(), 1, "F275W", "F336W", "F438W", "F555W")


@pytest.fixture(scope="module")
def draws(with_gap):
    return sample_posterior(with_gap, n_samples=60)


# Draws


def test_shapes_and_nan_rows(draws):
    assert isinstance(draws, QTable)
    assert draws.colnames == ["name", "class", "age", "mass", "ebv", "stellar_mass", "log_prob", "flag"]
    assert [str(draws[n].unit) for n in PARAMETERS] == ["Myr", "solMass", "mag"]
    for name in (*PARAMETERS, "log_prob"):
        assert draws[name].shape == (12, 60)
        assert np.isnan(value(draws[name])[1]).all()
        assert np.isfinite(value(draws[name])[[0, *range(2, 12)]]).all()
    assert decode_flags(draws["flag"][1]) == ["not inferred", "missing band", "too few bands"]
    theta = theta_of(draws)[2:]
    assert (theta >= [0, 2, 0]).all()
    assert (theta <= [np.log10(13750) + 1e-6, 8, 1.5]).all()


@pytest.mark.parametrize("options", OPTIONS)
def test_draws_follow_the_table(clusters, options):
    """The levels at which the table's quantiles lie among equally weighted draws, to the latter's scatter."""
    smp = sample_posterior(clusters, n_samples=1500, **options)
    out = infer_table(clusters, **options)
    for name in PARAMETERS:
        for q, level in zip(("q16", "q50", "q84"), LEVELS, strict=True):
            below = (coordinate(smp, name) < coordinate(out, f"{name}_{q}")[:, None]).mean(axis=1)
            assert (np.abs(below - level) < 5 * np.sqrt(level * (1 - level) / 1500)).all(), (name, q)
    np.testing.assert_allclose(-smp["log_prob"].mean(axis=1), out["entropy"], atol=0.1)


def test_draws_alone_are_those_of_the_table(clusters):
    """Without weights the table's quantiles are those of the same draws."""
    smp, out = (f(clusters, n_samples=300, refine=False) for f in (sample_posterior, infer_table))
    for name in ("age", "mass"):
        np.testing.assert_allclose(coordinate(out, f"{name}_q16"), np.quantile(coordinate(smp, name), 0.16, axis=1),
                                   atol=1e-5)
    np.testing.assert_allclose(value(out["ebv_q84"]), np.quantile(smp["ebv"].value, 0.84, axis=1), atol=1e-5)
    np.testing.assert_allclose(out["entropy"], -smp["log_prob"].mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("refine", [True, False])
def test_draws_are_in_no_order(clusters, refine):
    """Any part of them is a sample, and the k-th draws of two clusters have nothing to do with each other."""
    age = coordinate(sample_posterior(clusters, n_samples=800, refine=refine), "age")
    first, second = np.split(age, 2, axis=1)
    scatter = age.std(axis=1) / np.sqrt(200)
    assert (np.abs(first.mean(axis=1) - second.mean(axis=1)) < 4.5 * scatter).all()
    rank = age.argsort(axis=1).argsort(axis=1)
    correlation = np.corrcoef(rank)[np.triu_indices(12, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(800)
    following = [np.corrcoef(row[1:], row[:-1])[0, 1] for row in rank]
    assert np.abs(following).max() < 5 / np.sqrt(800)


@pytest.mark.parametrize("refine", [True, False])
def test_one_draw_is_a_draw(refine):
    """And not the median, or the first point of the same sequence, of every cluster."""
    tbl = clusterpost.simulate(300, seed=6)
    smp, out = sample_posterior(tbl, n_samples=1, refine=refine), infer_table(tbl, n_samples=300, refine=refine)
    for name in PARAMETERS:
        draw = coordinate(smp, name)[:, 0]
        for q, level in zip(("q16", "q50", "q84"), LEVELS, strict=True):
            share = (draw < coordinate(out, f"{name}_{q}")).mean()
            assert abs(share - level) < 4.5 * np.sqrt(level * (1 - level) / 300), (name, q, share)


def test_seeds_of_draws(clusters):
    one, same, other = (sample_posterior(clusters[:3], n_samples=200, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(one["age"], same["age"])
    assert not np.isclose(one["age"].value, other["age"].value, rtol=1e-6).any(axis=1).all()


def test_number_of_draws(clusters):
    for n in (1, 7, 3000):
        assert sample_posterior(clusters[:1], n_samples=n)["mass"].shape == (1, n)
    with pytest.raises(InputError, match="n_samples=0"):
        sample_posterior(clusters[:1], n_samples=0)


# Density


@pytest.mark.parametrize("options", OPTIONS)
def test_the_density_of_draws(with_gap, options):
    smp = sample_posterior(with_gap, n_samples=60, **options)
    theta = theta_of(smp)
    density = log_prob(with_gap, np.nan_to_num(theta, nan=1.0), **options)
    assert density.shape == (12, 60)
    assert np.isnan(density[1]).all()
    rest = [0, *range(2, 12)]
    # Closer than a thousandth to a bound, float32 does not hold where exactly a draw lies.
    low, high = np.array([0, 2, 0]), np.array([np.log10(13750), 8, 1.5])
    unit = (theta[rest] - low) / (high - low)
    inner = ((unit > 1e-3) & (unit < 1 - 1e-3)).all(axis=-1)
    assert inner.mean() > 0.6
    # The evidence, and hence the density, depends on the draws: by more where the prior is not what they were made for.
    atol = 0.25 if "prior" in options else 0.08
    np.testing.assert_allclose(density[rest][inner], smp["log_prob"][rest][inner], atol=atol)
    assert np.isfinite(density[rest]).all()


def test_one_vector_each(with_gap, draws):
    theta = np.nan_to_num(theta_of(draws), nan=1.0)
    many = log_prob(with_gap, theta)
    np.testing.assert_allclose(log_prob(with_gap, theta[:, 0]), many[:, 0], rtol=1e-3, atol=1e-3)
    with conf.set_temp("points_per_pass", 17):
        np.testing.assert_allclose(log_prob(with_gap, theta), many, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("refine", [True, False])
@pytest.mark.parametrize(
    "theta", [[-0.1, 4, 0.3], [4.2, 4, 0.3], [2, 1.9, 0.3], [2, 8.1, 0.3], [2, 4, -0.01], [2, 4, 1.51]]
)
def test_nothing_outside_the_prior(clusters, theta, refine):
    assert log_prob(clusters[:1], [theta], refine=refine)[0] == -np.inf
    both = log_prob(clusters[:1], [[theta, [2, 4.5, 0.3]]], refine=refine)
    assert both[0, 0] == -np.inf
    assert np.isfinite(both[0, 1])


def test_the_users_own_bounds(clusters):
    narrow = BoxPrior([1, 2, 0], [3, 8, 1])
    clusters = clusters[4:9]
    out = sample_posterior(clusters, n_samples=100, prior=narrow)
    theta = theta_of(out)
    assert (theta >= [1, 2, 0]).all()
    assert (theta <= [3 + 1e-6, 8, 1]).all()
    inside, outside = [2.0, 4.5, 0.3], [0.9, 4.5, 0.3]
    density = log_prob(clusters, np.tile([inside, outside], (5, 1, 1)), prior=narrow)
    assert np.isfinite(density[:, 0]).all()
    assert np.isneginf(density[:, 1]).all()


@pytest.mark.parametrize("shape", [(3,), (11, 3), (12, 2), (12, 4, 2), (1, 12, 3), (12, 1, 1, 3)])
def test_shapes_of_theta_that_are_refused(clusters, shape):
    with pytest.raises(InputError, match=r"theta has shape .*; for 12 rows give \(12, 3\) or \(12, k, 3\): log10 age"):
        log_prob(clusters, np.ones(shape))


@pytest.mark.parametrize("options", [{}, {"refine": False}, {"noise": "normal"},
                                     {"model": "walter2025", "refine": False}])
def test_the_density_integrates_to_one(options):
    """On a grid over where the draws are, for one cluster of large errors."""
    tbl = clusterpost.simulate(
        QTable({"age": [300] * u.Myr, "mass": [1e5] * u.solMass, "ebv": [0.3] * u.mag}), distance=10, errors=0.3, seed=2
    )
    theta = theta_of(sample_posterior(tbl, n_samples=500, **options))[0]
    low, high = np.maximum(theta.min(axis=0) - 0.15, [0, 2, 0]), np.minimum(theta.max(axis=0) + 0.15, [4.138, 8, 1.5])
    axes = [lo + (np.arange(26) + 0.5) / 26 * (hi - lo) for lo, hi in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    density = np.exp(log_prob(tbl, grid[None], **options)[0])
    assert density.mean() * np.prod(high - low) == pytest.approx(1, abs=0.08)


# The exact grid


@pytest.fixture(scope="module")
def exact(clusters):
    return exact_posterior(clusters)


@pytest.mark.parametrize("kind", [Table, QTable])
def test_the_grid_has_the_same_columns(with_gap, kind):
    tbl = kind(with_gap[:4])
    out, exact = infer_table(tbl, n_samples=50, prefix="a_"), exact_posterior(tbl, prefix="a_")
    assert type(exact) is kind
    assert exact.colnames == out.colnames
    for name in out.colnames:
        for attribute in ("unit", "shape", "dtype"):
            assert getattr(exact[name], attribute) == getattr(out[name], attribute), (name, attribute)
        assert exact[name].info.description == out[name].info.description
    np.testing.assert_array_equal(exact["name"], tbl["name"])
    assert decode_flags(exact["a_flag"][1]) == ["not inferred", "missing band", "too few bands"]
    for name in NAMES:
        if name not in INTEGERS:
            assert np.isnan(value(exact[f"a_{name}"])[1]).all(), name
    rest = [0, 2, 3]
    for column in output_columns(LEVELS):
        if column.shape == "row":
            assert np.isfinite(value(exact[f"a_{column.name}"])[rest]).all(), column.name


def test_the_grid_takes_any_band_that_the_table_knows():
    """Against sums over a plain grid of age, reddening and mass."""
    from clusterpost.families.clusters.table import load_table

    bands = ["U_JC", "F475W_ACS", "F814W_ACS", "F160W_IR"]
    truth = Table({"age": [30.0, 2000.0], "mass": [1e5, 1e5], "ebv": [0.3, 0.1]})
    tbl = clusterpost.simulate(truth, model="clusters", bands=bands, distance=5 * u.Mpc, errors=0.1, seed=2)
    out = exact_posterior(tbl, error_floor=None)
    assert list(out["n_bands"]) == [4, 4]
    without = tbl.copy()
    without.remove_columns(["U_JC", "U_JC_err", "F160W_IR", "F160W_IR_err"])
    width = [value(x["age_q84"]) / value(x["age_q16"]) for x in (out, exact_posterior(without, error_floor=None))]
    assert (width[1] > 1.5 * width[0]).all()
    log_age, ebv = torch.linspace(0, np.log10(13750), 400), torch.linspace(0, 1.5, 151)
    ages, reds = torch.meshgrid(log_age, ebv, indexing="ij")
    model = load_table().select(bands).ln_flux(ages, reds).double() - 2 * np.log(5e5)
    flux, error = (torch.as_tensor(np.stack([tbl[f"{b}{end}"].value for b in bands], 1)) for end in ("", "_err"))
    s2 = torch.log1p((error / flux) ** 2)
    for row in range(2):
        residual = torch.log(flux[row]) + s2[row] / 2 - model  # equals ln mass but for noise
        weight = 1 / s2[row]
        best = (residual * weight).sum(-1) / weight.sum()
        chi2 = ((residual - best[..., None]) ** 2 * weight).sum(-1)
        density = torch.exp(-0.5 * (chi2 - chi2.min())).sum(1)
        cumulative = torch.cumsum(density, 0) / density.sum()
        for q, name in ((0.16, "age_q16"), (0.5, "age_q50"), (0.84, "age_q84")):
            assert np.log10(value(out[name])[row]) == pytest.approx(
                float(log_age[torch.searchsorted(cumulative, q)]), abs=0.03)


def test_numbers_of_the_grid_are_consistent(clusters, exact):
    assert (exact["efficiency"] == 1).all()
    assert (exact["n_bands"] == 5).all()
    for name in ("age", "mass", "ebv", "stellar_mass"):
        low, mid, high = (value(exact[f"{name}_{q}"]) for q in ("q16", "q50", "q84"))
        assert ((low < mid) & (mid < high)).all()
    there = np.arange(3) < np.asarray(exact["n_modes"])[:, None]
    for name in MODES:
        np.testing.assert_array_equal(np.isfinite(value(exact[name])), there)
    # The entropy is that of its own density at its own draws.
    smp = sample_posterior(clusters, n_samples=1000)
    np.testing.assert_allclose(exact["entropy"], -smp["log_prob"].mean(axis=1), atol=0.1)


@pytest.mark.parametrize("seed", [1, 2])
def test_order_chunks_and_units_change_nothing_on_the_grid(clusters, exact, seed):
    order = np.random.default_rng(seed).permutation(12)
    with conf.set_temp("points_per_pass", 5000 * seed):
        again = exact_posterior(in_unit(clusters, WFC3_BANDS, ("uJy", "AB")[seed - 1])[order])
    assert_close(again, exact[order])


def assert_agree(out, other, rows, within=0.1):
    """Quantiles of the parameters agree, in half-widths."""
    for name in PARAMETERS:
        half = half_width(other, name)[rows]
        for q in ("q16", "q50", "q84"):
            change = np.abs(coordinate(out, f"{name}_{q}") - coordinate(other, f"{name}_{q}"))[rows] / half
            assert change.max() < within, (name, q)


def test_the_grid_of_other_priors(clusters, exact):
    """A narrow prior on reddening narrows reddening; one that is no power law in mass is sampled."""
    narrow = exact_posterior(clusters, prior=ProductPrior(ebv=Normal(0.2, 0.02)))
    assert (half_width(narrow, "ebv") < 0.022)[:9].all()
    assert (np.abs(value(narrow["ebv_q50"]) - 0.2) < 0.1)[:9].all()
    assert (narrow["entropy"] < exact["entropy"])[1:].all()  # the first has no reddening: the prior is against it
    for prior in (ProductPrior(log_mass=Normal(4, 1)), lambda theta: -theta[..., 0] * theta[..., 2]):
        out = exact_posterior(clusters[:4], prior=prior)
        assert ((out["efficiency"] < 1) & (out["efficiency"] > 0.5)).all()
        assert_agree(out, infer_table(clusters[:4], prior=prior, n_samples=4000), slice(None), 0.15)


def test_draws_from_cells_agree_with_the_sums(clusters, exact):
    """The same prior as a function is no power law to anyone, and its posteriors are sampled."""
    out = exact_posterior(clusters, prior=lambda theta: 0 * theta[..., 0])
    assert (out["efficiency"] < 1).all()
    assert_agree(out, exact, slice(None), 0.08)
    volume = np.log(np.prod([p.high - p.low for p in CLUSTER_PARAMETERS]))  # the function is not normalized
    np.testing.assert_allclose(out["log_evidence"], exact["log_evidence"] + volume, atol=0.02)
    np.testing.assert_allclose(out["entropy"], exact["entropy"], atol=0.03)


def test_other_noise_on_the_grid(clusters):
    tbl = clusters[:4].copy()
    tbl["F275W"][0] = -0.2 * tbl["F275W_err"][0]
    out, refined = (call(tbl, noise="normal") for call in (exact_posterior, infer_table))
    assert out.meta["CPNOISE"] == "normal"
    assert (out["n_bands"] == 5).all()
    assert_agree(out, refined, slice(None), 0.15)
    np.testing.assert_allclose(out["log_evidence"], refined["log_evidence"], atol=0.1)


def test_upper_limits_on_the_grid(clusters, exact):
    """A limit counts, and changes nothing in the other rows."""
    tbl = clusters[:4].copy()
    tbl["F275W"][1], tbl["F275W_err"][1] = 0.5 * tbl["F275W"][1], -0.1 * tbl["F275W"][1]
    out = exact_posterior(tbl)
    assert "upper limit" in decode_flags(out["flag"][1])
    assert (out["efficiency"] == 1).tolist() == [True, False, True, True]
    assert_agree(out, infer_table(tbl, n_samples=4000), [1], 0.2)
    assert_close(out[[0, 2, 3]], exact[[0, 2, 3]])
    far = exact_posterior(without(clusters[:4].copy(), 1, "F275W"))
    assert np.abs(coordinate(out, "age_q50") - coordinate(far, "age_q50"))[1] > 0.1 * half_width(far, "age")[1]


def test_the_grid_of_another_model(clusters, exact):
    """The family's table and bands are taken: spectra of other metallicity give other ages."""
    poor = FullySampledClusters(table=load_table(TABLES["z0.008"]))
    mocks = clusterpost.simulate(4, model=poor, seed=2, errors=0.02)
    out, solar = (exact_posterior(mocks, model=model, error_floor=None) for model in (poor, "clusters"))
    assert out["log_evidence"].sum() > solar["log_evidence"].sum() + 10
    assert_close(exact_posterior(clusters, model=clusterpost.load_model("any_bands")), exact)
    with pytest.raises(ModelError, match="give a model with model"):
        sample_posterior(out)


def test_a_family_without_a_grid(clusters):
    with pytest.raises(InputError, match=r"'galaxies' has no exact grid.*Use a trained model instead"):
        exact_posterior(clusters, model="galaxies")


def test_options_of_the_grid_that_cannot_be(clusters, exact):
    with pytest.raises(ColumnError, match="already"):
        exact_posterior(exact)
    with pytest.raises(ModelError, match="'cpu' or 'cuda'"):
        exact_posterior(clusters, device="gpu")
    with pytest.raises(InputError, match="quantiles="):
        exact_posterior(clusters, quantiles=(16, 84))


def test_progress_of_the_grid(clusters, capsys):
    exact_posterior(clusters[:2], progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "exact grid" in shown.err


def test_draws_can_be_joined_and_are_small(clusters, tmp_path):
    tbl = clusters[:3].copy()
    tbl["RA"] = [24.1, 24.2, 24.3] * u.deg
    smp, half = (sample_posterior(tbl, n_samples=20, dtype=dtype) for dtype in (float, "float32"))
    assert smp["name"].tolist() == tbl["name"].tolist()
    np.testing.assert_array_equal(smp["RA"], tbl["RA"])
    for name in (*PARAMETERS, "stellar_mass", "log_prob"):
        assert half[name].dtype == np.float32
        np.testing.assert_allclose(value(half[name]), value(smp[name]), rtol=1e-6, atol=1e-6)
    assert (smp["stellar_mass"] <= smp["mass"]).all()
    with pytest.raises(InputError, match="dtype='int' must be 'float32' or 'float64'"):
        sample_posterior(tbl, dtype="int")


def test_derived_quantities_are_those_of_the_draws(clusters):
    smp, out = (f(clusters[:4], n_samples=300, refine=False) for f in (sample_posterior, infer_table))
    np.testing.assert_allclose(np.log10(value(out["stellar_mass_mean"])),
                               np.log10(value(smp["stellar_mass"])).mean(axis=1), atol=1e-4)
    assert (out["stellar_mass_map"] <= out["mass_map"]).all()


# What users have for a table


def test_rows_data_frames_and_paths(clusters, tmp_path):
    tbl = clusters[:3].copy()
    tbl.meta.clear()
    expected = sample_posterior(tbl, n_samples=20)
    frame = tbl.to_pandas()
    tbl.write(tmp_path / "three.fits")
    one = sample_posterior(tbl[1], n_samples=20)
    np.testing.assert_allclose(value(one["mass"])[0], value(expected["mass"])[1], rtol=1e-4)
    of_frame = sample_posterior(frame, n_samples=20, unit="mJy")
    np.testing.assert_allclose(value(of_frame["mass"]), value(expected["mass"]), rtol=1e-4)
    of_file = sample_posterior(str(tmp_path / "three.fits"), n_samples=20)
    np.testing.assert_allclose(value(of_file["mass"]), value(expected["mass"]), rtol=1e-4)
    assert len(infer_table(tbl[1], n_samples=20)) == 1
    assert infer_table(frame, n_samples=20, unit="mJy")["name"].tolist() == tbl["name"].tolist()
    assert len(exact_posterior(tmp_path / "three.fits")) == 3
    assert log_prob(tbl[1], [[2.0, 4.0, 0.1]]).shape == (1,)
    with pytest.raises(InputError, match="a table is needed, not dict: give an astropy Table or Row, a pandas Data"):
        infer_table({})


@pytest.mark.parametrize("call", [clusterpost.infer_table, clusterpost.exact_posterior, clusterpost.sample_posterior])
@pytest.mark.parametrize(("option", "message"), [
    ("nsamples", "has no option nsamples=; did you mean n_samples=? It has: "),
    ("metallicity", "a column 'metallicity'"), ("threads", "workers= sets the number of cores"),
    ("quxx", "no option quxx=. It has: ")])
def test_an_option_that_there_is_not(call, option, message):
    if (call, option) == (clusterpost.exact_posterior, "nsamples"):
        message = "has no option nsamples=. It has: "
    with pytest.raises(TypeError, match=re.escape(message)):
        call(Table(), **{option: 1})
