"""A validation with the papers' sections."""

from functools import partial

import numpy as np
import pytest

import clusterpost
from benchmarks.papers.__main__ import add_sections
from benchmarks.papers.density_figures import plot_with_mcmc
from clusterpost.validation.report import Validation

pytest.importorskip("matplotlib")


@pytest.mark.slow
def test_claims_are_those_of_the_tables(tmp_path, shared_data, coarse_figures, monkeypatch):
    """Every table and figure of a catalog, from twelve clusters; what chains find has its own test."""
    monkeypatch.setattr("benchmarks.papers.catalog.plot_with_mcmc", partial(plot_with_mcmc, n_samples=500, n_chains=1))
    (path,) = shared_data.glob("*ngc628-c*.tab")
    catalog = clusterpost.read_catalog(path, distance_source="legus")
    catalog = catalog[np.flatnonzero(np.isin(catalog["class_mode"], [1, 2]))[::50]]
    run = Validation("any_bands", tmp_path, n_mocks=60, n_draws=20, n_refined=0, seed=1, exact=12, catalog=catalog,
                     distance_source="legus", progress=False)
    add_sections(run, n_exact=4, progress=False)
    run.finish()
    assert (tmp_path / "report.html").is_file()
    tables = run.report.tables
    assert {"chi2", "outliers", "maps", "nll"} <= set(tables)
    figures = {path.stem for path in tmp_path.glob("*.png")}
    assert {"comparison", "deviation", "chi2", "densities", "seds", "mcmc"} <= figures
    claims = {row["claim"]: row["ours"] for row in tables["walter2025_claims"]}
    assert not [claim for claim, ours in claims.items() if "--catalog" in ours or "--exact" in ours]
    row = tables["comparison"][0]
    assert claims["Table 1: our MAP inside theirs"].startswith(f"{row['map_inside']:.1f} /")
    chi2 = {row["parameters"]: row["median"] for row in tables["chi2"]}
    assert chi2["grid"] <= chi2["map"] < chi2["catalog"]
