"""Read throughput curves and Vega's spectrum, and compute pivots and AB minus Vega magnitudes.

The curves come from public packages, which clusterpost neither imports nor
contains.  They are read from wheels::

    pip download --no-deps -d wheels pymgal==1.0 astro-sedpy==0.4.1 pyphot==2.1.1
    pip download --no-deps -d wheels ppxf==9.5.2 speclite==1.0.0
    python -m clusterpost.training.curves wheels

This prints the values of every band in :mod:`clusterpost.bands`.  Vega is
``alpha_lyr_stis_011`` of CALSPEC (Bohlin, Gordon & Tremblay 2014, PASP 126,
711, and updates), copied from astro-sedpy.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..bands import BANDS, pivot_wavelength
from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..typing import PathLike

__all__ = ["VEGA_SPECTRUM", "ab_minus_vega", "open_sources", "read_curve", "read_vega"]

#: Path of CALSPEC's spectrum of Vega in the wheel of astro-sedpy.
VEGA_SPECTRUM = "sedpy/data/alpha_lyr_stis_011.fits"
_C_ANGSTROM_S = 2.99792458e18
_AB_ZERO = 3.6307805477010e-20  # erg/s/cm2/Hz


def open_sources(source: PathLike) -> Callable:
    """Open wheels for reading members by name.

    Parameters
    ----------
    source : path
        A wheel, a folder of wheels, or a folder of unpacked wheels.

    Returns
    -------
    callable
        Function that returns the bytes of a member by its name.

    Raises
    ------
    InputError
        Raised by that function if no wheel holds the member.

    Examples
    --------
    >>> from clusterpost.training.curves import open_sources
    >>> read = open_sources("pymgal-1.0-py3-none-any.whl")
    >>> read("pymgal/filters/wfc3_uvis_f275w")  # doctest: +SKIP
    """
    source = Path(source)
    wheels = sorted(source.glob("*.whl")) if source.is_dir() else [source]

    def read(member: str) -> bytes:
        """Return the bytes of a member of the folder or of one of the wheels."""
        if source.is_dir() and (source / member).is_file():
            return (source / member).read_bytes()
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                try:
                    return archive.read(member)
                except KeyError:
                    continue
        raise InputError(f"nothing in {source} holds {member}; the documentation of clusterpost.training.curves says "
                         "which wheels to download")

    return read


def read_curve(read: Callable, member: str) -> np.ndarray:
    """Read a throughput curve in any of the packages' layouts.

    Parameters
    ----------
    read : callable
        Output of `open_sources`.
    member : str
        Name of the file, as in `clusterpost.bands.Band.curve`, with ``#`` and the
        filter's title for files of several filters.

    Returns
    -------
    wavelength, throughput : ndarray (n,)
        Angstrom, and the fraction of detected photons.
    """
    name, _, title = member.partition("#")
    text = read(name).decode("utf-8", "replace")
    if title:
        return _named(text, title)
    delimiter = "," if name.endswith(".csv") else None
    lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] in "0123456789.-+"]
    return np.loadtxt(io.StringIO("\n".join(lines)), delimiter=delimiter, usecols=(0, 1), unpack=True)


def _named(text, title):
    """Read a filter from a file in the layout of EAZY's FILTER.RES: a line with count and title, then rows of three."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[1:2] == [title])
    count = int(lines[start].split()[0])
    return np.array([line.split()[1:3] for line in lines[start + 1:start + 1 + count]], dtype=float).T


def read_vega(read: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Read CALSPEC's spectrum of Vega.

    Parameters
    ----------
    read : callable
        Output of `open_sources`.

    Returns
    -------
    wavelength, flux : ndarray (n,)
        Angstrom, erg/s/cm2/Angstrom.
    """
    from astropy.io import fits

    with fits.open(io.BytesIO(read(VEGA_SPECTRUM))) as hdus:
        return tuple(np.array(hdus[1].data[name], dtype=float) for name in ("WAVELENGTH", "FLUX"))


def ab_minus_vega(curve: tuple[np.ndarray, np.ndarray], vega: tuple[np.ndarray, np.ndarray]) -> float:
    """Compute the AB magnitude of Vega.

    Parameters
    ----------
    curve : (wavelength, throughput)
        Angstrom.
    vega : (wavelength, flux)
        Angstrom, erg/s/cm2/Angstrom.

    Returns
    -------
    float
        AB minus Vega magnitude of any source, mag.
    """
    (wave, throughput), (vega_wave, vega_flux) = curve, vega
    grid = np.union1d(wave, vega_wave[(vega_wave > wave[0]) & (vega_wave < wave[-1])])
    transmitted = np.interp(grid, wave, throughput)
    photons = np.trapezoid(np.interp(grid, vega_wave, vega_flux) * transmitted * grid, grid)
    mean = photons / np.trapezoid(_C_ANGSTROM_S * transmitted / grid, grid)
    return float(-2.5 * np.log10(mean / _AB_ZERO))


def main(argv: Sequence[str] | None = None) -> int:
    """Print pivot and AB minus Vega of every band (see the module's docstring)."""
    parser = argparse.ArgumentParser(prog="python -m clusterpost.training.curves", description=__doc__.split("\n\n")[0])
    parser.add_argument("source", help="folder of the wheels, packed or unpacked")
    args = parser.parse_args(argv)
    read = open_sources(args.source)
    vega = read_vega(read)
    for name, band in BANDS.items():
        curve = read_curve(read, band.curve)
        sys.stdout.write(f"{name:10s} {pivot_wavelength(curve):9.1f} {ab_minus_vega(curve, vega):+.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
