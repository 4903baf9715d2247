"""Calibration figures."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from clusterpost.plotting import plot_sbc
from clusterpost.plotting.style import COLORS
from clusterpost.validation import STATISTICS, SBCResult


@pytest.fixture
def result():
    ranks = np.random.default_rng(0).integers(0, 21, size=(500, 6))
    ranks[:250, 2] //= 2
    return SBCResult(ranks, tuple(STATISTICS), 20)


def test_one_row_per_statistic(result):
    figure = plot_sbc(result)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 12
    figure.draw_without_rendering()


def test_a_curve_that_leaves_the_band_stands_out(result):
    figure = plot_sbc(result)
    colors = [ax.lines[0].get_color() for ax in figure.axes[1::2]]
    assert [color == COLORS["fail"] for color in colors] == [not ok for ok in result.passes().values()]
    assert "LEAVES" in figure.axes[5].texts[0].get_text()
    np.testing.assert_allclose(figure.axes[5].lines[0].get_ydata(), result.ecdf_difference()[1][2])


def test_histograms_are_relative_to_expectation(result):
    figure = plot_sbc(result, bins=7)
    values = figure.axes[0].patches[0].get_data().values
    assert len(values) == 7
    np.testing.assert_allclose(np.average(values, weights=result.histogram(7).expected), 1)


def test_other_statistics_and_a_given_figure():
    figure = Figure()
    result = SBCResult(np.arange(40)[:, None] % 5, ("mine",), 4)
    assert plot_sbc(result, figure=figure) is figure
    assert figure.axes[0].texts[0].get_text() == "mine"
