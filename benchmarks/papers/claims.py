"""What Walter et al. (2025) and Hahn & Melchior (2022) claim, beside what is found here, and why the two differ.

The papers' numbers are written out with their place; ours come from the results that are passed in, and from nowhere
else.  Where a result was not computed, the row says which option computes it.
"""

import numpy as np
from astropy.table import Table
from scipy.stats import spearmanr

from clusterpost.families.clusters.parameters import PARAMETERS
from clusterpost.validation.compare import WALTER2025_TABLE1
from clusterpost.validation.fits import inferred_parameters, published_fits

#: Hahn & Melchior (2022): galaxies, and those whose posteriors lie outside the prior (Sect. 6.1, App. A).
SEDFLOW_FAILURES = (591, 33_883)
_SEDFLOW_MOCKS = 1000  # of their p-p plot and SBC
#: Their posterior draws for each galaxy.
SEDFLOW_DRAWS = 10_000
_NO_CATALOG = "not computed: needs --catalog"
_SHARES = {"catalog_inside": "catalog value inside our 16-84 %", "mean_inside": "our mean inside theirs",
           "median_inside": "our median inside theirs", "map_inside": "our MAP inside theirs"}


def walter2025_claims(model, tested, *, checks=None, exactness=None):
    """Return the claims of Walter et al. (2025) beside ours.

    Parameters
    ----------
    model : Model
    tested : dict of Calibration
        By ``network`` and ``refined``.
    checks : CatalogChecks, optional
        From `clusterpost.validation.check_catalog`, with what `.catalog.check_further` adds.
    exactness : Table, optional
        From `~clusterpost.validation.compare_with_exact`.

    Returns
    -------
    `~astropy.table.Table`
        ``claim``, ``section`` of the paper, ``paper``, ``ours`` and ``why`` they differ.
    """
    mocks, hours, hardware = _training(model)
    rows = [
        ("mocks to train on", "2.2", "5e6", f"{mocks:.1e}",
         "Every mock here is fresh; theirs are passed over repeatedly."),
        ("time to train", "2.2", "1.5 to 3 h (GPU)", f"{hours:.1f} h ({hardware})", "Other hardware."),
        *_sbc_claims(tested),
        ("draws and density agree: the entropy", "4.1", "estimated from draws", _entropy(tested),
         "Ours is held against the mean of -ln q at the truths, which must equal it. The paper's formula lacks the "
         "minus sign of an entropy."),
        ("posteriors of examples equal the exact ones", "3.2.2, Fig. 5", "by eye, with traces of the 1 Myr grid",
         _exactness(exactness),
         "Quantiles of refined posteriors, in half-widths of the exact ones. The default model was trained on ages "
         "between whole Myr, and has no traces of them."),
        *_catalog_claims(checks),
    ]
    return _table(rows)


def _training(model):
    """Return mocks and hours of all stages, and the hardware of the last."""
    stage, stages = model.card["training"], []
    while stage:
        stages.append(stage)
        stage = stage.get("started_from")
    return (sum(stage["mocks_seen"] for stage in stages), sum(stage["hours"] for stage in stages),
            stages[0]["hardware"])


def _sbc_claims(tested):
    seen = {"T1": "outside the 1-99 % band in part", "T2": "slightly too narrow", "T3": "overestimated",
            "T4": "outside the 1-99 % band in part", "T5": "overestimated", "T6": "overestimated"}
    why = {"network": "Another training of the same kind of network, or another network.",
           "refined": "Weights by the likelihood take the network's errors away; what is left is noise, or the 1 Myr "
                      "grid of a simulator that rounds ages."}
    for name, paper in seen.items():
        ours = "; ".join(f"{posterior}: {_tendency(one.sbc, name)}" for posterior, one in tested.items())
        yield (f"SBC of {name}: ranks roughly uniform", "3.1, Fig. 3", paper, ours or "not computed",
               " ".join(why[posterior] for posterior in tested) if name == "T1" else "As above.")


def _tendency(result, name):
    """Return what the curve of one statistic says, in words."""
    index = result.names.index(name)
    z, curves = result.ecdf_difference()
    curve = curves[index]
    low, high = curve[z < 0.5].mean(), curve[z > 0.5].mean()
    shift, tilt = (low + high) / 2, (low - high) / 2
    what = "over" if shift > 0 else "under"
    what = f"{what}estimated" if abs(shift) > abs(tilt) else "too narrow" if tilt > 0 else "too wide"
    outside = 100 * result.outside_share()[name]
    return (f"at most {100 * np.abs(curve).max():.2f} % off, {outside:.0f} % outside 1-99 %, "
            + ("inside the simultaneous 99 % band" if result.passes()[name] else what))


def _entropy(tested):
    return "; ".join(f"{name}: {one.entropy['mean_entropy']:.3f} against {one.entropy['mean_nll']:.3f} nat "
                     f"(z = {one.entropy['z']:+.1f})" for name, one in tested.items()) or "not computed"


def _exactness(table):
    if table is None:
        return "not computed: needs --exact"
    prior = table[np.asarray(table["case"]) == "prior"]
    accuracy = prior["classifier_accuracy"][0]
    return (f"median {max(prior['median']):.4f}, 95 % of clusters within {max(prior['p95']):.3f} for the worst of nine "
            "quantiles" + (f"; classifier {100 * accuracy:.0f} % right" if np.isfinite(accuracy) else ""))


def _catalog_claims(checks):
    claims = [("clusters with all five bands", "2.3", "2439 of 2638 (92.5 %)")]
    claims += [(f"Table 1: {text}", "Table 1", " / ".join(f"{x:.1f}" for x in WALTER2025_TABLE1[key]) + " %")
               for key, text in _SHARES.items()]
    claims += [
        ("the closest mode agrees far better than the MAP", "3.2.3, Fig. 6", "by eye"),
        ("broad posteriors deviate more", "3.2.3, Fig. B.3", "by eye"),
        ("chi-square of the MAP exceeds that of the fits", "3.2.3, Fig. 8", "for most clusters"),
        ("predicted photometry is near the observed", "3.2.1, Fig. 4", "by eye; ranks crowd in the middle"),
        ("outliers are the noisy clusters (UV error above 40 %)", "3.2.4", "all major outliers"),
        ("log-normal against normal noise moves posteriors", "3.2.4, Fig. 9", "one cluster shown"),
    ]
    if checks is None:
        return [(*claim, _NO_CATALOG, "") for claim in claims]
    counts, tables, whose = checks.counts, checks.tables, checks.published or "no published fits"
    none = f"none of {counts['clusters']} clusters can be compared"
    other = f"Other catalog and other fits: {whose}."
    ours = [(f"{counts['five_bands']} of {counts['clusters']}; of {counts['rows']} sources {counts['inferred']} "
             "inferred",
             "Other catalog. A model of any two bands need not leave the others out; a model of five WFC3/UVIS bands "
             "takes no ACS.")]
    ours += [(_inliers(tables, key, none), other) for key in _SHARES]
    ours += [
        (_scatters(tables, none), other),
        (_widths(checks, none), "Rank correlation of |MAP - catalog| with the posterior's width."),
        (_chi2(tables, none), "MAPs are climbed to on the exact density, not taken from draws. They are not the least "
         "chi-square under log-normal noise, and the catalog's masses and models are other than ours."),
        (_predictive(tables, none), "Ranks of a model that has seen the data crowd in the middle in either."),
        (_outlying(tables, none), other),
        (_noise(tables, none), "The same draws, weighted for one noise model or the other."),
    ]
    return [(*claim, *found) for claim, found in zip(claims, ours, strict=True)]


def _inliers(tables, key, none):
    if "comparison" not in tables:
        return none
    table = tables["comparison"]
    rows = [table[np.asarray(table["parameter"]) == name] for name in ("log_age", "log_mass", "ebv")]
    return " / ".join(f"{row[key][0]:.1f}" if len(row) else "none" for row in rows) + " %"


def _scatters(tables, none):
    if "comparison" not in tables:
        return none
    table = tables["comparison"]
    return "; ".join(f"{row['parameter']} {row['map_scatter']:.2f} to {row['mode_scatter']:.2f}" for row in table
                     if row["parameter"] in ("log_age", "log_mass", "ebv")) + " (scatter of MAP to that of mode)"


def _widths(checks, none):
    if not checks.compared.any():
        return none
    out, found = checks.out[checks.compared], []
    fits, best = published_fits(out), inferred_parameters(out, "map")
    width = inferred_parameters(out, "q84") - inferred_parameters(out, "q16")
    for i, stem in enumerate(p.column for p in PARAMETERS):
        if stem in fits:
            away = np.abs(best[:, i] - fits[stem].value)
            known = np.isfinite(away)
            found.append(f"{stem} {spearmanr(width[known, i], away[known]).statistic:+.2f}")
    return ", ".join(found)


def _chi2(tables, none):
    if "chi2" not in tables:
        return none
    table = {row["parameters"]: row for row in tables["chi2"]}
    found = ["medians: " + ", ".join(f"{name} {row['median']:.2f}" for name, row in table.items())]
    if "catalog" in table:
        found.append(f"that of the MAP is the larger one for {table['catalog']['map_is_worse']:.0f} %")
    return "; ".join(found)


def _predictive(tables, none):
    if "predictive" not in tables:
        return none
    row = tables["predictive"][-1]
    return (f"off by {row['offset']:+.3f} dex, scatter {row['scatter']:.3f} dex; {row['inside']:.0f} % of fluxes in "
            f"the predicted 16-84 %, {row['tails']:.0f} % in the outer 10 % of ranks")


def _outlying(tables, none):
    if "outliers" not in tables:
        return none
    table = tables["outliers"]
    return "; ".join(f"{row['clusters']}: {row['outlying']} of {row['n']}" for row in table) + (
        f" are farther than {table.meta['far']:g} half-widths from every mode")


def _noise(tables, none):
    if "noise" not in tables:
        return none if "comparison" not in tables else "no cluster has such errors"
    table = tables["noise"]
    moved = ", ".join(f"{row['parameter']} {row['moved']:.2f}" for row in table)
    return (f"{table['n'][0]} clusters; medians move by {moved} half-widths; reweighted, "
            f"{max(table['moved_reweighted']):.2f} at most are left")


def sedflow_claims(model, tested, *, checks=None, exactness=None, timing=None):
    """Return the claims of Hahn & Melchior (2022), SEDflow, beside ours.

    Parameters
    ----------
    model, tested, checks, exactness
        As for `walter2025_claims`.
    timing : dict of float, optional
        Seconds for one cluster: a row of a table by the ``network`` alone, ``refined`` and by the ``exact`` grid, and
        `SEDFLOW_DRAWS` plain ``draws``.

    Returns
    -------
    `~astropy.table.Table`
        As `walter2025_claims`.
    """
    (mocks, hours, hardware), (failed, galaxies) = _training(model), SEDFLOW_FAILURES
    rows = [
        ("mocks to train on", "3.2", "1,131,561", f"{mocks:,}", "Three parameters here, twelve there."),
        ("time to train", "3.3", "about a day, one CPU core", f"{hours:.1f} h ({hardware})", "A smaller problem."),
        ("p-p plot: close to the diagonal", "5, Fig. 3", f"by eye, {_SEDFLOW_MOCKS} mocks", _pp(tested),
         "A number, and more mocks. The band is the simultaneous 99 % one for as many mocks as theirs: what a plot of "
         "theirs could show."),
        ("SBC: nearly uniform ranks", "5, Fig. 4", f"by eye, {_SEDFLOW_MOCKS} mocks",
         "; ".join(f"{name}: {sum(one.marginals.passes().values())} of {len(one.marginals.names)} inside the "
                   f"simultaneous 99 % band ({one.marginals.n_mocks:,} mocks)" for name, one in tested.items())
         or "not computed", "The more mocks, the smaller the faults that a test sees."),
        ("agreement with MCMC", "5, Fig. 2", "by eye, one galaxy", _exactness(exactness),
         "Against exact posteriors, mock by mock."),
        ("failures: posterior outside the prior", "6.1, App. A",
         f"{failed} of {galaxies:,} ({100 * failed / galaxies:.1f} %)", _failures(checks),
         "No draw can lie outside the prior here, whose bounds are built into the flow; rows that no model comes near "
         "are flagged."),
        (f"time for {SEDFLOW_DRAWS:,} draws of one object", "5", "1 s", _seconds(timing, "draws"),
         "Three parameters here, twelve there; the network alone in either, many objects at a time here."),
        ("time for a catalog", "5", "33,884 galaxies in less than 12 CPU hours (1.3 s each)",
         _seconds(timing, "refined", "network"),
         "Each row with quantiles, MAP, modes and entropy, from the default number of draws."),
        ("faster than MCMC by", "5", "more than 1e4 (10 CPU min with an emulator)", _against_grid(timing),
         "In three parameters a grid is the fair opponent: what a network saves grows with the parameters."),
    ]
    return _table(rows)


def _pp(tested):
    found = []
    for name, one in tested.items():
        curves = one.marginals.ecdf_difference()[1]
        found.append(f"{name}: at most {100 * np.abs(curves).max():.2f} % off ({one.marginals.n_mocks:,} mocks)")
    if not found:
        return "not computed"
    reference = type(one.marginals)(np.zeros((_SEDFLOW_MOCKS, 1), int), ("p",), one.marginals.n_draws)
    return "; ".join(found) + f"; band of {_SEDFLOW_MOCKS}: {100 * max(reference.simultaneous_band()[1]):.1f} %"


def _failures(checks):
    if checks is None:
        return _NO_CATALOG
    total, beyond = checks.counts["rows"], checks.counts["outside_support"]
    lost = total - checks.counts["inferred"]
    return (f"{lost} of {total:,} not inferred ({100 * lost / total:.1f} %), {beyond} flagged 'outside support' "
            f"({100 * beyond / total:.1f} %)")


def _seconds(timing, *names):
    if not timing:
        return "not computed"
    return ", ".join(f"{name} {1000 * timing[name]:.2g} ms" for name in names if name in timing)


def _against_grid(timing):
    if not timing or "refined" not in timing:
        return "not computed"
    return (f"{timing['exact'] / timing['refined']:.1f} against the exact grid ({1000 * timing['exact']:.1f} ms a "
            "cluster); see the benchmarks for Markov chains")


def _table(rows):
    return Table(rows=[dict(zip(("claim", "section", "paper", "ours", "why"), row, strict=True)) for row in rows])
