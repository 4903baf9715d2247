"""MAPs against fine grids."""

import numpy as np
import pytest

import clusterpost
from benchmarks.papers import maps
from benchmarks.papers.maps import grid_chi2, map_shortfall

pytestmark = pytest.mark.usefixtures("exact_by_default")


@pytest.mark.parametrize("noise", ["lognormal", "normal"])
def test_the_map_is_no_worse_than_a_fine_grid(noise):
    table = map_shortfall(clusterpost.simulate(12, seed=4, noise=noise), noise=noise, error_floor=None, progress=False)
    assert len(table) == 12
    assert max(table["log_density"]) < 0.005
    if noise == "normal":
        assert max(table["chi2"]) < 0.01


def test_a_map_that_is_off_is_noticed(monkeypatch):
    def off(tbl, **options):
        out = clusterpost.infer_table(tbl, **options)
        out["mass_map"] *= 1.1
        return out

    monkeypatch.setattr(maps, "infer_table", off)
    table = map_shortfall(clusterpost.simulate(6, seed=4), progress=False)
    assert np.median(table["log_density"]) > 0.05


def test_under_normal_noise_the_map_has_the_least_chi_square():
    out = clusterpost.infer_table(clusterpost.simulate(4, noise="normal", seed=2), noise="normal")
    grid = grid_chi2(out)
    assert (out["chi2_map"] <= grid + 0.01).all()
    out = clusterpost.infer_table(clusterpost.simulate(8, errors=0.3, seed=2))
    assert (out["chi2_map"] > grid_chi2(out) + 0.01).any()
