"""Figures of `benchmarks/galaxies.py`: those of Hahn & Melchior (2022), and masses against published ones."""

import json
from pathlib import Path

import numpy as np
import torch

import clusterpost
from clusterpost import flags
from clusterpost.plotting import plot_pp, plot_sbc
from clusterpost.plotting.style import COLORS, new_figure, style
from clusterpost.utils import require, whole_file

_BANDS = ("u_SDSS", "g_SDSS", "r_SDSS", "i_SDSS", "z_SDSS")
_WAVELENGTH = (0.354, 0.475, 0.622, 0.763, 0.905)  # micron
_AB = 3631e3  # mJy
#: Columns of the chains' draws, as parameters.
_LOW = np.array([0, 0, 0, np.log10(4.5e-5), np.log10(4.5e-5), 0, 0, -2])
_HIGH = np.array([1, 1, 1, np.log10(1.5e-2), np.log10(1.5e-2), 3, 3, 1])
_DERIVED = ("log_stellar_mass", "log_sfr_1gyr", "age_mw")
_GROUPS = (("poor fit, or outside support", flags.POOR_FIT | flags.OUTSIDE_SUPPORT, COLORS["mode"]),)


def _save(figure, path, dpi=100):
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def _plain(column):
    return np.ma.filled(np.ma.asarray(getattr(column, "value", column), dtype=float), np.nan)


def with_chain(model, folder, out, path, name="nsa_12"):
    """Draw twelve quantities by Markov chains, by the network alone and refined, and the fluxes of the best fit.

    Notes
    -----
    The layout of Hahn & Melchior (2022), Fig. 2.
    """
    corner = require("corner", "plot")
    with np.load(Path(folder) / f"{name}.npz") as file:
        chain, flux = file["draws"].astype(float), file["flux"]
    references = json.loads((Path(folder) / "references.json").read_text())
    (row,) = [i for i, one in enumerate(references) if np.allclose(one["obj"]["f"], flux)]
    family = model.family
    theta = torch.as_tensor(np.column_stack([chain[:, 8], _LOW + chain[:, :8] * (_HIGH - _LOW)])).float()
    known = {"redshift": torch.full((len(theta),), float(out["redshift"][row]))}
    quantities = [*family.parameters, *(one for one in family.derived if one.name in _DERIVED)]
    chains = torch.stack([*theta.unbind(-1), *(one.function(theta, known) for one in quantities[9:])], -1).numpy()
    samples = {"MCMC": chains}
    for label, refine in (("network alone", False), ("refined", True)):
        drawn = clusterpost.sample_posterior(out[row:row + 1], model=model, n_samples=8000, refine=refine, seed=1,
                                             progress=False)
        values = [_plain(drawn[one.column])[0] for one in quantities]
        samples[label] = np.stack([np.log10(x) if getattr(one, "log10", False) else x
                                   for one, x in zip(quantities, values, strict=True)], -1)
    every = np.concatenate(list(samples.values()))
    bounds = np.stack([np.quantile(every, 0.001, axis=0), np.quantile(every, 0.999, axis=0)], -1)
    looks = {"MCMC": ("black", "solid"), "network alone": (COLORS["mode"], "dotted"),
             "refined": (COLORS["posterior"], "solid")}
    n = len(quantities)
    with style():
        figure = new_figure(width=13, height=13, layout=None)
        for label, (color, line) in looks.items():
            corner.corner(samples[label], fig=figure, range=bounds, labels=[one.label for one in quantities], bins=30,
                          label_kwargs={"fontsize": 9},
                          smooth=1.0, smooth1d=0.8, levels=(0.393, 0.865), color=color, plot_datapoints=False,
                          plot_density=False, no_fill_contours=True, max_n_ticks=3,
                          weights=np.full(len(samples[label]), 1 / len(samples[label])),
                          hist_kwargs={"lw": 1.2, "ls": line, "label": label},
                          contour_kwargs={"linewidths": 1.0, "linestyles": line})
        axes = np.array(figure.axes).reshape(n, n)
        for i in range(n):
            axes[i, i].set_ylim(0, 1.06 * max(line.get_ydata().max() for line in axes[i, i].lines))
            for ax in axes[i]:
                ax.tick_params(labelsize=7)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0.3, 0.97), fontsize=12)
        _fluxes(figure.add_axes((0.62, 0.72, 0.34, 0.24)), family, out[row], theta, known)
        figure.subplots_adjust(left=0.07, bottom=0.07, right=0.99, top=0.99, wspace=0.05, hspace=0.05)
    _save(figure, path, dpi=75)


def _fluxes(ax, family, row, theta, known):
    """Draw the observed fluxes, and those of the MAP and of the best draw of the chain."""
    flux, error = (np.array([float(_plain(row[band + suffix])) for band in _BANDS]) for suffix in ("", "_err"))
    best = torch.tensor([float(_plain(row[f"{one.column}_map"])) for one in family.parameters])[None]
    one = {"redshift": known["redshift"][:1]}
    predicted = torch.exp(family.simulate(best, one))[0].numpy()
    every = torch.exp(family.simulate(theta, known)).numpy()
    of_chain = every[np.argmin((((every - flux) / error) ** 2).sum(1))]
    ax.errorbar(_WAVELENGTH, flux, yerr=3 * error, fmt="o", color=COLORS["map"], label=r"observed, $\pm3\sigma$")
    ax.plot(_WAVELENGTH, predicted, color=COLORS["posterior"], marker="_", ms=14, label="MAP")
    ax.plot(_WAVELENGTH, of_chain, color="black", ls=":", label="best of the chain")
    ax.set(yscale="log", xlabel=r"wavelength [$\mu$m]", ylabel=r"$f_\nu$ [mJy]")
    ax.legend()


def support(out, path):
    """Draw magnitudes, errors and colors of a catalog: the galaxies that are not explained, over all and mocks.

    Notes
    -----
    After Hahn & Melchior (2022), Fig. 5.
    """
    mocks = clusterpost.simulate(20_000, model="galaxies", seed=5)
    z = _plain(out["redshift"])
    mocks = mocks[_plain(mocks["redshift"]) < 1.2 * np.nanmax(z)]

    def magnitudes(tbl):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([-2.5 * np.log10(_plain(tbl[band]) / _AB) for band in _BANDS], 1)

    def errors(tbl):
        return np.stack([1.0857 * _plain(tbl[band + "_err"]) / _plain(tbl[band]) for band in _BANDS], 1)

    ours, theirs, sigma, flag = magnitudes(out), magnitudes(mocks), errors(out), np.asarray(out["flag"])
    marked = [(name, (flag & bits) != 0, color) for name, bits, color in _GROUPS]
    with style():
        figure = new_figure(width=10.5, height=6.6)
        axes = figure.subplots(2, 3)
        for ax, band in zip(axes[0], (0, 2, 4), strict=True):
            ax.scatter(ours[:, band], sigma[:, band], s=3, color="0.7", label="all")
            for name, rows, color in marked:
                ax.scatter(ours[rows, band], sigma[rows, band], s=7, color=color, label=name)
            letter = _BANDS[band][0]
            ax.set(xlabel=f"${letter}$ [AB mag]", ylabel=rf"$\sigma_{letter}$ [mag]", yscale="log", ylim=(0.015, 1.0))
        for ax, (x, y) in zip(axes[1], (((0, 1), (1, 2)), ((1, 2), (2, 3)), ((2, 3), (3, 4))), strict=True):
            a, b = (theirs[:, i] - theirs[:, j] for i, j in (x, y))
            ax.hexbin(a, b, gridsize=60, cmap="Blues", bins="log", mincnt=1, extent=(-0.5, 3.0, -0.6, 1.8), lw=0)
            a, b = (ours[:, i] - ours[:, j] for i, j in (x, y))
            ax.scatter(a, b, s=2, color="0.45")
            for _, rows, color in marked:
                ax.scatter(a[rows], b[rows], s=7, color=color)
            names = ["$" + _BANDS[i][0] + "-" + _BANDS[j][0] + "$" for i, j in (x, y)]
            ax.set(xlabel=names[0], ylabel=names[1], xlim=np.nanquantile(a, [0.002, 0.998]) + [-0.3, 0.3],
                   ylim=np.nanquantile(b, [0.002, 0.998]) + [-0.3, 0.3])
        axes[0, 0].legend(loc="upper left")
        axes[1, 0].set_title("blue: mocks of the model", fontsize=9)
    _save(figure, path)


def against_published(out, path):
    """Draw masses and star formation rates against those of GSWLC."""
    if "of_gswlc_logmstar" not in out.colnames:
        return
    theirs = [_plain(out[name]) for name in ("of_gswlc_logmstar", "of_gswlc_logsfr")]
    clean = np.asarray(out["of_clean"], bool) & np.isfinite(theirs[0])
    poor = (np.asarray(out["flag"]) & flags.POOR_FIT) != 0
    with style():
        figure = new_figure(width=9, height=4.2)
        for ax, name, published, label in zip(
                figure.subplots(1, 2), ("stellar_mass", "sfr_100myr"), theirs,
                (r"$\log_{10}(M_\star/M_\odot)$", r"$\log_{10}(\mathrm{SFR}\,/\,M_\odot\,\mathrm{yr}^{-1})$"),
                strict=True):
            q16, q50, q84 = (np.log10(_plain(out[f"{name}_q{level}"])) for level in (16, 50, 84))
            for rows, color, what in ((clean & ~poor, COLORS["posterior"], "fitted"),
                                      (clean & poor, COLORS["mode"], "poor fit")):
                ax.errorbar(published[rows], q50[rows], yerr=np.stack([q50 - q16, q84 - q50])[:, rows], fmt="o",
                            ms=2.5, lw=0.5, alpha=0.6, color=color, label=what)
            ends = np.nanquantile(published[clean], [0.0, 1.0])
            ax.plot(ends, ends, color="black", lw=0.8)
            ax.set(xlabel=f"GSWLC: {label}", ylabel=f"here: {label}")
            ax.legend()
    _save(figure, path)


def calibration(tested, folder, name):
    """Draw p-p plot and ranks of the parameters (Hahn & Melchior 2022, Figs. 3 and 4)."""
    _save(plot_pp(tested.marginals), Path(folder) / f"pp_{name}.png", dpi=90)
    _save(plot_sbc(tested.marginals), Path(folder) / f"sbc_{name}.png", dpi=70)
