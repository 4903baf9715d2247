"""Figures of a training run and of a hyperparameter search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .style import COLORS, new_figure, plain_log_ticks, style

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure

__all__ = ["plot_search", "plot_training"]


def plot_training(history: list[dict[str, float]], *, figure: Figure | None = None) -> Figure:
    """Draw the training loss against the number of mocks seen.

    Parameters
    ----------
    history : list of dict
        ``card["training"]["history"]`` of a model, or ``history`` of a
        `~clusterpost.training.fit.FitResult`.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        Validation NLL and the running mean of the training objective (nat), with the learning rate on a second axis.

    Notes
    -----
    The training objective is the NLL of the mocks, unless a recipe adds a term to it later in the training
    (`~clusterpost.training.objectives.LogVariance`).  The objective then jumps, and the two curves are no longer
    comparable.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_training
    >>> card = clusterpost.load_model("walter2025").card
    >>> figure = plot_training(card["training"]["history"])
    """
    seen = [h["mocks_seen"] / 1e6 for h in history]
    with style():
        figure = new_figure(figure, width=7, height=4)
        ax = figure.subplots()
        ax.plot(seen, [h["training_loss"] for h in history], color="0.6", lw=1,
                label="training objective (running mean)")
        ax.plot(seen, [h["validation_nll"] for h in history], color=COLORS["posterior"], marker="o", ms=4,
                label="validation NLL")
        ax.set(xlabel="mocks seen [million]", ylabel="loss [nat]", xlim=(0, None))
        rate = ax.twinx()
        rate.plot(seen, [h["learning_rate"] for h in history], color=COLORS["mode"], ls=":", drawstyle="steps-mid",
                  label="learning rate")
        rate.set(yscale="log", ylabel="learning rate")
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def plot_search(table: Table, *, figure: Figure | None = None) -> Figure:
    """Draw accuracy against speed for the trials of a hyperparameter search.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Output of `clusterpost.training.search.search`.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        Held-out NLL and importance efficiency (median, with a bar down to the 1 % quantile) against draws per
        second for completed trials, and the NLL against the number of weights for all trials within the same range.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.plotting import plot_search
    >>> table = Table({"family": ["affine", "spline"],
    ...                "state": ["complete", "complete"], "nll": [-2.5, -3.5],
    ...                "draws_per_second": [2e4, 5e4],
    ...                "n_weights": [1_680_000, 300_000],
    ...                "efficiency_1": [0.01, 0.3], "efficiency_50": [0.3, 0.8]})
    >>> figure = plot_search(table)
    """
    complete = np.asarray(table["state"]) == "complete"
    colors = dict(zip(("affine", "spline"), (COLORS["map"], COLORS["posterior"]), strict=True))
    with style():
        figure = new_figure(figure, width=10, height=3.8)
        speed, even, size = figure.subplots(1, 3)
        for family in sorted(set(table["family"])):
            of_family = np.asarray(table["family"]) == family
            done, left = table[of_family & complete], table[of_family & ~complete]
            color = colors.get(family, COLORS["mode"])
            look = {"color": color, "ls": "none", "marker": "o", "ms": 5, "label": family}
            if complete.any():
                speed.plot(done["draws_per_second"], done["nll"], **look)
                low, middle = done["efficiency_1"], done["efficiency_50"]
                even.errorbar(done["draws_per_second"], middle, yerr=[middle - low, 0 * middle], elinewidth=1, **look)
            size.plot(done["n_weights"], done["nll"], **look)
            size.plot(left["n_weights"], left["nll"], color=color, ls="none", marker="x", ms=4, alpha=0.6,
                      label=f"{family}, pruned")
        speed.set(xscale="log", xlabel="draws per second", ylabel="held-out NLL [nat]")
        even.set(xscale="log", ylim=(0, 1), xlabel="draws per second", ylabel="importance efficiency, 1 to 50 %")
        size.set(xscale="log", xlabel="weights", ylabel="held-out NLL [nat]")
        if complete.any():  # trials pruned for diverging can have arbitrarily large losses
            size.set_ylim(speed.get_ylim())
            for ax in (speed, even):
                plain_log_ticks(ax.xaxis, *ax.get_xlim())
        figure.legend(*size.get_legend_handles_labels(), loc="outside upper center", ncols=6)
    return figure
