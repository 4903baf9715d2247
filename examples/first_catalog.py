"""Infer the bundled example catalog, print the results, and draw them.

Run ``python examples/first_catalog.py``; everything is written to the folder
``first_catalog`` (or the one given).  It takes less than a minute.
"""

import sys
from pathlib import Path

import numpy as np

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.flags import FLAGS, NOT_INFERRED
from clusterpost.plotting import plot_catalog

# True ages in Myr; the cluster of median near-UV brightness of each range is drawn.
CORNERS = {"young": (1, 10), "intermediate": (50, 300), "old": (1000, 13000)}


def _show(table):
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            table[name].info.format = ".4g"
    print("\n".join(table.pformat(max_width=-1)))


def main(folder):
    """Run the example."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    catalog = clusterpost.example_catalog()
    print(f"The example catalog: {len(catalog)} simulated clusters with the columns of PHANGS-HST DR4.\n")
    _show(catalog[["ID_PHANGS_CLUSTER"] + [f"PHANGS_{band}_mJy" for band in WFC3_BANDS[:3]]][:5])

    out = clusterpost.infer_table(catalog)
    written = [folder / "posteriors.fits"]
    clusterpost.write_catalog(out, written[0], overwrite=True)

    names = ["ID_PHANGS_CLUSTER", "age_q16", "age_q50", "age_q84", "mass_q50", "ebv_q50", "n_modes", "flag"]
    print("\nThe same table with posteriors (the file has more columns):\n")
    _show(out[names][:8])

    inferred = (out["flag"] & NOT_INFERRED) == 0
    print(f"\n{inferred.sum()} of {len(out)} rows inferred. Flags:")
    for flag in FLAGS:
        if count := ((out["flag"] & flag.bit) != 0).sum():
            print(f"  {count:4d}  {flag.name}")
    print("\nThe true parameters of these simulated clusters are within the 16-84 % interval for the\n"
          "percentages below. More than 68 % is expected, because the error floor of "
          f"{100 * out.meta['CPFLOOR']:.0f} %\nalso covers model errors, which these mocks do not have.")
    for name in ("age", "mass", "ebv"):
        truth = np.asarray(out[f"{name}_true"])[inferred]
        inside = (truth > out[f"{name}_q16"][inferred]) & (truth < out[f"{name}_q84"][inferred])
        print(f"  {name:5s} {100 * inside.mean():.0f} %")

    written.append(folder / "overview.png")
    plot_catalog(out).savefig(written[-1], dpi=150)
    truth = np.asarray(out["age_true"])
    for label, (youngest, oldest) in CORNERS.items():
        among = np.flatnonzero(inferred & (truth > youngest) & (truth < oldest))
        row = int(among[np.argsort(out["PHANGS_F275W_mJy"][among])[len(among) // 2]])
        written.append(folder / f"corner_{label}.png")
        clusterpost.plot_posterior(out[row]).savefig(written[-1], dpi=100)
    print("\nWritten:")
    for path in written:
        print(f"  {path}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "first_catalog")
