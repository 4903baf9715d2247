"""Figures as pictures, beside small ones that were looked at.

Made anew by ``pytest tests/plotting/test_images.py --mpl-generate-path=tests/plotting/baseline``.
"""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from astropy import units as u

import clusterpost
from clusterpost.plotting import (
    plot_age_distribution,
    plot_age_mass,
    plot_catalog,
    plot_color_color,
    plot_color_magnitude,
    plot_mass_function,
    plot_posterior,
    plot_sed,
    plot_sky,
)

pytest.importorskip("corner")
pytest.importorskip("pytest_mpl")
pytestmark = [pytest.mark.usefixtures("exact_by_default"),
              pytest.mark.skipif(matplotlib.__version__.split(".")[:2] != ["3", "11"],
                                 reason="the pictures were made with Matplotlib 3.11, and others place text "
                                        "elsewhere")]

image = pytest.mark.mpl_image_compare(baseline_dir=str(Path(__file__).parent / "baseline"), style="default",
                                      tolerance=12, savefig_kwargs={"dpi": 40})


@pytest.fixture(scope="module")
def out():
    tbl = clusterpost.simulate(60, model="any_bands", seed=4, distance=10, errors=0.1)
    rng = np.random.default_rng(1)
    tbl["id"] = np.arange(60) + 1000
    tbl["RA"], tbl["DEC"] = rng.normal(24.1, 0.02, 60) * u.deg, rng.normal(15.7, 0.02, 60) * u.deg
    out = clusterpost.infer_table(tbl, model="any_bands", n_samples=300, progress=False)
    out["flag"] = np.where(np.arange(60) < 8, 256, 0)  # whatever flags there are
    return out


@image
def test_posterior(out, samples):
    return plot_posterior(out[3], samples=samples, truth=[2.0, 4.9, 0.1], catalog=[0.8, 4.1, 0.6])


@image
def test_posterior_linear(out, samples):
    return plot_posterior(out[3], samples=samples, linear=("age",), name="NGC 1 in linear ages")


@image
def test_sed(out):
    return plot_sed(out[3], n_samples=500)


@image
def test_object(out):
    return plot_sed(out[12], n_samples=500, corner=True)


@image
def test_color_color(out):
    return plot_color_color(out)


@image
def test_color_magnitude(out):
    return plot_color_magnitude(out, ("F438W", "F814W"), "F555W", system="Vega", color="support")


@image
def test_age_mass(out):
    return plot_age_mass(out, limit=("F555W", 25.0))


@image
def test_mass_function(out):
    return plot_mass_function(out, n_draws=40)


@image
def test_age_distribution(out):
    return plot_age_distribution(out, n_draws=40, per="Myr")


@image
def test_sky(out):
    return plot_sky(out)


@image
def test_catalog(out):
    return plot_catalog(out)
