"""Figures in a notebook."""

import io

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from clusterpost.plotting import plot_catalog, plot_posterior
from clusterpost.plotting.figure import NotebookFigure

pytestmark = pytest.mark.usefixtures("exact_by_default")


def test_a_figure_shows_itself(catalog):
    figure = plot_catalog(catalog)
    assert isinstance(figure, Figure)
    assert imread(io.BytesIO(figure._repr_png_())).ndim == 3


def test_ipython_takes_it(catalog, samples):
    formatters = pytest.importorskip("IPython.core.formatters")
    figure = plot_posterior(catalog[4], samples=samples)
    data, _ = formatters.DisplayFormatter().format(figure)
    assert data["image/png"].startswith(b"\x89PNG")


def test_a_figure_of_the_users_own_stays_what_it_is(catalog):
    assert not isinstance(plot_catalog(catalog, figure=Figure()), NotebookFigure)
