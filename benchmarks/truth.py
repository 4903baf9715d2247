"""How right ages and masses are where resolved stars tell them: tables and figures, by one command.

    python benchmarks/truth.py --m31 table2.fits table4.fits --lmc clusters.ecsv -o docs/results/truth

``--m31`` takes the catalogs of PHAT from CDS (``table2`` of J/ApJ/802/127 and ``table4`` of J/ApJ/827/33), or one table
in which both are joined: ``F275W`` ..., ``_err``, ``_limit`` (Vega magnitudes), ``log_age`` and ``log_mass``. ``--lmc``
takes a table of clusters of the LMC: ``U``, ``B``, ``V``, ``R`` and ``_err`` (Vega magnitudes as observed), ``log_age``
(Glatt et al. 2010), and ``ebv``, both of color-magnitude diagrams. Either may be left out.
"""

import argparse
import itertools
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from astropy.table import Table, vstack
from astropy.utils.exceptions import AstropyUserWarning

import clusterpost
from clusterpost.catalogs import read_phat
from clusterpost.families.stochastic.priors import SurveyPrior
from clusterpost.plotting.style import COLORS, new_figure, style
from clusterpost.priors import Exponential, FunctionPrior, Normal, ProductPrior
from clusterpost.utils import whole_file

_OLD, _NEW = "any_bands", "stochastic"
_THREE, _OWN = f"{_OLD}, three bands", f"{_NEW}, metallicity of the disk, E(B-V) exponential 0.3"
_AS_HST, _DUST = f"{_OLD}, UBV as F336W, F438W, F555W", f"{_NEW}, E(B-V) of the diagram"
_GRID = "fully sampled, exact, UBV"
_RV = Normal(3.1, 0.3)
_MASSES = (2.0, 3.0, 3.5, 4.0, 6.0)  # bounds of the bins of log10 mass
_LMC_MODULUS = 18.48
_LMC_METALS = -0.4  # Z = 0.008


def m31(photometry, ages=None, *, model=_NEW, n_samples=1000):
    """Infer the clusters of M31 that are detected in F275W, F336W, F475W and F814W.

    Parameters
    ----------
    photometry, ages : path
    model : str
        Path or name of the model for clusters drawn star by star.
    n_samples : int

    Returns
    -------
    dict of str to Table
        By what was assumed; columns ``truth``, ``low``, ``mid`` and ``high`` (log10 Myr), and ``truth_mass``,
        ``mass_low`` to ``mass_high`` (log10 solMass).
    """
    tbl = _phat(photometry, ages)
    four = ("F275W", "F336W", "F475W_ACS", "F814W_ACS")
    seen = np.isfinite(tbl["log_age_cmd"])
    for band in four:
        seen &= np.isfinite(tbl[band]) & (tbl[f"{band}_err"] > 0) & ~tbl[f"{band}_limit"]
    tbl = tbl[seen]
    without_infrared = tbl.copy()
    without_infrared.remove_columns([name for name in tbl.colnames if name.startswith(("F110W", "F160W"))])
    own = ProductPrior(family=_NEW, ebv=Exponential(0.3), metallicity=Normal(0.0, 0.2), rv=_RV)
    runs = {
        _THREE: (without_infrared, {"model": _OLD}),
        _NEW: (without_infrared, {"model": model}),
        f"{_NEW}, flat": (without_infrared, {"model": model, "prior": "flat"}),
        _OWN: (without_infrared, {"model": model, "prior": own}),
        f"{_NEW}, six bands": (tbl, {"model": model}),
    }
    return {name: _judged(part, tbl["log_age_cmd"] - 6, tbl["log_mass_cmd"], n_samples=n_samples, **options)
            for name, (part, options) in runs.items()}


def _phat(photometry, ages):
    """Read either form of the catalogs."""
    if ages is not None:
        return read_phat(photometry, ages)
    tbl = Table.read(photometry)
    tbl.rename_columns(["id", "log_age", "log_mass"], ["APID", "log_age_cmd", "log_mass_cmd"])
    return read_phat(tbl)


def lmc(clusters, *, model=_NEW, n_samples=1000):
    """Infer clusters of the LMC from U, B, V and R; see `m31`."""
    tbl = Table.read(clusters)
    truth, mass = tbl["log_age"] - 6, np.full(len(tbl), np.nan)
    distance = 10 ** (0.2 * _LMC_MODULUS + 1) / 1e6

    def photometry(names):
        out = Table()
        for theirs, ours in names.items():
            out[ours], out[f"{ours}_err"] = tbl[theirs], tbl[f"{theirs}_err"]
        return out

    as_hst = photometry({"U": "F336W", "B": "F438W", "V": "F555W"})
    johnson = photometry({band: f"{band}_JC" for band in "UBVR"})
    read = {"unit": "Vega", "distance": distance}
    shared = {**read, "n_samples": n_samples}
    three = photometry({band: f"{band}_JC" for band in "UBV"})
    results = {_GRID: _judged(three, truth, mass, infer=clusterpost.exact_posterior, **read),
               _AS_HST: _judged(as_hst, truth, mass, model=_OLD, **shared),
               _NEW: _judged(johnson, truth, mass, model=model, **shared)}
    parts, rows = [], []
    for value in np.unique(tbl["ebv"]):  # a prior is the same for all of a table
        at = np.flatnonzero(tbl["ebv"] == value)
        parts.append(_judged(johnson[at], truth[at], mass[at], model=model, prior=_known_dust(float(value)), **shared))
        rows.append(at)
    results[_DUST] = vstack(parts)[np.argsort(np.concatenate(rows))]
    return results


def _known_dust(ebv, width=0.03):
    """Multiply the survey's prior at the metallicity of the LMC by a normal density of E(B-V)."""
    survey = SurveyPrior(metallicity=_LMC_METALS)

    def log_density(theta):
        return survey.log_within(theta) - 0.5 * ((theta[..., 2] - ebv) / width) ** 2

    return FunctionPrior(log_density, survey.low, survey.high, family=_NEW)


def _judged(tbl, truth, mass, infer=clusterpost.infer_table, **options):
    """Infer a table, and keep what is compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)  # bands that a model does not know, flags
        out = infer(tbl, **options)
    columns = {"truth": np.asarray(truth, float), "truth_mass": np.asarray(mass, float)}
    for name, ours in (("", "age"), ("mass_", "mass")):
        for quantile, end in (("q16", "low"), ("q50", "mid"), ("q84", "high")):
            columns[f"{name}{end}"] = np.log10(np.asarray(out[f"{ours}_{quantile}"], float))
    return Table(columns)


def numbers(results):
    """Summarize results as numbers.

    Parameters
    ----------
    results : dict of str to Table
        Of `m31` or `lmc`.

    Returns
    -------
    Table
        A row for each: how many clusters; the median of log age less the truth (dex) and half of its 16 to 84 % range;
        the share (%) that is off by more than 1 dex; the share of the truths inside the 16 to 84 % interval; the
        interval's median half-width; and the same of masses that are known.
    """
    rows = []
    for name, part in results.items():
        difference = part["mid"] - part["truth"]
        row = {"assumed": name, "n": int(np.isfinite(difference).sum()), "bias": np.nanmedian(difference),
               "scatter": _half_range(difference), "off by 1 dex [%]": _percent(np.abs(difference) > 1, difference),
               "age inside [%]": _percent((part["low"] <= part["truth"]) & (part["truth"] <= part["high"]), difference),
               "half-width": np.nanmedian(part["high"] - part["low"]) / 2}
        of_mass = part["mass_mid"] - part["truth_mass"]
        if np.isfinite(of_mass).any():
            inside = (part["mass_low"] <= part["truth_mass"]) & (part["truth_mass"] <= part["mass_high"])
            row |= {"mass bias": np.nanmedian(of_mass), "mass inside [%]": _percent(inside, of_mass)}
        rows.append(row)
    out = Table(rows)
    for name in out.colnames[2:]:
        out[name].format = ".1f" if "%" in name else "+.2f" if "bias" in name else ".2f"
    return out


def _half_range(values):
    low, high = np.nanpercentile(values, [16, 84])
    return (high - low) / 2


def _percent(which, values):
    return 100 * np.mean(np.asarray(which)[np.isfinite(values)])


def by_mass(results):
    """Count how many true ages are inside the 16 to 84 % interval, by the mass of the diagram.

    Parameters
    ----------
    results : dict of str to Table

    Returns
    -------
    Table
        ``assumed``, ``low``, ``high`` (log10 solMass), ``n`` and ``age inside [%]``.
    """
    rows = []
    for name, part in results.items():
        for low, high in itertools.pairwise(_MASSES):
            some = part[(part["truth_mass"] >= low) & (part["truth_mass"] < high) & np.isfinite(part["mid"])]
            if len(some):
                inside = (some["low"] <= some["truth"]) & (some["truth"] <= some["high"])
                rows.append({"assumed": name, "low": low, "high": high, "n": len(some),
                             "age inside [%]": 100 * np.mean(inside)})
    out = Table(rows)
    if len(out):
        out["age inside [%]"].format = ".1f"
    return out


def draw_ages(results, names, title):
    """Draw inferred against true ages, one panel for each of the results named.

    Parameters
    ----------
    results : dict of str to Table
    names : sequence of str
    title : str

    Returns
    -------
    Figure
    """
    figure = new_figure(width=3.4 * len(names), height=3.9)
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    jitter = np.random.default_rng(1)
    for axes, name in zip(panels, names, strict=True):
        part = results[name]
        at = part["truth"] + jitter.uniform(-0.04, 0.04, len(part))  # ages of diagrams are on a grid
        axes.fill_between([-1, 5], [-2, 4], [0, 6], color="0.93", lw=0)
        axes.plot([-1, 5], [-1, 5], color=COLORS["line"], lw=0.8)
        axes.errorbar(at, part["mid"], [part["mid"] - part["low"], part["high"] - part["mid"]], fmt="none",
                      ecolor=COLORS["errorbar"], elinewidth=0.5, alpha=0.5)
        axes.plot(at, part["mid"], ".", ms=3, color=COLORS["posterior"])
        off = 100 * np.mean(np.abs(part["mid"] - part["truth"])[np.isfinite(part["mid"])] > 1)
        axes.set(xlim=(part["truth"].min() - 0.3, part["truth"].max() + 0.3), ylim=(-0.2, 4.3),
                 xlabel=r"log age of the diagram [Myr]", title=name.replace(", ", ",\n", 1))
        axes.text(0.04, 0.96, f"{off:.1f} % off by more than 1 dex", transform=axes.transAxes, va="top", fontsize=8)
    panels[0].set_ylabel("log age inferred [Myr]")
    figure.suptitle(title, fontsize=11)
    return figure


def draw_coverage(table):
    """Draw the share of true ages inside intervals by mass.

    Parameters
    ----------
    table : Table
        Of `by_mass`.

    Returns
    -------
    Figure
    """
    figure = new_figure(width=5.6, height=3.6)
    axes = figure.subplots()
    for k, name in enumerate(dict.fromkeys(table["assumed"])):
        part = table[table["assumed"] == name]
        share = part["age inside [%]"] / 100
        place = (part["low"] + part["high"]) / 2 + 0.03 * (k - 1)
        axes.errorbar(place, 100 * share, 100 * np.sqrt(share * (1 - share) / part["n"]), fmt="o-", ms=4, lw=1,
                      label=name, color=list(COLORS.values())[k % len(COLORS)])
    axes.axhline(68, color=COLORS["line"], lw=0.8, ls=":")
    axes.set(xlabel=r"$\log_{10}(m/M_\odot)$ of the diagram", ylabel="true ages inside 16-84 % [%]", ylim=(0, 100))
    axes.legend(fontsize=7)
    return figure


def main(arguments=None):
    """Compare, and write tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--m31", nargs="+", metavar="FILE", help="photometry and ages, or both in one")
    parser.add_argument("--lmc", metavar="FILE")
    parser.add_argument("--model", default=_NEW, help="name or path of the model for clusters drawn star by star")
    parser.add_argument("--samples", type=int, default=1000, help="draws for each cluster")
    parser.add_argument("-o", "--output", default="truth_out", help="folder of the results")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    if options.m31:
        results = m31(*options.m31[:2], model=options.model, n_samples=options.samples)
        shares = by_mass(results)
        _write(folder, "m31", results, (_THREE, _NEW, _OWN), "Clusters of M31")
        _save(shares, folder / "m31_by_mass.csv")
        _save_figure(lambda: draw_coverage(shares), folder / "m31_by_mass.png")
    if options.lmc:
        results = lmc(options.lmc, model=options.model, n_samples=options.samples)
        _write(folder, "lmc", results, (_GRID, _NEW, _DUST), "Clusters of the Large Magellanic Cloud")
    return 0


def _write(folder, stem, results, drawn, title):
    print(title)
    table = numbers(results)
    table.pprint(max_lines=-1, max_width=-1)
    _save(table, folder / f"{stem}.csv")
    _save_figure(lambda: draw_ages(results, drawn, title), folder / f"{stem}.png")


def _save(table, path):
    with whole_file(path) as partial:
        table.write(partial, format="ascii.csv", overwrite=True)


def _save_figure(draw, path):
    with style():
        figure = draw()
        with whole_file(path) as partial:
            figure.savefig(partial)


if __name__ == "__main__":
    sys.exit(main())
