"""The figures of a training run and of a search."""

import numpy as np
import pytest
from astropy.table import Table

from clusterpost.plotting import plot_search, plot_training


def test_losses_and_learning_rate_are_drawn():
    history = [{"step": s, "mocks_seen": s * 1_000_000, "learning_rate": 1e-3 / s, "training_loss": -s + 0.1,
                "validation_nll": -float(s)} for s in (1, 2, 3)]
    figure = plot_training(history)
    loss, rate = figure.axes
    drawn = {line.get_label(): line for line in loss.lines}
    assert list(drawn["validation NLL"].get_xdata()) == [1, 2, 3]
    assert list(drawn["validation NLL"].get_ydata()) == [-1, -2, -3]
    assert rate.get_yscale() == "log"
    assert len(rate.lines[0].get_ydata()) == 3


class TestSearch:
    rows = (
        {"family": "affine", "state": "complete", "nll": -2.5, "draws_per_second": 2e4, "n_weights": 1_680_000,
         "efficiency_1": 0.01, "efficiency_50": 0.3},
        {"family": "spline", "state": "complete", "nll": -3.5, "draws_per_second": 5e4, "n_weights": 300_000,
         "efficiency_1": 0.3, "efficiency_50": 0.8},
        {"family": "spline", "state": "pruned", "nll": -1.5, "n_weights": 90_000},
    )

    def test_accuracy_against_speed(self):
        speed, even, size = plot_search(Table(rows=self.rows)).axes
        drawn = {line.get_label(): line for line in speed.lines}
        assert list(drawn) == ["affine", "spline"]
        assert (drawn["spline"].get_xdata(), drawn["spline"].get_ydata()) == ([5e4], [-3.5])
        (bar,) = [c for c in even.containers if c.get_label() == "spline"]
        assert list(bar.lines[0].get_ydata()) == pytest.approx([0.8])
        assert np.asarray(bar.lines[2][0].get_segments()[0])[:, 1] == pytest.approx([0.3, 0.8])
        of_size = {line.get_label(): list(line.get_ydata()) for line in size.lines}
        assert of_size == {"affine": [-2.5], "affine, pruned": [], "spline": [-3.5], "spline, pruned": [-1.5]}

    def test_pruned_trials_alone(self):
        speed, _, size = plot_search(Table(rows=self.rows[2:])).axes
        assert not speed.lines
        assert [list(line.get_ydata()) for line in size.lines] == [[], [-1.5]]
