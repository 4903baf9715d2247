"""What a user gets who names no model: clusters drawn star by star, and for the exact posterior the paper's setting."""

import runpy
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.cli import main
from clusterpost.errors import ColumnError, InputError
from clusterpost.flags import NOT_INFERRED

SIX = ("age", "mass", "ebv", "metallicity", "rv", "nebular_covering")
ROOT = Path(clusterpost.__file__).parents[1]


@pytest.fixture(scope="module")
def tbl():
    """Every sixth cluster of the example catalog, of all ages."""
    return clusterpost.example_catalog()[::6]


@pytest.fixture(scope="module")
def out(tbl):
    return clusterpost.infer_table(tbl)


@pytest.fixture(scope="module")
def files(tbl, tmp_path_factory):
    folder = tmp_path_factory.mktemp("default")
    clusterpost.write_catalog(tbl[:3], folder / "catalog.fits")
    return folder


def run(*arguments):
    return main([*map(str, arguments), "--quiet"])


def inside(mocks, out, name):
    truth = np.asarray(mocks[f"{name}_true"])
    return np.mean((truth > np.asarray(out[f"{name}_q16"])) & (truth < np.asarray(out[f"{name}_q84"])))


class TestExampleCatalog:
    def test_it_is_inferred_star_by_star(self, tbl, out):
        assert {f"{name}_{q}" for name in SIX for q in ("q16", "q50", "q84", "map")} <= set(out.colnames)
        assert not (np.asarray(out["flag"]) & NOT_INFERRED).any()
        named = clusterpost.infer_table(tbl[:3], model="stochastic")
        np.testing.assert_allclose(out["age_q50"][:3], named["age_q50"], rtol=1e-4)

    def test_metadata_say_so(self, out):
        assert (out.meta["CPMODEL"], out.meta["CPPRIOR"], out.meta["CPFLOOR"]) == ("stochastic", "survey", 0.12)
        assert out.meta["CPREFINE"] is True

    def test_ages_and_masses_are_those_of_the_clusters(self, tbl, out):
        for name, most in (("age", 0.35), ("mass", 0.3)):
            offset = np.abs(np.log10(np.asarray(out[f"{name}_q50"]) / np.asarray(tbl[f"{name}_true"])))
            assert np.median(offset) < most
        assert np.median(np.abs(np.log10(np.asarray(out["age_q50"])[::-1] / np.asarray(tbl["age_true"])))) > 0.35

    def test_draws_repeat_it(self, out):
        draws = clusterpost.sample_posterior(out[:2], n_samples=50)
        assert draws["metallicity"].shape == (2, 50)
        assert draws.meta["CPMODEL"] == "stochastic"
        one = np.array([[2.0, 4.0, 0.1, 0.0, 3.1, 0.5]] * 2)
        assert np.isfinite(clusterpost.log_prob(out[:2], one)).all()

    def test_the_report_and_citations_are_of_it(self, out, tmp_path, coarse_figures):
        assert "conroy2010" in clusterpost.cite(out)
        assert "conroy2010" in clusterpost.cite()
        pytest.importorskip("jinja2")
        pytest.importorskip("corner")
        clusterpost.write_report(out[:4], tmp_path / "report.html", objects=0)
        assert "stochastic" in (tmp_path / "report.html").read_text()


def test_bands_of_legus(out):
    """Two cameras, magnitudes of LEGUS, and gaps."""
    bands = ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS")
    mocks = clusterpost.simulate(3, bands=bands, distance=9.9, errors=0.1, seed=2)
    mocks["F275W"][0] = np.nan
    legus = clusterpost.infer_table(mocks, n_samples=200)
    assert list(legus["n_bands"]) == [4, 5, 5]
    assert not (np.asarray(legus["flag"]) & NOT_INFERRED).any()
    wide = clusterpost.simulate(2, bands=("F606W", "F814W", "F160W_IR", "F657N"), distance=5, errors=0.1, seed=2)
    assert list(clusterpost.infer_table(wide, n_samples=200)["n_bands"]) == [4, 4]


def test_mocks_are_inferred_as_what_they_are():
    """Truths lie in 68 % intervals as often as they should; masses under the other model do not."""
    mocks = clusterpost.simulate(150, seed=1)
    assert set(mocks.colnames) == {*(f"{name}_true" for name in SIX), "distance",
                                   *WFC3_BANDS, *(f"{band}_err" for band in WFC3_BANDS)}
    out = clusterpost.infer_table(mocks, error_floor=None, n_samples=300)
    for name in SIX:
        assert 0.55 < inside(mocks, out, name) < 0.82, name
    other = clusterpost.infer_table(mocks, model="any_bands", error_floor=None, n_samples=300)
    assert inside(mocks, other, "ebv") < 0.55


class TestThePapersSetting:
    def test_is_one_argument_away(self, tbl):
        out = clusterpost.infer_table(tbl[:2], model="any_bands")
        assert (out.meta["CPMODEL"], out.meta["CPFLOOR"], out.meta["CPREFINE"]) == ("any_bands", 0.05, True)
        assert "metallicity_q50" not in out.colnames

    def test_is_that_of_the_exact_posterior(self, tbl):
        """Whatever the default model is: its results, and draws of them, are of fully sampled clusters."""
        exact = clusterpost.exact_posterior(tbl[:2])
        assert exact.meta["CPMODEL"] == "exact grid"
        draws = clusterpost.sample_posterior(exact, n_samples=2000)
        assert draws.meta["CPMODEL"] == "any_bands"
        np.testing.assert_allclose(np.median(np.asarray(draws["ebv"]), 1), exact["ebv_q50"], atol=0.02)
        assert "bruzual2003" in clusterpost.cite(exact)

    def test_may_be_made_the_default(self, tbl):
        with clusterpost.conf.set_temp("default_model", "any_bands"):
            assert clusterpost.infer_table(tbl[:1]).meta["CPMODEL"] == "any_bands"
            assert "metallicity_true" not in clusterpost.simulate(2).colnames
        assert clusterpost.load_model().name == "stochastic"

    def test_its_results_are_drawn_with_it(self, tbl):
        out = clusterpost.infer_table(tbl[:1], model="any_bands", n_samples=100)
        assert clusterpost.sample_posterior(out, n_samples=50).meta["CPMODEL"] == "any_bands"


class TestRemedies:
    def test_options_that_need_a_likelihood(self, tbl):
        with pytest.raises(InputError, match=r"has no likelihood.*model='any_bands'"):
            clusterpost.infer_table(tbl[:1], noise="normal")
        assert clusterpost.infer_table(tbl[:1], noise="lognormal", n_samples=50).meta["CPNOISE"] == "lognormal"

    def test_at_the_shell(self, files, capsys):
        assert run("infer", files / "catalog.fits", files / "no.fits", "--noise", "normal") == 2
        assert "omit --noise, or choose a model with a likelihood: --model 'any_bands'" in capsys.readouterr().err
        assert not (files / "no.fits").exists()

    def test_parameters_of_fully_sampled_clusters(self):
        params = QTable({"age": [5.0] * u.Myr, "mass": [1e4] * u.solMass, "ebv": [0.1] * u.mag})
        with pytest.raises(ColumnError, match=r"no column 'metallicity'.*model='any_bands' for age, mass and ebv"):
            clusterpost.simulate(params)
        assert clusterpost.simulate(params, model="any_bands", distance=10)["F555W"].unit == u.mJy


class TestShell:
    def test_infer(self, files, out):
        assert run("infer", files / "catalog.fits", files / "out.fits") == 0
        shell = Table.read(files / "out.fits")
        assert shell.meta["CPMODEL"] == "stochastic"
        np.testing.assert_allclose(shell["age_q50"], out["age_q50"][:3], rtol=1e-5)  # in single precision
        assert run("sample", files / "out.fits", files / "draws.ecsv", "-n", 10) == 0
        assert "rv" in Table.read(files / "draws.ecsv").colnames

    def test_the_others(self, files):
        assert run("infer", files / "catalog.fits", files / "ab.ecsv", "--model", "any_bands", "-n", 50) == 0
        assert Table.read(files / "ab.ecsv").meta["CPMODEL"] == "any_bands"
        assert run("infer", files / "catalog.fits", files / "exact.ecsv", "--exact") == 0
        assert Table.read(files / "exact.ecsv").meta["CPMODEL"] == "exact grid"

    def test_an_uncertain_distance_leaves_the_prior_as_it_is(self, files):
        options = ["--distance-error", 0.05, "-n", 50]
        assert run("infer", files / "catalog.fits", files / "far.ecsv", *options) == 0
        assert Table.read(files / "far.ecsv").meta["CPPRIOR"].startswith("survey, ")
        assert run("infer", files / "catalog.fits", files / "far_ab.ecsv", *options, "--model", "any_bands") == 0
        assert "survey" not in Table.read(files / "far_ab.ecsv").meta["CPPRIOR"]

    def test_simulate(self, files):
        assert run("simulate", files / "mocks.ecsv", "-n", 3) == 0
        assert "metallicity_true" in Table.read(files / "mocks.ecsv").colnames
        assert run("simulate", files / "full.ecsv", "-n", 3, "--model", "any_bands") == 0
        assert "metallicity_true" not in Table.read(files / "full.ecsv").colnames

    def test_in_parts(self, files):
        pytest.importorskip("pyarrow")
        assert run("infer", files / "catalog.fits", files / "parts.parquet", "-n", 50) == 0
        assert "metallicity_q50" in clusterpost.read_catalog(files / "parts.parquet").colnames

    def test_help_names_it(self, capsys):
        with pytest.raises(SystemExit):
            main(["infer", "--help"])
        assert "(default: stochastic; any_bands for" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_the_readmes_first_command(tmp_path, capsys):
    """``examples/first_catalog.py`` infers the example with the default model and draws it."""
    pytest.importorskip("corner")
    main = runpy.run_path(str(ROOT / "examples" / "first_catalog.py"))["main"]
    main(tmp_path)
    assert "200 of 200 rows inferred" in capsys.readouterr().out
    result = clusterpost.read_catalog(tmp_path / "posteriors.fits")
    assert result.meta["CPMODEL"] == "stochastic"
    assert "metallicity_q50" in result.colnames
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_draws_in_single_precision_are_finite(out):
    """Clusters emit up to 1e52 ionizing photons a second, and single precision ends at 3e38."""
    single, double = (clusterpost.sample_posterior(out[:3], n_samples=50, dtype=dtype) for dtype in ("float32", float))
    assert single["age"].dtype == np.float32
    for name in single.colnames:
        if getattr(single[name], "ndim", 1) == 2:
            assert np.isfinite(single[name]).all(), name
            np.testing.assert_allclose(single[name], double[name], rtol=1e-6)
