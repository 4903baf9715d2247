"""The comparison with known ages: its numbers mean what they say, and hold on the catalogs where there are any."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def truth():
    """Load the module; it is a script of a folder and no package."""
    path = ROOT / "benchmarks" / "truth.py"
    if not path.exists():
        pytest.skip("the benchmarks are not part of an installed package")
    spec = importlib.util.spec_from_file_location("truth", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(shift, width, n=4000):
    """True log ages, and intervals of some width about truths that are moved and scattered by 0.3 dex."""
    generator = np.random.default_rng(3)
    at = generator.uniform(1, 3, n)
    mid = at + shift + 0.3 * generator.standard_normal(n)
    return Table({"truth": at, "truth_mass": np.full(n, np.nan), "low": mid - width, "mid": mid, "high": mid + width,
                  "mass_low": mid, "mass_mid": mid, "mass_high": mid})


def test_numbers_of_what_is_known(truth):
    good, wrong = truth.numbers({"good": results(0.0, 0.3), "wrong": results(1.2, 0.1)})
    assert good["n"] == 4000
    assert good["bias"] == pytest.approx(0, abs=0.03)
    assert good["scatter"] == pytest.approx(0.3, abs=0.02)
    assert good["age inside [%]"] == pytest.approx(68, abs=3)
    assert good["off by 1 dex [%]"] < 1
    assert wrong["bias"] == pytest.approx(1.2, abs=0.03)
    assert wrong["off by 1 dex [%]"] == pytest.approx(75, abs=3)
    assert wrong["age inside [%]"] < 2


def test_shares_by_mass(truth):
    part = results(0.0, 0.3, n=300)
    part["truth_mass"] = np.repeat([2.5, 3.2, 9.0], 100)
    table = truth.by_mass({"one": part})
    assert list(table["low"]) == [2.0, 3.0]
    assert list(table["n"]) == [100, 100]


def test_clusters_that_are_not_inferred_are_not_counted(truth):
    part = results(0.0, 0.3, n=100)
    part["mid"][:10] = np.nan
    (row,) = truth.numbers({"one": part})
    assert row["n"] == 90
    assert np.isfinite(row["bias"])


def test_figures_are_drawn(truth, tmp_path):
    shares = results(0.0, 0.3, n=50)
    shares["truth_mass"] = 3.2
    truth.draw_ages({"a, b": shares}, ["a, b"], "clusters").savefig(tmp_path / "ages.png")
    truth.draw_coverage(truth.by_mass({"a": shares})).savefig(tmp_path / "coverage.png")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("ages.png", "coverage.png"))


@pytest.mark.slow
def test_ages_of_m31(truth, shared_data):
    numbers = {row["assumed"]: row for row in truth.numbers(truth.m31(shared_data / "truth" / "m31_phat.ecsv"))}
    assert numbers["any_bands, three bands"]["off by 1 dex [%]"] > 20  # what this is to be better than
    assert numbers["stochastic"]["off by 1 dex [%]"] <= 15.5
    own = next(row for name, row in numbers.items() if "metallicity of the disk" in name)
    assert own["off by 1 dex [%]"] <= 8
    assert own["n"] == 617


@pytest.mark.slow
def test_ages_of_the_large_magellanic_cloud(truth, shared_data):
    path = shared_data / "truth" / "lmc_hunter_glatt_popescu.ecsv"
    numbers = {row["assumed"]: row for row in truth.numbers(truth.lmc(path))}
    default, known = numbers["stochastic"], numbers["stochastic, E(B-V) of the diagram"]
    assert abs(default["bias"]) <= 0.16
    assert default["scatter"] <= 0.43
    assert default["off by 1 dex [%]"] <= 6.5
    assert known["scatter"] <= 0.33
