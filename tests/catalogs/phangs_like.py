"""Tables with the columns of each PHANGS generation, made here: no object is real."""

import numpy as np
from astropy.table import Table

from clusterpost.bands import BANDS, WFC3_BANDS

AB_ZERO_MJY = 3.630780547701e6
ACS_FIELD = ("F275W", "F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS")
GENERATIONS = ("PHANGS internal", "PHANGS DR4", "PHANGS CR3", "PHANGS DR5")


def photometry(n=6, seed=0, bands=WFC3_BANDS):
    """Fluxes and errors in mJy, (n, n_band): the truth behind a table."""
    rng = np.random.default_rng(seed)
    flux = 10 ** rng.uniform(-4, -1, (n, len(bands)))
    return flux, flux * rng.uniform(0.02, 0.3, flux.shape)


def vega(flux, band):
    """Vega magnitude of a flux in mJy."""
    return -2.5 * np.log10(flux / AB_ZERO_MJY) - BANDS[band].ab_minus_vega


def names(generation, band):
    """Flux, error, magnitude and its error as that generation calls them."""
    name = band.removesuffix("_ACS")
    if generation == "PHANGS internal":
        return (f"PHANGS_{name}_mJy_TOT", f"PHANGS_{name}_mJy_TOT_ERR",
                f"PHANGS_{name}_vega_tot", f"PHANGS_{name}_vega_tot_err")
    slip = "_TOT" if generation == "PHANGS DR4" and name in ("F555W", "F814W") else ""
    return (f"PHANGS_{name}_mJy", f"PHANGS_{name}_mJy{slip}_ERR", f"PHANGS_{name}_VEGA", f"PHANGS_{name}_VEGA_ERR")


def phangs_like(generation="PHANGS DR4", n=6, seed=0, bands=WFC3_BANDS, units=True, magnitudes=True):
    """A table of one generation, with its own fits; every flux is a detection."""
    flux, error = photometry(n, seed, bands)
    tbl = Table({"ID_PHANGS_CLUSTER": np.arange(1, n + 1), "PHANGS_CLUSTER_CLASS_HUMAN": np.full(n, 1.0)})
    for i, band in enumerate(bands):
        columns = zip(names(generation, band), (flux[:, i], error[:, i], vega(flux[:, i], band),
                                                2.5 / np.log(10) * error[:, i] / flux[:, i]),
                      ("mJy", "mJy", "mag", "mag"), strict=True)
        for name, values, unit in list(columns)[: 4 if magnitudes else 2]:
            tbl[name] = values
            tbl[name].unit = unit if units else None
    add_fits(tbl, generation)
    tbl.meta["OBJECT"] = "NGC 1433"
    return tbl


def add_fits(tbl, generation):
    """Ages [Myr], masses [Msun] and reddening [mag] as that generation calls them."""
    n = len(tbl)
    values = {"AGE": np.geomspace(2, 500, n), "MASS": np.geomspace(2e3, 1e5, n), "EBV": np.linspace(0.05, 0.4, n)}
    for name, value in values.items():
        if generation in ("PHANGS internal", "PHANGS DR4"):
            tbl[f"PHANGS_{name}_MINCHISQ"], tbl[f"PHANGS_{name}_MINCHISQ_ERR"] = value, 0.3 * value
        else:
            stem = f"PHANGS_SED_{name}" if generation == "PHANGS CR3" else f"PHANGS_DR5_THILKER25_{name}"
            tbl[stem], tbl[f"{stem}_LIMLO"], tbl[f"{stem}_LIMHI"] = value, 0.7 * value, 1.3 * value
    if generation == "PHANGS CR3":
        tbl["PHANGS_DMPC"] = 18.63
        tbl["PHANGS_GALAXY"] = "ngc1433"
    if generation == "PHANGS DR5":
        tbl["PHANGS_GALAXY"] = "ngc1433"
