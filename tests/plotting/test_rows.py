"""Rows that cannot be drawn, and the choice of those that are."""

import numpy as np
import pytest

import clusterpost
from clusterpost.errors import InputError
from clusterpost.plotting import (
    plot_age_distribution,
    plot_age_mass,
    plot_catalog,
    plot_mass_function,
    plot_posterior,
    plot_sed,
    plot_support,
)


@pytest.fixture(scope="module")
def out():
    """A result of six clusters, of which the last two have one band and none."""
    tbl = clusterpost.simulate(6, model="any_bands", seed=4, distance=10, errors=0.1)
    tbl["name"] = [f"C{i}" for i in range(6)]
    bands = [name for name in tbl.colnames if name.startswith("F") and not name.endswith("_err")]
    for band in bands:
        tbl[band][5] = np.nan
        if band != "F814W":
            tbl[band][4] = np.nan
    return clusterpost.infer_table(tbl, model="any_bands", n_samples=100, progress=False)


@pytest.mark.parametrize("plot", [plot_posterior, plot_sed])
@pytest.mark.parametrize("row", [4, 5])
def test_a_row_without_posterior_is_refused_with_its_name_and_flags(out, plot, row):
    message = rf"^row {row} \(C{row}\) was not inferred .* flags: missing band, too few bands$"
    with pytest.raises(InputError, match=message):
        plot(out[row])


def test_a_row_that_was_never_inferred_is_refused_likewise(out):
    photometry = out[[name for name in out.colnames if name[0] == "F" or name in ("distance", "name")]]
    with pytest.raises(InputError, match=r"^row 4 \(C4\) was not inferred .* flags: .*too few bands$"):
        plot_sed(photometry[4], model="any_bands")
    for plot in (plot_posterior, plot_sed):
        with pytest.raises(InputError, match=r"^row 5 is missing in every band"):
            plot(photometry[5], model="any_bands")


@pytest.mark.parametrize("plot", [plot_catalog, plot_age_mass, plot_mass_function, plot_age_distribution])
def test_rows_none_of_which_has_a_posterior(out, plot):
    with pytest.raises(InputError, match=r"none of these 2 rows has a posterior to draw; their flags: missing band "
                                         r"\(2 rows\), too few bands \(2 rows\)"):
        plot(out[[4, 5]])


def test_the_support_is_drawn_of_the_rows_of_an_expression(out):
    figure = plot_support(out, where="name in ('C0', 'C1')", mocks=out)
    assert figure.axes
    with pytest.raises(InputError, match="no row is left to draw by"):
        plot_support(out, where="name == 'nobody'", mocks=out)
