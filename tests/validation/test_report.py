"""Everything that is checked of a model, in a folder."""

import json
import os
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy.table import Table

import clusterpost
from clusterpost import load_model
from clusterpost.flow.bundled import MODELS_PATH
from clusterpost.flow.metadata import certificate_of
from clusterpost.validation import validate_model

pytest.importorskip("matplotlib")

SMALL = {"n_mocks": 60, "n_draws": 20, "n_refined": 0, "progress": False}
STATISTICS = ["T1", "T2", "T3", "T4", "T5", "T6", "HPD", "TARP"]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A copy of the replica in a folder of the user's."""
    (tmp_path / "models").mkdir()
    for suffix in (".json", ".safetensors"):
        shutil.copy(MODELS_PATH / f"walter2025{suffix}", tmp_path / "models" / f"mine{suffix}")
    return tmp_path / "models" / "mine"


def sources(page):
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend(value for name, value in attrs if name in ("src", "href"))

    Reader().feed(page)
    return found


@pytest.mark.slow
def test_tables_figures_page_and_certificate_are_written(tmp_path, mine, coarse_figures):
    folder = tmp_path / "new" / "folder"
    tables = validate_model(mine, folder, seed=3, certify=True, **SMALL)
    assert list(tables["sbc_network"]["statistic"]) == STATISTICS
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(
        ["report.html", "certificate.json", "sbc_network.png", "pp_network.png", "coverage_network.png",
         "regions_network.png", "training.png", *(f"{name}.ecsv" for name in tables)])
    written = Table.read(folder / "calibration.ecsv")
    assert written.meta["n_mocks"] == 60
    assert written.meta["sha256"] == load_model("walter2025").card["sha256"]
    page = (folder / "report.html").read_text()
    assert {source.split(",")[0].split("-")[0] for source in sources(page)} == {"data:image/png;base64", "#part"}
    assert "Validation of mine" in page
    worst = json.loads((folder / "certificate.json").read_text())["posteriors"]["network"]["max_difference"]
    assert f"largest ECDF difference of T1 to T6 {100 * worst:.2f} %" in page
    certificate = certificate_of(load_model(mine).card)
    assert certificate == json.loads((folder / "certificate.json").read_text())
    assert certificate["n_mocks"] == 60


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_card_that_cannot_be_written_is_noticed_first(tmp_path, mine):
    mine.parent.chmod(0o555)
    with pytest.raises(OSError, match="cannot be written into"):
        validate_model(mine, tmp_path / "out", certify=True, **SMALL)
    mine.parent.chmod(0o755)


@pytest.mark.slow
def test_real_photometry_and_controls(tmp_path, shared_data, coarse_figures):
    """Every table and figure of a catalog, from twelve clusters."""
    (path,) = shared_data.glob("*ngc628-c*.tab")
    catalog = clusterpost.read_catalog(path, distance_source="legus")
    catalog = catalog[np.flatnonzero(np.isin(catalog["class_mode"], [1, 2]))[::50]]
    tables = validate_model("any_bands", tmp_path, n_mocks=100, n_draws=20, n_refined=0, controls=True,
                            catalog=catalog, distance_source="legus", progress=False)
    assert {"controls", "predictive", "comparison", "inliers"} <= set(tables)
    figures = {path.stem for path in tmp_path.glob("*.png")}
    assert {"flux_errors", "predictive", "support", "comparison", "deviation"} <= figures


@pytest.mark.parametrize("options", [{"exact": 5}, {"controls": True}])
def test_without_scikit_learn_the_extra_is_named_before_any_work(tmp_path, monkeypatch, options):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'clusterpost\[validation\]'"):
        validate_model("walter2025", tmp_path / "out", n_mocks=10**9, **options)
    assert not (tmp_path / "out").exists()
