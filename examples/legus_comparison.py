"""Infer a LEGUS catalog and compare with its published ages, masses and reddening.

Run ``python examples/legus_comparison.py CATALOG.tab [FOLDER]`` with a catalog
of the LEGUS collection (https://archive.stsci.edu/prepds/legus/), such as
``hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab``.
"""

import sys
from pathlib import Path

import numpy as np

import clusterpost
from clusterpost.flags import NOT_INFERRED
from clusterpost.plotting import plot_catalog, plot_comparison, plot_deviation
from clusterpost.validation import flag_shares, side_by_side

# The paper's settings, the same with the noise assumed in catalog fits, and the replica of the paper's network.
OTHERS = {"any_bands, normal noise": {"model": "any_bands", "noise": "normal"}, "walter2025": {"model": "walter2025"},
          "walter2025, network alone": {"model": "walter2025", "refine": False}}


def main(path, folder):
    """Run the example."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    catalog = clusterpost.read_catalog(path, distance_source="legus")
    out = clusterpost.infer_table(catalog, model="any_bands", progress=True)
    clusterpost.write_catalog(out, folder / "legus.fits", overwrite=True)
    clusters = np.isin(out["class_mode"], [1, 2]) & (out["n_filters"] == 5)
    inferred = (out["flag"] & NOT_INFERRED) == 0
    print(f"{len(catalog)} rows in, {len(out)} rows out, {inferred.sum()} inferred")
    print(f"{clusters.sum()} clusters of class 1 and 2 in five bands, {(clusters & inferred).sum()} of them inferred\n")
    table = clusterpost.compare_with_catalog(out, where=clusters)
    print(f"published: {table.meta['published']}\n{'':16s}" + "".join(f"{name:>18s}" for name in table["parameter"]))
    for name in table.colnames[2:]:
        form = "18d" if table[name].dtype.kind == "i" else "18.1f" if name.endswith("_inside") else "18.3f"
        print(f"{name:16s}" + "".join(f"{value:{form}}" for value in table[name]))
    fitted = out[clusters & inferred]
    print(f"\nreduced chi-square of the MAP: median {np.median(fitted['chi2_map']):.2f}, "
          f"{100 * (fitted['chi2_map'] > 10).mean():.1f} % above 10; "
          f"several modes: {100 * (fitted['n_modes'] > 1).mean():.0f} %")
    outs = {"any_bands": out[clusters]}
    outs |= {name: clusterpost.infer_table(catalog[clusters], progress=True, **options)
             for name, options in OTHERS.items()}
    print("\nThe same clusters with other models and settings (dex or mag, and %):\n")
    _show(side_by_side({name: clusterpost.compare_with_catalog(other) for name, other in outs.items()}))
    print("\nTheir flags:\n")
    _show(flag_shares(outs))
    print("\nFlags of all sources:\n")
    _show(flag_shares({"any_bands": out}))
    plot_comparison(out, where=clusters).savefig(folder / "comparison.png", dpi=130)
    plot_deviation(out, where=clusters).savefig(folder / "deviation.png", dpi=130)
    plot_catalog(out, where=clusters).savefig(folder / "overview.png", dpi=130)
    print(f"\nwritten: {folder}/legus.fits, comparison.png, deviation.png, overview.png")


def _show(table):
    print("\n".join(table.pformat(max_width=-1, max_lines=-1, show_unit=False)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "legus_comparison")
