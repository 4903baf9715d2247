"""The figure of a training run."""

from clusterpost.plotting import plot_training


def test_losses_and_learning_rate_are_drawn():
    history = [{"step": s, "mocks_seen": s * 1_000_000, "learning_rate": 1e-3 / s, "training_nll": -s + 0.1,
                "validation_nll": -float(s)} for s in (1, 2, 3)]
    figure = plot_training(history)
    loss, rate = figure.axes
    drawn = {line.get_label(): line for line in loss.lines}
    assert list(drawn["validation"].get_xdata()) == [1, 2, 3]
    assert list(drawn["validation"].get_ydata()) == [-1, -2, -3]
    assert rate.get_yscale() == "log"
    assert len(rate.lines[0].get_ydata()) == 3
