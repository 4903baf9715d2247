"""Band fluxes of stars: spectral libraries read in their public layouts, reduced to numbers, and interpolated.

Temperature, phase and mass of a star determine its library (`StarLight.of`); all
values are per solar luminosity.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from .isochrones import TP_AGB, WR_PHASES
from .photometry import LSUN, LSUN_AT_10PC, SCREENS, band_operator, ionizing_operator, shares

if TYPE_CHECKING:
    from ...typing import PathLike
    from .isochrones import Stars

__all__ = ["Bandpasses", "Grid", "StarLight", "read_castelli_kurucz", "read_cool_giants", "read_giants",
           "read_post_agb",
           "read_wm_basic", "read_wolf_rayet"]

_SIGMA_SB = 5.670374419e-5
_C_ANGSTROM_S = 2.99792458e18
_H_C_OVER_K = 1.438776877e8  # Angstrom K
_SOLAR = 0.019  # the isochrones' Z of [M/H] = 0
_FAINTEST = 1e-12  # of a band's flux per solar luminosity, where a spectrum ends

_CK_COOLEST, _COOLER = 3500.0, (2000.0, 2300.0, 2600.0, 2900.0, 3200.0)
_HOT, _HOT_RAMP, _HOT_MASS = 4.40, 0.05, 8.0  # log Teff where WM-basic begins, and Msun
_HOTTEST = 4.699  # log Teff, above which Rauch's spectra are taken
_COOL_GIANT, _COOL_RAMP = 3.56, 0.03
_HALO = 0.0095  # Z below which Rauch's halo composition is taken
_WN_COMPOSITION = 10.0


@dataclass
class Bandpasses:
    """The bands of a table, and the wavelengths that represent each band.

    Attributes
    ----------
    curves : list of (wavelength, throughput)
    wavelengths : list of ndarray
        Wavelengths of each band, from `clusterpost.training.stars.photometry.choose_wavelengths`.
    """

    curves: list
    wavelengths: list

    def reduce(self, wavelength: np.ndarray, spectra: np.ndarray) -> np.ndarray:
        """Convert spectra per solar luminosity to the interpolated numbers.

        Parameters
        ----------
        wavelength : ndarray (n_wavelength,)
            Angstrom.
        spectra : ndarray (..., n_wavelength)
            Per Angstrom; they integrate to one.

        Returns
        -------
        ndarray (..., n_band + 1 + n_column)
            ln of the flux in mJy at 10 pc, ln of ionizing photons per second, and the shares.
        """
        shape, flat = spectra.shape[:-1], spectra.reshape(-1, spectra.shape[-1])
        operator = band_operator(wavelength, self.curves, SCREENS)
        n_band = len(self.curves)
        fluxes = LSUN_AT_10PC * (flat @ operator.reshape(len(wavelength), -1)).reshape(len(flat), n_band, -1)
        faint = _FAINTEST * fluxes[..., 0].max(1)[:, None, None] * np.ones(n_band)[:, None]
        dark = fluxes[..., :1] <= faint
        fluxes = np.where(dark, faint, fluxes)  # without light, the same flux behind every screen
        photons = LSUN * (flat @ ionizing_operator(wavelength))
        parts = [shares(fluxes[:, b], waves)[0] for b, waves in enumerate(self.wavelengths)]
        values = [np.log(fluxes[..., 0]), np.log(np.maximum(photons, 1e36))[:, None], *parts]
        return np.concatenate(values, 1).reshape(*shape, -1)


@dataclass
class Grid:
    """Numbers on a regular grid, interpolated linearly and constant beyond its nodes.

    Attributes
    ----------
    axes : tuple of ndarray
    values : ndarray (n_1, ..., n_d, n)
    """

    axes: tuple
    values: np.ndarray

    def __call__(self, *coordinates: np.ndarray) -> np.ndarray:
        """Interpolate at points.

        Parameters
        ----------
        *coordinates : ndarray (n_point,)

        Returns
        -------
        ndarray (n_point, n)
        """
        places = []
        for axis, at in zip(self.axes, coordinates, strict=True):
            at = np.clip(at, axis[0], axis[-1])
            left = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, max(len(axis) - 2, 0))
            right = np.minimum(left + 1, len(axis) - 1)
            width = np.where(right > left, axis[right] - axis[left], 1.0)
            places.append((left, right, (at - axis[left]) / width))
        out = 0.0
        for corner in np.ndindex(*(2,) * len(places)):
            index = tuple(place[side] for place, side in zip(places, corner, strict=True))
            weight = np.prod([part if side else 1 - part for (_, _, part), side in zip(places, corner, strict=True)], 0)
            out = out + weight[:, None] * self.values[index]
        return out


def _nearest_filled(values, there):
    """Fill nodes without a spectrum with that of the nearest gravity at the same temperature."""
    n = there.shape[-1]
    distance = np.abs(np.arange(n)[:, None] - np.arange(n)) + np.where(there, 0, 10 * n)[..., None, :]
    return np.take_along_axis(values, distance.argmin(-1)[..., None], axis=-2)


def read_castelli_kurucz(folder: PathLike, bands: Bandpasses) -> Grid:
    """Read the atmospheres of Castelli & Kurucz (2004) in the layout of synphot.

    Parameters
    ----------
    folder : path
        ``ck04models``, with ``ckm25`` to ``ckp05`` in it.
    bands : Bandpasses

    Returns
    -------
    Grid
        On [M/H], log Teff, log g; below 3500 K the spectra of that temperature times the ratio of black bodies.

    Raises
    ------
    InputError
        If the folder does not hold them.
    """
    from astropy.io import fits

    cubes, metallicities, log_t, log_g = [], [], None, np.arange(0, 5.1, 0.5)
    for sub in sorted(Path(folder).glob("ck[mp][0-9][0-9]")):
        files = sorted(sub.glob(f"{sub.name}_*.fits"), key=lambda path: int(path.stem.split("_")[1]))
        if not files:
            continue
        temperatures = np.array([int(path.stem.split("_")[1]) for path in files], float)
        tables = [fits.getdata(path, 1) for path in files]
        wavelength = np.array(tables[0]["WAVELENGTH"], float)
        spectra = np.array([[table[f"g{round(10 * g):02d}"] for g in log_g] for table in tables], float)
        spectra /= _SIGMA_SB * temperatures[:, None, None] ** 4
        cooler = np.array(_COOLER)[:, None, None]
        with np.errstate(invalid="ignore", over="ignore"):  # where a black body emits nothing
            ratio = (np.expm1(_H_C_OVER_K / (wavelength * _CK_COOLEST)) * _CK_COOLEST**4
                     / (np.expm1(_H_C_OVER_K / (wavelength * cooler)) * cooler**4))
            spectra = np.concatenate([spectra[:1] * np.nan_to_num(ratio), spectra])
        there = spectra.max(-1) > 0
        values = bands.reduce(wavelength, np.where(there[..., None], spectra, 1.0))
        cubes.append(_nearest_filled(values, there))
        metallicities.append((1 if sub.name[2] == "p" else -1) * int(sub.name[3:]) / 10)
        log_t = np.log10(np.concatenate([_COOLER, temperatures]))
    if not cubes or len({len(cube) for cube in cubes}) > 1:
        raise InputError(f"{folder} does not hold the complete folders ckm25 to ckp05 of ck04models")
    order = np.argsort(metallicities)
    return Grid((np.array(metallicities)[order], log_t, log_g), np.stack(cubes)[order])


def read_giants(folder: PathLike) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the spectra of a few cool giants.

    Parameters
    ----------
    folder : path
        As for `read_castelli_kurucz`.

    Returns
    -------
    list of (wavelength, flux)
        Angstrom, per Angstrom.
    """
    from astropy.io import fits

    found = []
    for name, column in (("ckp00_3500", "g00"), ("ckp00_4250", "g10"), ("ckm15_4500", "g15")):
        try:
            table = fits.getdata(Path(folder) / name.split("_")[0] / f"{name}.fits", 1)
        except OSError as error:
            raise InputError(f"{folder} does not hold complete ck04models: {error}") from None
        found.append((np.array(table["WAVELENGTH"], float), np.array(table[column], float)))
    return found


def _per_angstrom(wavelength, spectra):
    """Return numbers from spectra per Hz in columns."""
    return (spectra * (_C_ANGSTROM_S / wavelength**2)[:, None]).T


def read_wm_basic(folder: PathLike, bands: Bandpasses) -> Grid:
    """Read the O stars of Smith, Norris & Crowther (2002) from FSPS.

    Parameters
    ----------
    folder : path
        ``SPECTRA/Hot_spectra`` of FSPS.
    bands : Bandpasses

    Returns
    -------
    Grid
        On log Z, log Teff, log g.
    """
    folder = Path(folder)
    metallicities = np.loadtxt(folder / "WMBASIC_zlegend.dat")
    log_t, log_g = np.loadtxt(folder / "WMBASIC.teff"), np.array([3.5, 4.0, 4.5])
    cubes = []
    for z in metallicities:
        data = np.loadtxt(folder / f"WMBASIC_z{z:.4f}.spec")
        values = bands.reduce(data[:, 0], _per_angstrom(data[:, 0], data[:, 1:]))
        cubes.append(values.reshape(len(log_g), len(log_t), -1).swapaxes(0, 1))
    return Grid((np.log10(metallicities), log_t, log_g), np.stack(cubes))


def read_wolf_rayet(folder: PathLike, kind: str, bands: Bandpasses) -> Grid:
    """Read the Wolf-Rayet stars of Smith, Norris & Crowther (2002) from FSPS.

    Parameters
    ----------
    folder : path
        ``SPECTRA/Hot_spectra`` of FSPS.
    kind : str
        ``WN`` or ``WC``.
    bands : Bandpasses

    Returns
    -------
    Grid
        On log Z, log Teff.
    """
    with open(Path(folder) / f"CMFGEN_{kind}_Zall.spec") as file:
        lines = [np.array(line.split(), float) for line in file]
    wavelength, nodes, spectra = lines[0], np.array(lines[1::2]), np.array(lines[2::2])
    log_t, metallicities = np.unique(nodes[:, 0]), np.unique(nodes[:, 1])
    values = bands.reduce(wavelength, _per_angstrom(wavelength, spectra.T))
    cube = np.empty((len(metallicities), len(log_t), values.shape[-1]))
    cube[np.searchsorted(metallicities, nodes[:, 1]), np.searchsorted(log_t, nodes[:, 0])] = values
    return Grid((np.log10(metallicities), log_t), cube)


def read_post_agb(folder: PathLike, composition: str, bands: Bandpasses) -> Grid:
    """Read the hot evolved stars of Rauch (2003) from FSPS.

    Parameters
    ----------
    folder : path
        ``SPECTRA/Hot_spectra`` of FSPS.
    composition : str
        ``solar`` or ``halo``.
    bands : Bandpasses

    Returns
    -------
    Grid
        On log Teff.
    """
    data = np.loadtxt(Path(folder) / f"ipagb_{composition}.spec")
    log_t = np.log10(np.loadtxt(Path(folder) / "ipagb.teff"))
    return Grid((log_t,), bands.reduce(data[:, 0], _per_angstrom(data[:, 0], data[:, 1:])))


def read_cool_giants(folder: PathLike, metallicity: float, bands: Bandpasses) -> Grid:
    """Read the oxygen-rich TP-AGB stars of Lancon & Mouhcine (2002) from FSPS.

    Parameters
    ----------
    folder : path
        ``SPECTRA/AGB_spectra`` of FSPS.
    metallicity : float
        [M/H], which sets their temperatures.
    bands : Bandpasses

    Returns
    -------
    Grid
        On log Teff.
    """
    data = np.loadtxt(Path(folder) / "Orich.spec")
    scale = np.loadtxt(Path(folder) / "Orich.teff")
    temperatures = np.array([np.interp(metallicity, scale[0, 1:], row) for row in scale[1:, 1:]])
    order = np.argsort(temperatures)
    return Grid((np.log10(temperatures[order]),), bands.reduce(data[:, 0], data[:, 1:].T)[order])


class StarLight:
    """Band fluxes, ionizing photons and shares of any star.

    Parameters
    ----------
    atmospheres : path
        Folder for `read_castelli_kurucz`.
    spectra : path
        ``SPECTRA`` of FSPS.
    bands : Bandpasses
    """

    def __init__(self, atmospheres: PathLike, spectra: PathLike, bands: Bandpasses):
        self.bands, self._cool_folder = bands, Path(spectra) / "AGB_spectra"
        hot = Path(spectra) / "Hot_spectra"
        try:
            self.normal = read_castelli_kurucz(atmospheres, bands)
            self.hot = read_wm_basic(hot, bands)
            self.wolf_rayet = {kind: read_wolf_rayet(hot, kind, bands) for kind in ("WN", "WC")}
            self.post_agb = {kind: read_post_agb(hot, kind, bands) for kind in ("solar", "halo")}
        except OSError as error:
            raise InputError(f"the spectra cannot be read: {error}") from None

    def of(self, stars: Stars, metallicity: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the light of stars of one metallicity.

        Parameters
        ----------
        stars : Stars
        metallicity : float
            Z of the file of isochrones.

        Returns
        -------
        ln_flux : ndarray (n, n_band)
            mJy at 10 pc.
        ln_photons : ndarray (n,)
            Ionizing photons per second.
        shares : ndarray (n, n_column)
        """
        log_z, relative = np.log10(metallicity), np.log10(metallicity / _SOLAR)
        n, log_t, log_g = len(stars), stars.log_t, stars.log_g
        values = self.normal(np.full(n, relative), log_t, log_g)
        wolf_rayet = np.isin(stars.phase, WR_PHASES) & (log_t > _HOT)
        hot = (stars.initial > _HOT_MASS) & (log_t > _HOT)
        blend = np.where(hot, np.clip((log_t - _HOT) / _HOT_RAMP, 0, 1), 0)[:, None]
        values = (1 - blend) * values + blend * self.hot(np.full(n, log_z), log_t, log_g)
        cool = np.where(stars.phase == TP_AGB, np.clip((_COOL_GIANT - log_t) / _COOL_RAMP, 0, 1), 0)[:, None]
        if cool.any():
            values = (1 - cool) * values + cool * read_cool_giants(self._cool_folder, relative, self.bands)(log_t)
        hottest = log_t > _HOTTEST
        values[hottest] = self.post_agb["halo" if metallicity < _HALO else "solar"](log_t[hottest])
        for kind, chosen in (("WN", wolf_rayet & (stars.composition < _WN_COMPOSITION)),
                             ("WC", wolf_rayet & (stars.composition >= _WN_COMPOSITION))):
            values[chosen] = self.wolf_rayet[kind](np.full(chosen.sum(), log_z), log_t[chosen])
        n_band = len(self.bands.curves)
        brightness = np.log(10) * stars.log_l
        return (values[:, :n_band] + brightness[:, None], values[:, n_band] + brightness, values[:, n_band + 1:])
