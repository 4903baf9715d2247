"""A result remembers how it was made, and everything that is drawn from it repeats that."""

import itertools
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning

import clusterpost
from clusterpost import infer_table, log_prob, read_catalog, sample_posterior, simulate, write_catalog
from clusterpost.bands import WFC3_BANDS
from clusterpost.cli import main
from clusterpost.errors import InputError, ModelError
from clusterpost.priors import BoxPrior, Exponential, PowerLaw, ProductPrior
from clusterpost.provenance import recorded_settings, repeat

pytestmark = pytest.mark.usefixtures("exact_by_default")

SLOPE = ProductPrior(log_mass=PowerLaw(-2), ebv=Exponential(0.05))
MINE = {band: (f"flux{k}", f"sigma{k}") for k, band in enumerate(WFC3_BANDS)}
WIDTH = {"age": 0.4, "mass": 0.4, "ebv": 0.05}


def mocks(n=2, seed=3):
    """Clusters whose posterior depends on every option."""
    params = QTable({"age": [8.0, 60.0][:n] * u.Myr, "mass": [4e3, 2e4][:n] * u.Msun, "ebv": [0.4, 0.1][:n] * u.mag})
    return simulate(params, distance=10, errors=0.15, seed=seed)


def in_my_columns(tbl):
    """The same photometry under other names."""
    tbl = tbl.copy()
    for band, (flux, error) in MINE.items():
        tbl.rename_columns([band, f"{band}_err"], [flux, error])
    return tbl


def coordinate(tbl, name):
    values = np.asarray(getattr(tbl[name], "value", tbl[name]), dtype=float)
    return values if name.startswith("ebv") else np.log10(values)


def quantiles_agree(draws, out, n, prefix=""):
    """Whether a table's quantiles lie at their levels among draws, to five standard deviations of both."""
    for name in WIDTH:
        for q, level in (("q16", 0.16), ("q50", 0.5), ("q84", 0.84)):
            below = (coordinate(draws, name) < coordinate(out, f"{prefix}{name}_{q}")[:, None]).mean(axis=1)
            if (np.abs(below - level) > 5 * np.sqrt(level * (1 - level) / n)).any():
                return False
    return True


def corner_draws(figure):
    """Medians of age, mass and reddening that a corner plot shows."""
    return np.array([next(line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--")
                     for ax in np.array(figure.axes[:9]).reshape(3, 3).diagonal()])


CHOICES = (("lognormal", "normal"), (None, SLOPE), (0.05, 0.2), ("any_bands", "walter2025"), (None, MINE), (None, 25.0))
# Of these, with six choices of two: every three choices occur together in all their combinations.
THIRDS = {index for index in itertools.product((0, 1), repeat=6)
          if index[4] == sum(index[:3]) % 2 and index[5] == sum(index[1:4]) % 2}
STAR_BY_STAR = ((None, "flat", ProductPrior(family="stochastic", ebv=Exponential(0.3))), ("auto", 0.2), (None, MINE),
                (None, 25.0))


def combinations(choices, kept):
    """All combinations; those that are not kept are slow together."""
    for index in itertools.product(*(range(len(one)) for one in choices)):
        marks = () if kept(index) else pytest.mark.slow
        yield pytest.param(*(one[i] for one, i in zip(choices, index, strict=True)), marks=marks)


def test_every_three_choices_occur_together():
    for three in itertools.combinations(range(6), 3):
        assert len({tuple(index[i] for i in three) for index in THIRDS}) == 8


def assert_drawn_again(columns, **options):
    """What is drawn from a result is that of its quantiles, and of the same options given once more."""
    tbl = mocks(1) if columns is None else in_my_columns(mocks(1))
    options |= {"columns": columns, "seed": 4}
    out = infer_table(tbl, n_samples=150, **options)
    drawn = sample_posterior(out, n_samples=150)
    assert quantiles_agree(drawn, out, 150 * np.nanmin(out["efficiency"].clip(0.1)))
    np.testing.assert_array_equal(drawn["age"], sample_posterior(tbl, n_samples=150, **options)["age"])


@pytest.mark.parametrize(("noise", "prior", "floor", "model", "columns", "distance"),
                         combinations(CHOICES, THIRDS.__contains__))
def test_what_is_drawn_from_a_result_is_the_result(noise, prior, floor, model, columns, distance):
    assert_drawn_again(columns, noise=noise, prior=prior, error_floor=floor, model=model, distance=distance)


@pytest.mark.parametrize(("prior", "floor", "columns", "distance"),
                         combinations(STAR_BY_STAR, lambda index: sum(index) % 2 == 0))
def test_what_is_drawn_from_a_result_of_drawn_stars_is_the_result(prior, floor, columns, distance):
    assert_drawn_again(columns, prior=prior, error_floor=floor, model="stochastic", distance=distance)


def test_another_posterior_is_told_from_it():
    """The negative control of the test above: each option moves the draws away from the quantiles."""
    tbl = mocks()
    out = infer_table(tbl, n_samples=500, distance=10.0)
    for options in ({"prior": SLOPE}, {"error_floor": 1.0 - 1e-9}, {"distance": 25.0}):
        assert not quantiles_agree(sample_posterior(tbl, n_samples=500, **options), out, 500), options


@pytest.mark.parametrize("suffix", ["fits", "ecsv", "vot", "parquet"])
def test_files_keep_it(suffix, tmp_path):
    out = infer_table(in_my_columns(mocks()), n_samples=100, noise="normal", prior=SLOPE, error_floor=0.1, seed=9,
                      columns=MINE, distance=25 * u.Mpc)
    write_catalog(out, tmp_path / f"out.{suffix}")
    again = read_catalog(tmp_path / f"out.{suffix}")
    assert recorded_settings(again) == recorded_settings(out)
    one, two = (sample_posterior(t, n_samples=50) for t in (out, again))
    for name in ("age", "mass", "ebv"):
        np.testing.assert_array_equal(one[name], two[name])


def test_the_density_and_the_evidence_are_those_of_the_result():
    out = infer_table(mocks(), n_samples=300, noise="normal", prior=SLOPE)
    theta = np.stack([coordinate(out, f"{name}_map") for name in WIDTH], axis=-1)
    # ln p(theta | x) + ln p(x) is ln p(x, theta), whatever the draws.
    again = infer_table(mocks(), n_samples=1000, noise="normal", prior=SLOPE)
    np.testing.assert_allclose(log_prob(out, theta) + out["log_evidence"],
                               log_prob(again, theta) + again["log_evidence"], atol=2e-3)
    assert not np.allclose(log_prob(out, theta), log_prob(mocks(), theta), atol=0.1)


def test_the_distance_is_a_column():
    out = infer_table(mocks()[["F275W", "F275W_err", "F336W", "F336W_err"]], n_samples=20, distance=9900 * u.kpc)
    assert out["distance"].unit == u.Mpc
    np.testing.assert_allclose(out["distance"].value, 9.9)
    beside = infer_table(mocks(), n_samples=20, distance=9.9, prefix="b_")
    assert beside["distance"].value.tolist() == [10, 10]
    assert beside["b_distance"].value.tolist() == [9.9, 9.9]
    both = infer_table(mocks(), n_samples=20, distance=9.9)
    assert both["distance_used"].value.tolist() == [9.9, 9.9]
    assert repeat(both, distance=None)[1]["distance"].value.tolist() == [9.9, 9.9]


def test_one_row_repeats_its_distance():
    out = infer_table(mocks(), n_samples=20, distance=[5.0, 25.0])
    np.testing.assert_allclose(sample_posterior(out[1:], n_samples=30)["mass"][0],
                               sample_posterior(out, n_samples=30)["mass"][1], rtol=1e-4)


def test_a_function_as_prior_is_asked_for():
    def steep(theta):
        return -3 * theta[..., 1]

    def flat(theta):
        return 0 * theta[..., 1]

    out = infer_table(mocks(), n_samples=50, prior=steep)
    with pytest.raises(InputError, match=r"function, steep, which a table cannot store.*prior"):
        sample_posterior(out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample_posterior(out, prior=steep, n_samples=10)
    with pytest.warns(AstropyUserWarning, match="prior"):
        sample_posterior(out, prior=flat, n_samples=10)


@pytest.mark.parametrize(("options", "text"), [
    ({"noise": "normal"}, r"noise \(lognormal; now normal\)"),
    ({"refine": False}, r"refine \(True; now False\)"),
    ({"error_floor": None}, r"error_floor \(0.05; now 0.0\)"),
    ({"prior": SLOPE}, r"prior \(uniform.*; now another\)"),
    ({"distance": 20}, r"distance \(10 Mpc in row 0; now 20 Mpc\)"),
    ({"model": "walter2025"}, r"the model \(any_bands"),
    ({"columns": {b: (b, f"{b}_err") for b in WFC3_BANDS[:3]}}, "columns"),
])
def test_options_that_contradict_it_warn(options, text):
    out = infer_table(mocks(), n_samples=20)
    with pytest.warns(AstropyUserWarning, match=text):
        sample_posterior(out, n_samples=10, **options)


@pytest.mark.parametrize("options", [{"noise": "lognormal"}, {"refine": True}, {"error_floor": 0.05}, {"seed": 5},
                                     {"distance": 10}, {"model": "any_bands"}, {"n_samples": 3},
                                     {"prior": BoxPrior([0.0, 2.0, 0.0], [np.log10(13750.0), 8.0, 1.5])}])
def test_options_that_say_the_same_do_not_warn(options):
    sample_posterior(infer_table(mocks(), n_samples=20), **{"n_samples": 10, **options})


def test_other_weights_of_the_model_warn():
    out = infer_table(mocks(), n_samples=20)
    out.meta["CPHASH"] = "0123456789abcdef"
    with pytest.warns(AstropyUserWarning, match="any_bands, weights 01234567; now any_bands, weights"):
        sample_posterior(out, n_samples=10)


def test_a_model_that_is_not_here_is_asked_for():
    out = infer_table(mocks(), n_samples=20)
    out.meta["CPMODEL"] = "mine"
    with pytest.raises(ModelError, match="made with the model 'mine', which is not available"):
        sample_posterior(out, n_samples=10)


def test_a_model_of_the_users_own_is_found_again(tmp_path):
    import shutil

    from clusterpost.flow.bundled import MODELS_PATH

    for suffix in ("json", "safetensors"):
        shutil.copy(MODELS_PATH / f"walter2025.{suffix}", tmp_path / f"any_bands.{suffix}")
    out = infer_table(mocks(), n_samples=20, model=tmp_path / "any_bands", refine=False)
    np.testing.assert_array_equal(
        sample_posterior(out, n_samples=10)["age"],
        sample_posterior(mocks(), n_samples=10, model="walter2025", refine=False)["age"])


def test_results_side_by_side_keep_their_own_settings():
    out = infer_table(infer_table(mocks(), n_samples=50, prefix="a_"), n_samples=50, noise="normal", prefix="b_")
    with pytest.raises(InputError, match="'a_', 'b_'; choose one"):
        sample_posterior(out)
    for prefix, noise in (("a_", "lognormal"), ("b_", "normal")):
        np.testing.assert_array_equal(sample_posterior(out, prefix=prefix, n_samples=20)["age"],
                                      sample_posterior(mocks(), noise=noise, n_samples=20)["age"])


def test_tables_of_the_first_version():
    """They have the readable keys alone."""
    out = infer_table(mocks(), n_samples=50, noise="normal", error_floor=0.2, seed=8)
    del out.meta["CPRECORD"]
    np.testing.assert_array_equal(
        sample_posterior(out, n_samples=20)["age"],
        sample_posterior(mocks(), noise="normal", error_floor=0.2, seed=8, n_samples=20)["age"])
    out.meta["CPPRIOR"] = SLOPE.describe()
    with pytest.raises(InputError, match="recorded as text only"):
        sample_posterior(out)


def test_the_exact_grid_is_repeated():
    out = clusterpost.exact_posterior(mocks(), prior=SLOPE, distance=12)
    drawn = sample_posterior(out, n_samples=500)
    assert quantiles_agree(drawn, out, 200)


def test_the_family_of_the_exact_grid_is_repeated():
    out = clusterpost.exact_posterior(mocks(), model="walter2025", noise="normal")
    drawn = sample_posterior(out, n_samples=500)
    assert (drawn.meta["CPMODEL"], drawn.meta["CPNOISE"]) == ("walter2025", "normal")


def test_recalibrated_quantiles_are_told_from_draws():
    out = infer_table(mocks(), n_samples=20)
    out.meta["CPRECAL"] = True
    with pytest.warns(AstropyUserWarning, match="recalibrated, draws are not"):
        sample_posterior(out, n_samples=10)


def test_draws_asked_for_are_recorded():
    assert sample_posterior(mocks(), n_samples=7).meta["CPDRAWS"] == 7
    assert infer_table(mocks()).meta["CPDRAWS"] == 1000
    draws = sample_posterior(infer_table(mocks(), n_samples=20, distance=7), n_samples=5)
    assert {"CPDIST", "CPFLOOR", "CPLAYOUT", "CPMODEL", "CPVERS"} <= set(draws.meta)


@pytest.mark.parametrize("call", [infer_table, sample_posterior, clusterpost.exact_posterior])
@pytest.mark.parametrize("seed", [1.5, -1, "a", None])
def test_a_seed_is_a_whole_number(call, seed):
    if seed is None and call is sample_posterior:
        pytest.skip("leaves it open")
    with pytest.raises(InputError, match="seed="):
        call(mocks(), seed=seed)


# Figures


@pytest.fixture(scope="module")
def slope():
    """A result far from what the defaults would give."""
    return infer_table(in_my_columns(mocks())[["flux0", "sigma0", "flux1", "sigma1", "flux2", "sigma2", "flux3",
                                               "sigma3", "flux4", "sigma4"]],
                       n_samples=2000, columns=MINE, distance=25, prior=SLOPE, noise="normal", error_floor=0.1)


def medians(out, row=0):
    return np.array([coordinate(out, f"{name}_q50")[row] for name in WIDTH])


def test_the_corner_plot_is_of_the_result(slope):
    pytest.importorskip("corner")
    figure = clusterpost.plot_posterior(slope[0], n_samples=2000)
    half = np.array([coordinate(slope, f"{n}_q84")[0] - coordinate(slope, f"{n}_q16")[0] for n in WIDTH]) / 2
    assert (np.abs(corner_draws(figure) - medians(slope)) < 0.25 * half).all()


def test_the_corner_plot_at_the_shell(slope, tmp_path, monkeypatch):
    pytest.importorskip("corner")
    from clusterpost.plotting import posterior

    figures = []
    drawn = posterior.plot_posterior
    monkeypatch.setattr(posterior, "plot_posterior", lambda *a, **k: figures.append(drawn(*a, n_samples=2000, **k))
                        or figures[-1])
    monkeypatch.setattr(clusterpost.plotting, "plot_posterior", posterior.plot_posterior, raising=False)
    write_catalog(slope, tmp_path / "out.fits")
    options = ["--kind", "corner", "--row", "0", "--quiet"]
    assert main(["plot", str(tmp_path / "out.fits"), str(tmp_path / "c.png"), *options]) == 0
    half = np.array([coordinate(slope, f"{n}_q84")[0] - coordinate(slope, f"{n}_q16")[0] for n in WIDTH]) / 2
    assert (np.abs(corner_draws(figures[0]) - medians(slope)) < 0.25 * half).all()


def test_other_figures_repeat_it(slope):
    from clusterpost.plotting import plot_support

    plot_support(slope, mocks=mocks())


def test_resimulated_fluxes_are_those_of_the_result(slope):
    from clusterpost.validation import map_chi2, predictive_check, resimulate

    table = resimulate(slope, [0], n_draws=50)
    np.testing.assert_allclose(table["flux"], [slope[f][0].to_value(u.mJy) for f, _ in MINE.values()])
    assert ((table["q16"] < 3 * table["flux"]) & (table["flux"] < 3 * table["q84"])).all()
    np.testing.assert_allclose(map_chi2(slope)["chi2_map"], slope["chi2_map"], rtol=0.02)
    assert len(predictive_check(slope, n_draws=10)) == 10


def test_a_table_is_no_result_of_another(slope):
    assert recorded_settings(Table({"a": [1]})) is None
    assert repeat(Table({"a": [1]}), error_floor=None, seed=None, noise=None)[1] == {
        "error_floor": None, "seed": 0, "noise": None}


def test_messages_are_in_the_words_of_the_place(tmp_path, capsys):
    out = infer_table(infer_table(mocks(), n_samples=20, prefix="a_"), n_samples=20, noise="normal", prefix="b_")
    with pytest.raises(InputError, match=r"choose one with prefix='\.\.\.'"):
        sample_posterior(out)
    write_catalog(out, tmp_path / "out.fits")
    assert main(["sample", str(tmp_path / "out.fits"), str(tmp_path / "draws.fits")]) == 2
    assert "choose one with --prefix\n" in capsys.readouterr().err
    out = infer_table(mocks(), n_samples=20, prior=lambda theta: 0 * theta[..., 0])
    write_catalog(out, tmp_path / "function.fits")
    assert main(["sample", str(tmp_path / "function.fits"), str(tmp_path / "draws.fits")]) == 2
    assert "Give the prior with --prior, or --mass-slope and --ebv-scale" in capsys.readouterr().err
