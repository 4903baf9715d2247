"""Galaxies of the Sloan Digital Sky Survey: the NASA-Sloan Atlas, and tables of CasJobs.

The NASA-Sloan Atlas (Blanton et al. 2011, AJ 142, 31) is one FITS file of 0.5 GB (``nsa_v0_1_2.fits`` from
http://www.nsatlas.org/data, or ``nsa_v1_0_1.fits`` from the science archive of SDSS).  No service offers parts of that
file, so this package does not fetch it: download it once, or select rows with CasJobs (table ``nsatlas``).

Content of its columns, verified with its rows and its pipeline:

* ``NMGY`` and ``NMGY_IVAR`` (v0_1_2), ``SERSIC_NMGY`` and ``ELPETRO_NMGY`` (v1_0_1) are AB nanomaggies of F, N, u, g,
  r, i and z, corrected for Milky Way extinction and to AB.  Their errors include a floor of 0.05, 0.02, 0.02, 0.02
  and 0.03 mag in ugriz.  These corrections are not repeated here.
* ``PETROFLUX`` (v0_1_2) has none of these corrections; extinction, AB offsets and floors are applied here.
* ``Z`` is heliocentric, and ``ZDIST`` is from a model of the local flows.  ``MASS`` is for H0 = 100 km/s/Mpc.
"""

from __future__ import annotations

import os
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import Column, Table

from ..errors import ColumnError, InputError
from ..typing import PathLike
from .canonical import record_floor
from .columns import find, needed
from .values import MAG_PER_RELATIVE, numbers, plain

__all__ = ["AB_OFFSETS", "FLOORS", "SDSS_BANDS", "label_sloan", "nanomaggies_of_asinh", "read_nsa", "read_sdss"]

#: Bands of the Sloan Digital Sky Survey, named as in columns.
SDSS_BANDS = ("u_SDSS", "g_SDSS", "r_SDSS", "i_SDSS", "z_SDSS")
#: AB minus SDSS magnitudes in ugriz, and smallest errors, from kcorrect and the atlas; mag.
AB_OFFSETS = (-0.036, 0.012, 0.010, 0.028, 0.040)
FLOORS = (0.05, 0.02, 0.02, 0.02, 0.03)
#: Softening of asinh magnitudes in ugriz (Lupton et al. 1999; values of the survey).
SOFTENING = (1.4e-10, 0.9e-10, 1.2e-10, 1.8e-10, 7.4e-10)
_NANOMAGGY_MJY = 3.631e-3
_LITTLE_H = 0.6777  # Planck (2013)
_DETECTED = 3.0  # sigma
_MISSING_BELOW = -1000.0  # CasJobs writes -9999 and -1000


def read_nsa(path_or_table: PathLike | Table, *, photometry: str = "sersic", redshift: str = "z") -> Table:
    """Read galaxies of the NASA-Sloan Atlas.

    Parameters
    ----------
    path_or_table : path or `~astropy.table.Table`
        The atlas of version v0_1_2 or v1_0_1, or some of its rows.  A table is copied.
    photometry : {"sersic", "petrosian"}
        Sersic-fit fluxes, as used by the atlas and Hahn & Melchior (2022), or Petrosian fluxes.
    redshift : {"z", "zdist"}
        Heliocentric redshift, as used by Hahn & Melchior, or redshift of the distance, which gives better masses
        below a redshift of 0.02.

    Returns
    -------
    `~astropy.table.Table`
        All columns of the atlas, and ``u_SDSS``, ``u_SDSS_err`` ... (mJy; NaN where not measured), ``redshift``,
        ``nsa_mass`` (solMass, for H0 = 67.77 km/s/Mpc) if there is a mass, and ``clean``: True for a good fit, no band
        flagged by the deblender, and detections of at least three sigma in all bands.

    Raises
    ------
    InputError
        If the file is missing or an option is unknown.
    ColumnError
        If the columns do not match the atlas.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.nsa import read_nsa
    >>> flux = np.array([[1.0, 2, 10, 40, 80, 110, 140]])
    >>> atlas = Table({"NMGY": flux, "NMGY_IVAR": (20 / flux) ** 2, "Z": [0.03],
    ...                "ZDIST": [0.031], "MASS": [1e10]})
    >>> print(f"{read_nsa(atlas)['r_SDSS'][0]:.4f} mJy")
    0.2905 mJy
    """
    for name, value, known in (("photometry", photometry, ("sersic", "petrosian")),
                               ("redshift", redshift, ("z", "zdist"))):
        if value not in known:
            raise InputError(f"{name}={value!r} is not known; choose from {', '.join(known)}")
    tbl = _table(path_or_table)
    flux, sigma = _atlas_photometry(tbl, photometry)
    _add_photometry(tbl, flux, sigma)
    _add_redshift(tbl, redshift)
    mass = find(tbl.colnames, *(("SERSIC_MASS", "MASS") if photometry == "sersic" else ("ELPETRO_MASS", "MASS")))
    if mass is not None:
        values = numbers(tbl, mass) / _LITTLE_H**2
        tbl["nsa_mass"] = Column(np.where(values > 0, values, np.nan), unit=u.solMass,
                                 description=f"Stellar mass of the atlas ({mass}), for H0 = 67.77 km/s/Mpc")
    tbl["clean"] = Column(_clean(tbl, flux, sigma, photometry), description="Good fit, five detections, no flag")
    return tbl


def read_sdss(path_or_table: PathLike | Table, *, prefix: str = "modelMag") -> Table:
    """Read galaxies from a table of CasJobs or SkyServer.

    Parameters
    ----------
    path_or_table : path or `~astropy.table.Table`
        Table with ``modelMag_u`` ..., errors ``modelMagErr_u`` or ``err_u`` ..., ``extinction_u`` ..., and the redshift
        as ``redshift`` or ``z``.  A table is copied.
    prefix : str
        Prefix of the magnitudes: ``modelMag``, ``cModelMag``, ``petroMag`` ...

    Returns
    -------
    `~astropy.table.Table`
        All columns, and ``u_SDSS``, ``u_SDSS_err`` ... (mJy; NaN where not measured) and ``redshift``.

    Raises
    ------
    InputError
        If the file is absent.
    ColumnError
        If a column is absent.

    Notes
    -----
    Magnitudes are asinh magnitudes and are converted as such, which keeps faint and negative fluxes.  Fluxes are
    corrected for Milky Way extinction and to AB, and errors get the floors of the NASA-Sloan Atlas, so models trained
    on the atlas apply.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.nsa import read_sdss
    >>> columns = {"z": [0.05]}
    >>> for b in "ugriz":
    ...     columns |= {f"modelMag_{b}": [17.0], f"err_{b}": [0.02],
    ...                 f"extinction_{b}": [0.1]}
    >>> tbl = read_sdss(Table(columns))
    >>> print(f"{tbl['g_SDSS'][0]:.3f} mJy")
    0.624 mJy
    """
    tbl = _table(path_or_table)
    flux, sigma = [], []
    for k, band in enumerate("ugriz"):
        names = [needed(tbl.colnames, f"{prefix}_{band}"), needed(tbl.colnames, f"{prefix}Err_{band}", f"err_{band}"),
                 needed(tbl.colnames, f"extinction_{band}")]
        magnitude, error, extinction = (np.where(numbers(tbl, name) > _MISSING_BELOW, numbers(tbl, name), np.nan)
                                        for name in names)
        value, scatter = nanomaggies_of_asinh(magnitude, error, SOFTENING[k])
        scale = 10 ** (0.4 * (extinction - AB_OFFSETS[k]))
        flux.append(value * scale)
        sigma.append(np.hypot(scatter * scale, FLOORS[k] / MAG_PER_RELATIVE * np.abs(value * scale)))
    _add_photometry(tbl, np.column_stack(flux), np.column_stack(sigma))
    _add_redshift(tbl, "z")
    return tbl


def label_sloan(tbl: Table) -> Table:
    """Add the columns that this package reads to a table of the atlas or of CasJobs; other tables are unchanged.

    Parameters
    ----------
    tbl : `~astropy.table.Table`

    Returns
    -------
    `~astropy.table.Table`

    Raises
    ------
    ColumnError
        If a table of the atlas or of CasJobs lacks a column.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.catalogs.nsa import label_sloan
    >>> label_sloan(Table({"F555W": [1.0]})).colnames
    ['F555W']
    """
    names = tbl.colnames
    if set(SDSS_BANDS) & set(names):
        return tbl
    fluxes = find(names, "SERSIC_NMGY", "NMGY")
    if fluxes is not None and tbl[fluxes].ndim == 2:
        return read_nsa(tbl)
    return read_sdss(tbl) if all(find(names, f"modelMag_{band}") for band in "ugriz") else tbl


def nanomaggies_of_asinh(magnitude: np.ndarray, error: np.ndarray, softening: float) -> tuple[np.ndarray, np.ndarray]:
    """Convert asinh magnitudes to fluxes (Lupton, Gunn & Szalay 1999, AJ 118, 1406).

    Parameters
    ----------
    magnitude, error : ndarray (n,)
    softening : float
        The parameter b of the band, in maggies.

    Returns
    -------
    flux, sigma : ndarray (n,)
        Nanomaggies.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.catalogs.nsa import nanomaggies_of_asinh
    >>> magnitude, error = np.array([22.5, 24.63]), np.array([0.1, 0.5])
    >>> flux, _ = nanomaggies_of_asinh(magnitude, error, 1.4e-10)  # in u
    >>> print([round(float(f), 3) + 0.0 for f in flux])
    [0.98, 0.001]
    """
    angle = -magnitude / MAG_PER_RELATIVE - np.log(softening)
    return 2e9 * softening * np.sinh(angle), 2e9 * softening * np.cosh(angle) * error / MAG_PER_RELATIVE


def _table(path_or_table):
    if isinstance(path_or_table, Table):
        return path_or_table.copy()
    if not isinstance(path_or_table, (str, os.PathLike)):
        raise InputError(f"a catalog is a path or an astropy Table, not {type(path_or_table).__name__}")
    path = Path(path_or_table).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is not a file; download nsa_v0_1_2.fits from http://www.nsatlas.org/data first, or "
                         "select rows with CasJobs")
    try:
        return Table.read(path)
    except Exception as error:  # the readers raise many kinds of errors
        raise InputError(f"{path} cannot be read as a table ({type(error).__name__}: {error})") from error


def _atlas_photometry(tbl, photometry):
    """Return corrected fluxes and errors with floors, (n, 5), in nanomaggies."""
    ready = ("SERSIC_NMGY", "NMGY") if photometry == "sersic" else ("ELPETRO_NMGY",)
    name = find(tbl.colnames, *ready)
    if name is not None:
        return _flux_and_error(tbl, name)
    if photometry == "sersic":
        raise ColumnError("the table has neither NMGY nor SERSIC_NMGY, and so no readable photometry of the NASA-Sloan "
                          "Atlas (v0_1_2 or v1_0_1)")
    flux, sigma = _flux_and_error(tbl, needed(tbl.colnames, "PETROFLUX"))
    extinction = _five(tbl, needed(tbl.colnames, "EXTINCTION"))
    scale = 10 ** (0.4 * (extinction - np.array(AB_OFFSETS)))
    flux, sigma = flux * scale, sigma * scale
    return flux, np.hypot(sigma, np.array(FLOORS) / MAG_PER_RELATIVE * np.abs(flux))


def _flux_and_error(tbl, name):
    flux, weight = _five(tbl, name), _five(tbl, needed(tbl.colnames, f"{name}_IVAR"))
    measured = np.isfinite(flux) & np.isfinite(weight) & (weight > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(measured, flux, np.nan), np.where(measured, weight**-0.5, np.nan)


def _five(tbl, name):
    """Return the ugriz part of a column of seven or five bands."""
    column = tbl[name]
    if column.ndim != 2 or column.shape[1] not in (5, 7):
        raise ColumnError(f"column {name!r} has shape {column.shape}; the atlas has seven numbers per row, in the "
                          "order F, N, u, g, r, i, z")
    mask = np.asarray(getattr(column, "mask", False))
    return np.where(mask, np.nan, plain(column).astype(float))[:, -5:]


def _add_photometry(tbl, flux, sigma):
    taken = [name for band in SDSS_BANDS for name in (band, f"{band}_err") if name in tbl.colnames]
    if taken:
        raise ColumnError(f"the table already has a column {taken[0]!r}; rename it, or use the table unchanged")
    for k, band in enumerate(SDSS_BANDS):
        tbl[band] = Column(flux[:, k] * _NANOMAGGY_MJY, unit=u.mJy,
                           description=f"AB flux in {band[0]}, corrected for Milky Way extinction")
        tbl[f"{band}_err"] = Column(sigma[:, k] * _NANOMAGGY_MJY, unit=u.mJy,
                                    description=f"Error of {band}, with a floor of {FLOORS[k]} mag")
    record_floor(tbl, [f"{band}_err" for band in SDSS_BANDS], round(min(FLOORS) / MAG_PER_RELATIVE, 4))


def _add_redshift(tbl, wanted):
    name = needed(tbl.colnames, *(("redshift", "z") if wanted == "z" else ("zdist",)))
    values = numbers(tbl, name)
    if name != "redshift":
        if "redshift" in tbl.colnames:
            tbl.rename_column("redshift", "redshift_original")
        tbl["redshift"] = Column(np.where(values > 0, values, np.nan), description=f"Redshift ({name})")


def _clean(tbl, flux, sigma, photometry):
    with np.errstate(invalid="ignore"):
        good = (flux > _DETECTED * sigma).all(1)
    fit = find(tbl.colnames, *(("SERSIC_OK", "OK") if photometry == "sersic" else ("ELPETRO_OK", "OK")))
    if fit is not None:
        good &= numbers(tbl, fit) > 0
    flags = find(tbl.colnames, "DFLAGS")
    if flags is not None:
        good &= (_five(tbl, flags) == 0).all(1)
    return good
