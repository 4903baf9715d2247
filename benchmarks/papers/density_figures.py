"""One cluster's posterior from several sources side by side: network, refined, exact, Markov chains."""

import numpy as np

from clusterpost.errors import InputError
from clusterpost.infer import infer_table, sample_posterior
from clusterpost.plotting.style import COLORS, LABELS, NUMERALS, new_figure, plain_log_ticks, style
from clusterpost.provenance import AUTO, repeat
from clusterpost.utils import require
from clusterpost.validation.fits import catalog_parameters, drawn_parameters, inferred_parameters
from clusterpost.validation.predictive import resimulate

from .densities import gridded_density, mcmc_draws

_PAIRS = ((0, 1), (0, 2), (1, 2))
_SHARES = (0.393, 0.865, 0.989)  # of 1, 2 and 3 sigma in two dimensions
_MOST = 6
_KINDS = ("network", "refined", "exact")
_REPEATED = {"noise": None, "prior": None, "error_floor": AUTO, "distance": None, "columns": None}


def plot_densities(tbl, *, titles=None, model="default", published=None, n_samples=10_000, seed=None, figure=None,
                   **options):
    """Posterior densities of a few clusters by the network, refined and exact.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry of one to six clusters, with or without results.
    titles : sequence of str, optional
        Of the clusters, such as "very young".
    model : str or path
        As for `~clusterpost.infer_table`.
    published : str, dict or False, optional
        As for `~clusterpost.compare_with_catalog`; False marks no catalog values.
    n_samples : int
        Draws from the network, and as many refined ones.
    seed : int
        Of the draws.
    figure : Figure, optional
        To draw in.
    **options
        ``noise``, ``prior``, ``error_floor``, ``distance``, ``columns`` and ``prefix`` of
        `~clusterpost.sample_posterior`, by default those that the results in the table were made with.

    Returns
    -------
    matplotlib.figure.Figure
        For each cluster, from the top: densities of each parameter (network filled, refined in outline, exact dashed),
        then of each pair by the network, refined and exact, in the same colors, smoothed alike by a sixtieth of the
        panel, and with contours that hold 39, 86 and 99 %.  Triangles mark the MAP, crosses the catalog's fit.

    Raises
    ------
    InputError
        If there are more clusters than six, or one cannot be inferred.

    Notes
    -----
    The layout of Walter et al. (2025), Fig. 5.  The exact density is likelihood times prior on a grid
    (`.densities.gridded_density`).
    """
    if not 1 <= len(tbl) <= _MOST:
        raise InputError(f"one to {_MOST} clusters are drawn side by side, not {len(tbl)}; "
                         "pick some rows of it")
    bare, options = _repeated(tbl, model, seed, options)
    draws = {kind: _draws(bare, n_samples, kind == "refined", options) for kind in _KINDS[:2]
             if options["prior"] is None or kind == "refined"}
    best = inferred_parameters(infer_table(bare, prefix="_figure_", progress=False, **options),
                               "map", prefix="_figure_")
    catalog = catalog_parameters(tbl, published)
    n_columns = min(2, len(tbl))
    n_lines = -(-len(tbl) // n_columns)
    with style():
        figure = new_figure(figure, width=6.2 * n_columns, height=7.6 * n_lines)
        parts = np.atleast_2d(figure.subfigures(n_lines, n_columns, squeeze=False, wspace=0.03, hspace=0.03))
        for k, part in enumerate(parts.flat[:len(tbl)]):
            samples = {kind: values[k] for kind, values in draws.items()}
            bounds = _bounds(np.concatenate(list(samples.values())))
            exact = gridded_density(bare[k:k + 1], bounds, **_without_seed(options))
            title = f"{NUMERALS[k]}" + (f": {titles[k]}" if titles is not None else "")
            handles = _example(part, title, samples, exact, bounds, best[k], catalog[k])
        figure.legend(*handles, loc="outside lower center", ncols=5)
    return figure


def _repeated(tbl, model, seed, options):
    """Return the table without its record, and the settings of its results."""
    prefix = options.pop("prefix", None)
    return repeat(tbl, prefix=prefix, model=model, seed=seed, **{**_REPEATED, **options})


def _without_seed(options):
    return {name: value for name, value in options.items() if name != "seed"}


def _draws(tbl, n_samples, refine, options):
    drawn = sample_posterior(tbl, n_samples=n_samples, refine=refine, progress=False, **options)
    theta = drawn_parameters(drawn)
    bad = np.flatnonzero(~np.isfinite(theta).all((1, 2)))
    if len(bad):
        raise InputError(f"row {bad[0]} cannot be inferred; the flag column of infer_table says why")
    return theta


def _bounds(samples):
    """Find a box that holds nearly all draws, no further than the prior."""
    from clusterpost.priors import cluster_prior

    prior = cluster_prior()
    low, high = np.percentile(samples, [0.05, 99.95], axis=0)
    margin = np.maximum(0.12 * (high - low), 0.01)
    return np.stack([np.maximum(low - margin, prior.low.numpy()), np.minimum(high + margin, prior.high.numpy())])


def _example(part, title, samples, exact, bounds, best, catalog):
    rows = [*samples, "exact"]
    part.suptitle(title, fontsize=12)
    axes = part.subplots(1 + len(rows), 3)
    for i, ax in enumerate(axes[0]):
        for kind, look in (("network", {"histtype": "stepfilled", "color": "0.8"}),
                           ("refined", {"histtype": "step", "color": COLORS["posterior"], "lw": 1.3})):
            if kind in samples:
                ax.hist(samples[kind][:, i], bins=np.linspace(*bounds[:, i], 51), density=True, label=kind, **look)
        ax.plot(exact.axes[i], exact.marginal(i), color="black", ls="--", lw=1.2, label="exact")
        ax.set(xlim=bounds[:, i], yticks=[], ylim=(0, None), xlabel=LABELS[i])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    for column, (i, j) in enumerate(_PAIRS):
        fields = {kind: _smoothed(values[:, i], values[:, j], bounds[:, [i, j]]) for kind, values in samples.items()}
        fields["exact"] = (exact.axes[i], exact.axes[j], _blurred(exact.marginal(i, j)))
        top = max(np.percentile(field[2][field[2] > 0], 99.5) for field in fields.values())
        for ax, kind in zip(axes[1:, column], rows, strict=True):
            x, y, density = fields[kind]
            ax.pcolormesh(x, y, density.T, cmap="Blues", vmin=0, vmax=top, shading="auto", rasterized=True)
            heights = _heights(density)
            ax.contour(x, y, density.T, levels=heights, colors="0.25", linewidths=0.7)
            ax.set(xlim=bounds[:, i], ylim=bounds[:, j], ylabel=LABELS[j])
            marks = _mark(ax, best[[i, j]], catalog[[i, j]])
            ax.tick_params(top=False, right=False, labelsize=8)
            if kind != rows[-1]:
                ax.tick_params(labelbottom=False)
        axes[-1, column].set_xlabel(LABELS[i])
    for ax, kind in zip(axes[1:, 0], rows, strict=True):
        ax.text(0.03, 0.97, kind, transform=ax.transAxes, va="top", fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})
    return [*handles, *marks], [*labels, "MAP", "catalog fit"][:len(labels) + len(marks)]


def _mark(ax, best, catalog):
    look = {"ms": 8, "mec": "white", "ls": "none", "zorder": 5, "clip_on": False}
    marks = ax.plot(*best, marker="^", color=COLORS["map"], **look)
    limits = np.array([ax.get_xlim(), ax.get_ylim()]).T
    inside = bool(((limits[0] <= catalog) & (catalog <= limits[1])).all())
    if np.isfinite(catalog).all():
        marks += ax.plot(*catalog, marker="X", color=COLORS["catalog"], **{**look, "clip_on": not inside})
    return marks


def _smoothed(x, y, bounds, bins=90):
    """Density of draws."""
    density, *edges = np.histogram2d(x, y, bins=bins, range=bounds.T, density=True)
    return *((edge[:-1] + edge[1:]) / 2 for edge in edges), _blurred(density)


def _blurred(density):
    """Smoothed by a sixtieth of its sides, mirrored at its edges."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(density, [n / 60 for n in density.shape], mode="reflect")


def _heights(density):
    """Ascending densities above which the shares lie; strictly, as contours want them."""
    ordered = np.sort(density.ravel())[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    heights = [ordered[min(np.searchsorted(held, share), len(ordered) - 1)] for share in reversed(_SHARES)]
    return sorted(set(heights))


def plot_with_mcmc(row, *, model="default", n_samples=10_000, n_chains=4, seed=None, figure=None, **options):
    """One cluster's posterior by Markov chains and by this package, in one corner plot.

    Parameters
    ----------
    row : Table of one row
        Photometry.
    model, n_samples, seed
        As for `~clusterpost.sample_posterior`.
    n_chains : int
        As for `.densities.mcmc_draws`.
    figure : Figure, optional
        To draw in.
    **options
        ``noise``, ``prior``, ``error_floor``, ``distance``, ``columns`` and ``prefix`` of
        `~clusterpost.sample_posterior`, by default those that the results in the table were made with.

    Returns
    -------
    matplotlib.figure.Figure
        Contours hold 39 and 86 % of the probability: black by emcee, which knows no network
        (`.densities.mcmc_draws`), in color the refined draws, dotted the network alone (left out where
        ``prior`` is not the network's).  In the corner the fluxes at either best point, and as observed with +-3
        sigma.

    Raises
    ------
    InputError
        If the row cannot be inferred.

    Notes
    -----
    The layout of Hahn & Melchior (2022), Fig. 2.
    """
    corner = require("corner", "plot")
    row, options = _repeated(row, model, seed, options)
    chain, converged = mcmc_draws(row, n_samples, n_chains=n_chains, **options)
    ours = {"refined": _draws(row, n_samples, True, options)[0]}
    if options["prior"] is None:
        ours["network alone"] = _draws(row, n_samples, False, options)[0]
    bounds = _bounds(np.concatenate([chain, *ours.values()]))
    looks = {"emcee": (chain, "black", "solid"), "refined": (ours["refined"], COLORS["posterior"], "solid")}
    if "network alone" in ours:
        looks["network alone"] = (ours["network alone"], COLORS["mode"], "dotted")
    with style():
        figure = new_figure(figure, width=7.6, height=7.6, layout=None)
        for name, (samples, color, line) in looks.items():
            corner.corner(samples, fig=figure, range=bounds.T, labels=LABELS, bins=40, smooth=1.2, smooth1d=0.8,
                          levels=(0.393, 0.865), color=color, plot_datapoints=False, plot_density=False,
                          fill_contours=False, no_fill_contours=True, max_n_ticks=5,
                          weights=np.full(len(samples), 1 / len(samples)),
                          hist_kwargs={"lw": 1.4, "ls": line, "label": name},
                          contour_kwargs={"linewidths": 1.3, "linestyles": line})
        axes = np.array(figure.axes).reshape(3, 3)
        for i in range(3):
            axes[i, i].set_ylim(0, 1.06 * max(line.get_ydata().max() for line in axes[i, i].lines))
            for label in (*axes[i, 0].get_yticklabels(), *axes[2, i].get_xticklabels()):
                label.set_rotation(0)
            axes[i, 0].yaxis.set_label_coords(-0.27, 0.5)
            axes[2, i].xaxis.set_label_coords(0.5, -0.15)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if not converged:
            labels[0] += " (not converged)"
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.37, 0.95))
        _sed_corner(figure, row, chain, options)
        figure.subplots_adjust(left=0.1, bottom=0.09, right=0.98, top=0.97, wspace=0.06, hspace=0.06)
    return figure


def _sed_corner(figure, row, chain, options):
    """Fluxes at the best of the chain and at the MAP."""
    from clusterpost.validation.targets import read_target

    out = infer_table(row, prefix="_figure_", progress=False, **options)
    table = resimulate(out, [0], False, n_draws=10, prefix="_figure_", **options)
    _, target = read_target(row, **_without_seed(options))
    import torch

    theta = torch.as_tensor(chain)[None]
    peak = theta[:, target.log_density(theta)[0].argmax()][:, None]
    fluxes = torch.exp(target.ln_flux(peak))[0, 0].numpy()
    by_band = dict(zip(target.table.bands, fluxes, strict=True))
    wavelength, flux, error = np.asarray(table["wavelength"]) / 1e4, 1e3 * table["flux"], 1e3 * table["error"]
    ax = figure.add_axes((0.74, 0.745, 0.24, 0.215))
    detected = ~np.asarray(table["limit"])
    ax.errorbar(wavelength[detected], flux[detected], yerr=3 * error[detected], fmt="o", ms=3.5, color=COLORS["map"],
                lw=1, label=r"observed, $\pm3\sigma$", zorder=3)
    ax.plot(wavelength, 1e3 * table["map"], color=COLORS["posterior"], lw=1.2, marker="_", ms=10, label="MAP")
    ax.plot(wavelength, [1e3 * by_band[band] for band in table["band"]], color="black", ls=":", lw=1.4,
            label="best of emcee")
    ax.set(yscale="log", xlabel=r"pivot wavelength [$\mu$m]", ylabel=r"$f_\nu$ [$\mu$Jy]")
    plain_log_ticks(ax.yaxis, *ax.get_ylim())
    ax.tick_params(labelsize=8)
    ax.legend(fontsize=7)
