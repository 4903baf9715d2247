"""Compute the band-flux table from SSP spectra and filter curves.

The table holds the flux at 10 pc per solar mass formed, in mJy, on a grid of
age and color excess for every band, and the surviving stellar mass.  Only this
table is shipped, not the spectra.  It is computed with ::

    pip download --no-deps pymgal==1.0
    python -m clusterpost.training.grid pymgal-1.0-py3-none-any.whl

This reads the Bruzual & Charlot (2003) spectra and the total throughput curves
directly from that wheel.  ``--metallicity`` selects 0.008 or 0.05 instead of
0.02, ``--sed`` an ``.ised_ASCII`` file of GALAXEV or another file in EzGal's FITS
layout, and ``--bands`` other bands than the eight of the packaged tables.  For
bands with curves from other packages, name the folder of wheels described in
:mod:`clusterpost.training.curves`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..bands import ACS_BANDS, WFC3_BANDS, get_band, pivot_wavelength
from .curves import open_sources, read_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..typing import PathLike

__all__ = ["AGE_NODES", "EBV_NODES", "SSPLibrary", "band_fluxes", "burst_mean", "compute_table",
           "factorize", "read_ezgal", "read_ised_ascii"]

#: Spectra by metallicity in that wheel.
SED_MEMBERS = {z: f"pymgal/models/bc03_ssp_z_{z}_chab.model" for z in ("0.008", "0.02", "0.05")}

MAX_AGE_MYR = 13750.0
#: Finest below 10 Myr and around the jump at 1.13 Gyr, where spectra change fastest.
AGE_NODES = np.concatenate([
    np.arange(1000) * 0.001,
    1.0 + np.arange(150) * 0.002,
    1.3 + np.arange(283) * (1.7 / 283),
    3.0 + np.arange(75) * 0.002,
    np.linspace(3.15, np.log10(MAX_AGE_MYR), 165),
])
EBV_NODES = np.linspace(0.0, 1.5, 31)
_LSUN_ERG_S = 3.826e33  # the solar luminosity of GALAXEV
_TEN_PC_CM = 3.0856775814913673e19
_C_ANGSTROM_S = 2.99792458e18


@dataclass
class SSPLibrary:
    """Spectra of simple stellar populations per solar mass formed.

    Attributes
    ----------
    wavelength : ndarray (n_wavelength,)
        Angstrom, increasing.
    fnu : ndarray (n_age, n_wavelength)
        Flux density at 10 pc per solar mass formed, erg/s/cm2/Hz.
    age : ndarray (n_age,)
        Myr, increasing.
    surviving_mass : ndarray (n_age,)
        Mass in stars and remnants per solar mass formed.
    """

    wavelength: np.ndarray
    fnu: np.ndarray
    age: np.ndarray
    surviving_mass: np.ndarray


def read_ezgal(file: PathLike) -> SSPLibrary:
    """Read an SSP library in EzGal's FITS layout.

    Parameters
    ----------
    file : path or file object

    Returns
    -------
    SSPLibrary
    """
    from astropy.io import fits

    with fits.open(file, memmap=False) as hdus:
        fnu = np.array(hdus[0].data, dtype=float).T
        frequency = np.array(hdus[1].data["vs"], dtype=float)
        age = np.array(hdus[2].data["ages"], dtype=float) / 1e6
        mass = np.array(hdus[2].data["masses"], dtype=float)
    wavelength = _C_ANGSTROM_S / frequency
    if fnu.shape == (wavelength.size, age.size):
        fnu = fnu.T
    order = np.argsort(wavelength)
    mass[age == 0] = 1.0  # the layout leaves the mass at age zero empty
    return SSPLibrary(wavelength[order], fnu[:, order], age, mass)


def read_ised_ascii(path: PathLike, color_path: PathLike | None = None) -> SSPLibrary:
    """Read GALAXEV's ``.ised_ASCII`` and the surviving mass of its ``.4color``.

    Parameters
    ----------
    path : path
        The spectra, as written by ``bc03_galaxev_ascii``.
    color_path : path, optional
        The ``.4color`` table of the same model; its seventh column is the
        surviving mass.  By default the file beside ``path``.

    Returns
    -------
    SSPLibrary

    Raises
    ------
    ValueError
        If the file is truncated or its spectra differ in length.
    """
    path = Path(path)
    words, position = path.read_text().split(), 0

    def take() -> np.ndarray:
        """Read the numbers that the next count announces."""
        nonlocal position
        count = int(words[position]) if position < len(words) else len(words)
        start, position = position + 1, position + 1 + count
        if position > len(words):
            raise ValueError(f"{path}: ends before its last spectrum; is the file complete?")
        return np.array(words[start:position], dtype=float)

    age = take() / 1e6
    # The header's length varies.  The number of wavelengths is its first large integer followed by a number,
    # unlike a year followed by a word.
    numbers = re.compile(r"([5-9]\d\d|\d{4,}) [\d.]+(E[+-]?\d+)?")
    while position < len(words) and not numbers.fullmatch(" ".join(words[position:position + 2])):
        position += 1
    wavelength = take()
    llambda = np.empty((age.size, wavelength.size))
    for row in llambda:
        spectrum = take()
        if spectrum.size != wavelength.size:
            raise ValueError(f"{path}: a spectrum does not have {wavelength.size} points; is the file complete?")
        row[:] = spectrum
        take()  # indices of the fitting functions
    color_path = path.with_name(path.name.replace(".ised_ASCII", ".4color")) if color_path is None else color_path
    log_age, mass = np.loadtxt(color_path, usecols=(0, 6), unpack=True)
    with np.errstate(divide="ignore"):
        surviving = np.interp(np.log10(age * 1e6), log_age, mass, left=1.0)
    fnu = llambda * _LSUN_ERG_S / (4 * np.pi * _TEN_PC_CM**2) * wavelength**2 / _C_ANGSTROM_S
    return SSPLibrary(wavelength, fnu, age, surviving)


def band_fluxes(library: SSPLibrary, curve: tuple[np.ndarray, np.ndarray], ebv: np.ndarray,
                extinction: str = "O94") -> np.ndarray:
    """Integrate the reddened spectra over one photon-counting throughput curve.

    Parameters
    ----------
    library : SSPLibrary
    curve : (wavelength, throughput)
        Angstrom and total throughput.
    ebv : ndarray (n_ebv,)
        Color excess of a foreground screen, mag; R_V = 3.1.
    extinction : str
        A class of `dust_extinction.parameter_averages`: ``O94`` is the curve that
        CIGALE calls Cardelli et al. (1989), and ``CCM89`` the actual one.

    Returns
    -------
    ndarray (n_age, n_ebv)
        Mean flux density at 10 pc per solar mass formed, mJy.
    """
    import astropy.units as u
    from dust_extinction import parameter_averages

    wave, throughput = curve
    inside = (library.wavelength > wave[0]) & (library.wavelength < wave[-1])
    grid = np.union1d(wave, library.wavelength[inside])
    weight = np.interp(grid, wave, throughput) / grid
    fnu = np.stack([np.interp(grid, library.wavelength, row) for row in library.fnu])
    curve_model = getattr(parameter_averages, extinction)(Rv=3.1)
    a_per_ebv = 3.1 * np.asarray(curve_model(grid * u.AA))
    screen = 10 ** (-0.4 * a_per_ebv * np.asarray(ebv)[:, None]) * weight
    step = np.diff(grid)
    trapezoid = np.concatenate([step, [0]]) / 2 + np.concatenate([[0], step]) / 2
    return (fnu * trapezoid) @ screen.T / np.sum(weight * trapezoid) * 1e26


def burst_mean(age: np.ndarray, values: np.ndarray, log_age: np.ndarray) -> np.ndarray:
    """Return the mean of ``values`` over ten 0.1 Myr steps that end at each age.

    This generalizes CIGALE's burst of one Myr at whole Myr to continuous ages:
    F(t) = 1/10 sum_{k=0..9} L(t - 0.1 k), L linear in time between nodes.

    Parameters
    ----------
    age : ndarray (n_age,)
        Nodes, Myr.
    values : ndarray (n_age, ...)
    log_age : ndarray (n,)
        log10 of the output ages, Myr.

    Returns
    -------
    ndarray (n, ...)
    """
    times = 10.0 ** np.asarray(log_age)[:, None] - 0.1 * np.arange(10)
    right = np.clip(np.searchsorted(age, times), 1, len(age) - 1)
    fraction = (times - age[right - 1]) / (age[right] - age[right - 1])
    fraction = fraction.reshape(fraction.shape + (1,) * (values.ndim - 1))
    return ((1 - fraction) * values[right - 1] + fraction * values[right]).mean(axis=1)


def compute_table(library: SSPLibrary, curves: dict, *, log_age: np.ndarray = AGE_NODES, ebv: np.ndarray = EBV_NODES,
                  extinction: str = "O94") -> dict:
    """Compute the band-flux table.

    Parameters
    ----------
    library : SSPLibrary
    curves : dict
        (wavelength, throughput) of every band.
    log_age, ebv : ndarray
        Nodes of the table.
    extinction : str
        See `band_fluxes`.

    Returns
    -------
    dict of ndarray
        ``log_age`` (n_age,), ``ebv`` (n_ebv,), ``ln_flux`` (n_age, n_ebv, n_band) of the
        flux in mJy at 10 pc per solar mass formed, ``surviving_mass`` (n_age,), ``pivot`` (n_band,).
    """
    per_band = np.stack([band_fluxes(library, curve, ebv, extinction) for curve in curves.values()], axis=-1)
    return {
        "log_age": np.asarray(log_age),
        "ebv": np.asarray(ebv),
        "ln_flux": np.log(burst_mean(library.age, per_band, log_age)).astype(np.float32),
        "surviving_mass": burst_mean(library.age, library.surviving_mass, log_age).astype(np.float32),
        "pivot": np.array([pivot_wavelength(curve) for curve in curves.values()]),
    }


def factorize(ln_flux: np.ndarray, tolerance: float = 2e-4) -> dict[str, np.ndarray]:
    """Factorize each band's matrix of ages and color excesses into two thin matrices.

    Parameters
    ----------
    ln_flux : ndarray (n_age, n_ebv, n_band)
    tolerance : float
        Largest allowed error.

    Returns
    -------
    dict of ndarray
        ``age_factors`` (n_age, n_factor), ``ebv_factors`` (n_factor, n_ebv) and ``factor_band`` (n_factor,), the index
        of the band of each factor.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.training.grid import factorize
    >>> factors = factorize(np.outer([1.0, 2, 3], [1.0, 2])[..., None])
    >>> factors["age_factors"].shape
    (3, 1)
    """
    ages, colors, bands = [], [], []
    for band, matrix in enumerate(np.moveaxis(ln_flux.astype(float), -1, 0)):
        left, size, right = np.linalg.svd(matrix, full_matrices=False)
        for rank in range(1, len(size) + 1):
            age, color = (left * size)[:, :rank].astype(np.float32), right[:rank].astype(np.float32)
            if np.abs(age @ color - matrix).max() <= tolerance:
                break
        ages.append(age)
        colors.append(color)
        bands += [band] * rank
    return {"age_factors": np.ascontiguousarray(np.concatenate(ages, 1)), "ebv_factors": np.concatenate(colors),
            "factor_band": np.array(bands, np.int32)}


def main(argv: Sequence[str] | None = None) -> int:
    """Build the table from the command line (see the module's docstring)."""
    from safetensors.numpy import save

    from ..families.clusters.table import TABLES
    from ..utils import write_whole

    parser = argparse.ArgumentParser(prog="python -m clusterpost.training.grid", description=__doc__.split("\n\n")[0])
    parser.add_argument("source", help="wheel of pymgal 1.0, or a folder of packed or unpacked wheels")
    parser.add_argument("-o", "--output", help="table to write (default: the packaged one)")
    parser.add_argument("--metallicity", choices=SED_MEMBERS, default="0.02", help="Z (default: %(default)s)")
    parser.add_argument("--sed", help="SSP library to use instead: EzGal FITS, or GALAXEV .ised_ASCII")
    parser.add_argument("--bands", nargs="+", default=[*WFC3_BANDS, *ACS_BANDS], metavar="BAND",
                        help="bands of the table (default: %(default)s)")
    parser.add_argument("--factors", action="store_true",
                        help="write factors of each band's matrix, to 2e-4 in ln flux, as in the packaged tables of "
                             "additional bands")
    parser.add_argument("--extinction", default="O94", help="class of dust_extinction.parameter_averages")
    args = parser.parse_args(argv)
    if args.output is None and args.sed:
        parser.error("--sed needs -o: the packaged tables are of other spectra")
    if args.output is None and args.bands != parser.get_default("bands"):
        parser.error("--bands needs -o: the packaged tables are of other bands")
    output = args.output or TABLES[f"z{args.metallicity}"]
    read = open_sources(args.source)
    if args.sed is None:
        sed_name = SED_MEMBERS[args.metallicity]
        sed_bytes = read(sed_name)
        library = read_ezgal(io.BytesIO(sed_bytes))
        ssp = "Bruzual & Charlot 2003 (MNRAS 344, 1000), Chabrier IMF, Padova 1994 tracks"
        ssp += "" if args.metallicity == "0.02" else f", Z = {args.metallicity}"
    else:
        ssp = Path(args.sed).name
        sed_bytes, sed_name = Path(args.sed).read_bytes(), Path(args.sed).name
        library = read_ised_ascii(args.sed) if args.sed.endswith("ASCII") else read_ezgal(args.sed)
    bands = [get_band(name) for name in args.bands]
    curves = {band.name: read_curve(read, band.curve) for band in bands}
    table = compute_table(library, curves, extinction=args.extinction)
    header = {
        "format": "clusterpost band-flux table 1",
        "bands": list(curves),
        "pivot_angstrom": [round(float(p), 2) for p in table.pop("pivot")],
        "flux_unit": "ln(mJy), at 10 pc per solar mass formed",
        "ssp": ssp,
        "sed_file": sed_name,
        "sed_sha256": hashlib.sha256(sed_bytes).hexdigest(),
        "curve_files": {band.name: band.curve for band in bands},
        "curve_sha256": {band.name: hashlib.sha256(read(band.curve.partition("#")[0])).hexdigest() for band in bands},
        "extinction": f"dust_extinction.parameter_averages.{args.extinction}, Rv=3.1, foreground screen",
        "burst": "mean of ten steps of 0.1 Myr ending at the age (CIGALE), continuous in age",
        "source": "pymgal 1.0 (files), computed by python -m clusterpost.training.grid",
    }
    if args.factors:
        table |= factorize(table.pop("ln_flux"))
    write_whole(output, save(table, metadata={"header": json.dumps(header)}))
    sys.stderr.write(f"wrote {output}: {len(curves)} bands, {Path(output).stat().st_size / 1e6:.2f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
