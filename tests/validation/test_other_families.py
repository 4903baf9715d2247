"""Checks follow the model's family: galaxies of nine parameters at known redshifts."""

import numpy as np
import pytest

import clusterpost
from clusterpost.errors import InputError
from clusterpost.plotting import plot_comparison, plot_deviation, plot_seds
from clusterpost.training.simulation import Simulator
from clusterpost.validation import (
    PosteriorSampler,
    compare_with_catalog,
    control_table,
    map_chi2,
    predictive_check,
    predictive_summary,
    published_residuals,
    resimulate,
    validate_model,
)


@pytest.fixture(scope="module")
def out():
    return clusterpost.infer_table(clusterpost.simulate(8, model="galaxies", seed=3), model="galaxies", n_samples=300)


@pytest.fixture(scope="module")
def truth():
    parameters = clusterpost.load_model("galaxies").family.parameters
    return {p.column: (f"{p.column}_true", None, None, None, p.unit) for p in parameters}


def test_repeated_measurements(out):
    summary = predictive_summary(predictive_check(out, n_draws=60))
    assert summary["band"].tolist() == ["u_SDSS", "g_SDSS", "r_SDSS", "i_SDSS", "z_SDSS", "all"]
    assert (np.abs(summary["offset"]) < 0.05).all()
    assert summary["inside"][-1] > 50


def test_chi_squares_and_fluxes(out, truth):
    table = map_chi2(out, truth)
    assert np.isfinite(table["chi2_catalog"]).all()
    assert (table["chi2_catalog_free_mass"] <= table["chi2_catalog"] + 1e-9).all()
    np.testing.assert_allclose(table["chi2_map"], out["chi2_map"], rtol=1e-2, atol=1e-3)
    seds = resimulate(out, [0, 2], truth, n_draws=30)
    assert len(seds) == 10
    assert "tau_ism" in seds.colnames
    assert (seds["q84"] > seds["q16"]).all()
    plot_seds(seds).draw_without_rendering()


def test_published_parameters_and_derived_quantities(out, truth):
    table = compare_with_catalog(out, truth)
    assert table["parameter"].tolist() == list(clusterpost.load_model("galaxies").family.parameter_names)
    assert (table["n"] == 8).all()
    tbl = out.copy()
    tbl["mass_left"] = tbl["stellar_mass_q50"] * 10**0.1
    row = compare_with_catalog(tbl, {"stellar_mass": ("mass_left", None, None, None, "solMass")})[0]
    assert row["parameter"] == "log_stellar_mass"
    assert row["median_offset"] == pytest.approx(-0.1, abs=1e-6)
    with pytest.raises(InputError, match=r"published has \['age'\]"):
        compare_with_catalog(out, {"age": truth["tau_ism"]})
    assert len(plot_comparison(out, truth).axes) == 18
    assert len(plot_deviation(out, truth).axes) == 9


def test_residuals_at_the_truth(out, truth):
    residuals = published_residuals(out, truth)
    assert (np.abs(residuals["residual"]) < 0.15).all()


@pytest.mark.slow
def test_controls():
    sampler = PosteriorSampler("galaxies", refine=False)
    table = control_table(sampler, Simulator.of(sampler.model), sizes=(100,), n_draws=20, progress=False)
    assert {"log_mstar", "tau_ism", "log_mstar tau_ism"} <= set(table.colnames)
    rows = {row["control"]: row for row in table}
    assert rows["shifted by 0.5"]["log_mstar"] == "100"
    assert rows["none"]["log_mstar"] == "not caught"


def test_exact_posteriors_are_refused_before_any_work(tmp_path):
    pytest.importorskip("sklearn")
    with pytest.raises(InputError, match="galaxies have no exact form"):
        validate_model("galaxies", tmp_path / "out", n_mocks=10**9, exact=5)
    assert not (tmp_path / "out").exists()
