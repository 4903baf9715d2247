import numpy as np
import pytest

import clusterpost
from clusterpost.catalogs.example import EXAMPLE_PATH
from clusterpost.catalogs.recognition import recognize
from clusterpost.photometry import Photometry
from clusterpost.training.example import make_example_catalog


@pytest.fixture(scope="module")
def example():
    return clusterpost.example_catalog()


def test_the_bundled_file_is_what_the_code_makes(example):
    made = make_example_catalog()
    assert made.colnames == example.colnames
    assert len(example) == 200
    for name in made.colnames:
        # other builds of torch and numpy round exponentials and logarithms elsewhere
        np.testing.assert_allclose(
            np.asarray(example[name], float), np.asarray(made[name], float), rtol=1e-5, err_msg=name
        )
        assert example[name].unit == made[name].unit
    assert dict(example.meta) == dict(made.meta)


def test_another_seed_makes_another():
    other = make_example_catalog(seed=1)
    assert len(other) == 200
    assert not np.isclose(other["PHANGS_F555W_mJy"], make_example_catalog()["PHANGS_F555W_mJy"]).any()


def test_it_says_that_it_is_simulated(example):
    text = " ".join(example.meta["comments"])
    assert "Simulated" in text
    assert "no object here is real" in text
    assert example.meta["OBJECT"] == "simulated"


def test_layout(example):
    layout = recognize(example)
    assert layout.name == "PHANGS DR4"
    assert layout.bands["F555W"].error == "PHANGS_F555W_mJy_TOT_ERR"
    assert layout.bands["F275W"].error == "PHANGS_F275W_mJy_ERR"
    assert set(np.unique(example["PHANGS_CLUSTER_CLASS_HUMAN"])) <= {1, 2}


def test_limits_and_missing_bands(example):
    photometry = Photometry.from_table(example)
    assert 0 < photometry.limit.any(axis=1).sum() < 100
    np.testing.assert_array_equal(photometry.limit.sum(axis=1), example["PHANGS_NON_DETECTION_FLAG"])
    assert photometry.missing.sum() == 8
    np.testing.assert_array_equal(photometry.missing.sum(axis=1), example["PHANGS_NO_COVERAGE_FLAG"])
    assert (example["PHANGS_F275W_mJy"][photometry.missing[:, 0]] == -9999).all()
    assert (example["PHANGS_F275W_mJy_ERR"][photometry.limit[:, 0]] < 0).all()
    assert photometry.sources["distance"] == "meta"
    assert (photometry.distance == 15).all()
    assert (photometry.flux[~photometry.missing] > 0).all()


def test_magnitudes_and_fluxes_agree(example):
    names = {b: (f"PHANGS_{b}_VEGA", f"PHANGS_{b}_VEGA_ERR") for b in ("F275W", "F336W", "F438W", "F555W", "F814W")}
    fluxes = Photometry.from_table(example, error_floor=None)
    magnitudes = Photometry.from_table(example, columns=names, error_floor=None)
    np.testing.assert_allclose(magnitudes.flux, fluxes.flux, rtol=1e-6)
    np.testing.assert_allclose(magnitudes.error, fluxes.error, rtol=1e-6)
    np.testing.assert_array_equal(magnitudes.limit, fluxes.limit)


def test_each_call_gives_a_table_of_its_own(example):
    clusterpost.example_catalog()["INDEX"][0] = 77
    assert clusterpost.example_catalog()["INDEX"][0] == 0
    assert EXAMPLE_PATH.stat().st_size < 500_000
