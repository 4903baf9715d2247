"""Calibration figures."""

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from clusterpost.errors import InputError
from clusterpost.plotting import plot_coverage, plot_pp, plot_regions, plot_sbc
from clusterpost.plotting.style import COLORS
from clusterpost.validation import STATISTICS, SBCResult, expected_coverage


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


class TestDiagonals:
    names = ("log_age", "log_mass", "ebv")

    def ranks(self, shift=0):
        ranks = np.random.default_rng(1).integers(0, 21, size=(800, 3))
        ranks[:, 1] = np.clip(ranks[:, 1] - shift, 0, 20)
        return SBCResult(ranks, self.names, 20)

    def test_pp_curves_are_cumulative_distributions(self):
        result = self.ranks()
        figure = plot_pp(result)
        above, below = figure.axes
        z, difference = result.ecdf_difference()
        assert (len(above.lines), len(below.lines)) == (4, 4)  # the diagonal, and a curve for each
        for line, lower, row in zip(above.lines[1:], below.lines[1:], difference, strict=True):
            np.testing.assert_allclose(line.get_ydata(), z + row)
            np.testing.assert_allclose(lower.get_ydata(), row, atol=1e-12)
        figure.draw_without_rendering()

    def test_a_curve_outside_is_named(self):
        labels = [line.get_label() for line in plot_pp(self.ranks(shift=4)).axes[0].lines[1:]]
        assert ["LEAVES" in label for label in labels] == [False, True, False]

    def test_coverage_of_both_kinds_of_region(self):
        hpd, tarp = (SBCResult(self.ranks().ranks[:, [i]], (name,), 20) for i, name in enumerate(("HPD", "TARP")))
        figure = plot_coverage(hpd, tarp)
        curves = figure.axes[0].lines[1:]
        np.testing.assert_allclose(curves[0].get_ydata(), expected_coverage(hpd)[1][0])
        np.testing.assert_allclose(curves[1].get_ydata(), expected_coverage(tarp)[1][0])
        assert "highest-density" in curves[0].get_label()
        given = Figure()
        assert plot_coverage(hpd, figure=given) is given


def regions(by, of_band):
    n = len(of_band)
    table = Table({"region": np.arange(1, n + 1), "low": np.arange(n) + 2.0, "high": np.arange(n) + 2.0,
                   "statistic": ["ebv"] * n, "n": [1000] * n, "max_difference": [0.01] * n, "of_band": of_band,
                   "inside_band": np.array(of_band) <= 1}, meta={"by": by, "level": 0.99})
    return table


def test_regions_beside_their_band():
    figure = plot_regions(regions("n_bands", [0.5, 1.5]), regions("snr", [0.2, 0.3, 0.4]))
    first, second = figure.axes
    np.testing.assert_array_equal(first.lines[0].get_ydata(), [0.5, 1.5])
    outside = first.lines[1]
    assert outside.get_color() == COLORS["fail"]
    assert list(outside.get_ydata()) == [1.5]
    assert first.get_ylim()[1] > 1.5
    assert [label.get_text() for label in first.get_xticklabels()] == ["2\n(1,000)", "3\n(1,000)"]
    assert len(second.get_xticklabels()) == 3
    assert second.get_xlabel().startswith("median flux / error")
    figure.draw_without_rendering()


def test_figures_of_nothing_are_refused():
    with pytest.raises(InputError, match=r"give one or more results of clusterpost\.validation\.coverage_ranks"):
        plot_coverage()
    with pytest.raises(InputError, match=r"give one or more tables of clusterpost\.validation\.by_region"):
        plot_regions()
