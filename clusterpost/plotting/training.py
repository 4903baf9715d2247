"""Figures of a training run."""

from __future__ import annotations

from .style import COLORS, new_figure, style

__all__ = ["plot_training"]


def plot_training(history, *, figure=None):
    """Loss against mocks seen.

    Parameters
    ----------
    history : list of dict
        ``card["training"]["history"]`` of a model, or ``history`` of a
        `~clusterpost.training.fit.FitResult`.
    figure : Figure, optional
        To draw in.

    Returns
    -------
    matplotlib.figure.Figure
        Validation NLL and the running training NLL (nat), with the learning
        rate on a second axis.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_training
    >>> figure = plot_training(clusterpost.load_model("walter2025").card["training"]["history"])
    """
    seen = [h["mocks_seen"] / 1e6 for h in history]
    with style():
        figure = new_figure(figure, width=7, height=4)
        ax = figure.subplots()
        ax.plot(seen, [h["training_nll"] for h in history], color="0.6", lw=1, label="training (running mean)")
        ax.plot(seen, [h["validation_nll"] for h in history], color=COLORS["posterior"], marker="o", ms=4,
                label="validation")
        ax.set(xlabel="mocks seen [million]", ylabel="negative log likelihood [nat]", xlim=(0, None))
        rate = ax.twinx()
        rate.plot(seen, [h["learning_rate"] for h in history], color=COLORS["mode"], ls=":", drawstyle="steps-mid",
                  label="learning rate")
        rate.set(yscale="log", ylabel="learning rate")
        figure.legend(loc="upper right", bbox_to_anchor=(1, 1), bbox_transform=ax.transAxes)
    return figure
