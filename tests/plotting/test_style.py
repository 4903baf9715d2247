"""Settings that all figures share."""

import matplotlib
import pytest
from matplotlib.figure import Figure

from clusterpost.plotting.style import new_axes, plain_log_ticks, style


def test_settings_of_the_user_win():
    with matplotlib.rc_context({"font.size": 17, "axes.linewidth": 3.0}), style():
        assert matplotlib.rcParams["font.size"] == 17
        assert matplotlib.rcParams["axes.linewidth"] == 3.0
        assert matplotlib.rcParams["ytick.direction"] == "in"
    assert matplotlib.rcParams["ytick.direction"] == "out"


def test_axes_are_taken_or_made():
    ax = Figure().subplots()
    assert new_axes(ax) is ax
    assert new_axes().figure is not ax.figure


@pytest.mark.parametrize(("low", "high", "expected"), [(0.6, 3, {"1", "2"}), (3, 80, {"5", "10", "20"}),
                                                       (1, 13000, {"1", "100", "10,000"})])
def test_numbers_along_a_logarithmic_axis(low, high, expected):
    figure = Figure()
    ax = figure.subplots()
    ax.set(xscale="log", xlim=(low, high))
    plain_log_ticks(ax.xaxis, low, high)
    figure.draw_without_rendering()
    assert expected <= {label.get_text() for label in ax.get_xticklabels()}
