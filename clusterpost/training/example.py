"""Simulation of the bundled example catalog.

``python -m clusterpost.training.example`` generates it again.
"""

from __future__ import annotations

import astropy.units as u
import numpy as np
from astropy.table import QTable, Table

from ..bands import BANDS, WFC3_BANDS
from ..catalogs.example import EXAMPLE_PATH
from ..catalogs.writer import write_catalog
from .mocks import simulate

__all__ = ["make_example_catalog"]

_SEED = 628
_N_CLUSTERS = 200
_AGE_RANGES = (1, 10, 100, 1000, 13000)  # Myr; equal numbers of clusters
_DISTANCE_MPC = 15.0
# 1 sigma flux error of a faint source, mJy.
_DEPTH = dict(zip(WFC3_BANDS, (1.5e-5, 1.5e-5, 3e-5, 5e-5, 8e-5), strict=True))
_CALIBRATION = 0.02  # relative error of the brightest sources


def make_example_catalog(seed: int = _SEED) -> Table:
    """Simulate the example catalog.

    Parameters
    ----------
    seed : int

    Returns
    -------
    `~astropy.table.Table`
    """
    rng = np.random.default_rng(seed)
    n = 150 * _N_CLUSTERS
    params = QTable({
        "age": 10 ** rng.uniform(0, np.log10(13000), n) * u.Myr,
        "mass": 1e3 / (1 - rng.uniform(size=n) * (1 - 1e-3)) * u.solMass,  # m^-2 from 1e3 to 1e6
        "ebv": np.clip(rng.exponential(0.2, n), 0, 1.5) * u.mag,
    })
    truth = simulate(params, model="any_bands", distance=_DISTANCE_MPC * u.Mpc)
    flux = np.stack([truth[b].to_value(u.mJy) for b in WFC3_BANDS], axis=1)
    sigma = np.hypot(_CALIBRATION * flux, np.array([_DEPTH[b] for b in WFC3_BANDS]))
    bright = flux[:, 3] > 10 * sigma[:, 3] * rng.uniform(0.7, 1.3, n)
    age_range = np.digitize(params["age"].value, _AGE_RANGES)
    per_range = _N_CLUSTERS // (len(_AGE_RANGES) - 1)
    seen = np.sort(np.concatenate([np.flatnonzero(bright & (age_range == i))[:per_range]
                                   for i in range(1, len(_AGE_RANGES))]))
    params, sigma = params[seen], sigma[seen]
    mocks = simulate(params, model="any_bands", distance=_DISTANCE_MPC * u.Mpc, errors=sigma / flux[seen],
                     noise="normal", seed=seed)

    out = Table()
    out["INDEX"] = np.arange(len(seen))
    out["ID_PHANGS_CLUSTER"] = np.arange(1, len(seen) + 1)
    out["PHANGS_X"], out["PHANGS_Y"] = rng.uniform(500, 7500, (2, len(seen)))
    out["PHANGS_RA"] = 55.5 + rng.normal(0, 0.02, len(seen))
    out["PHANGS_DEC"] = -47.2 + rng.normal(0, 0.02, len(seen))
    for name, unit in (("PHANGS_X", u.pix), ("PHANGS_Y", u.pix), ("PHANGS_RA", u.deg), ("PHANGS_DEC", u.deg)):
        out[name].unit = unit
    out["PHANGS_CLUSTER_CLASS_HUMAN"] = rng.choice([1.0, 2.0], len(seen), p=[0.55, 0.45])
    no_coverage = np.zeros((len(seen), len(WFC3_BANDS)), bool)
    no_coverage[rng.choice(len(seen), 8, replace=False), 0] = True
    non_detections = np.zeros(len(seen), int)
    for i, band in enumerate(WFC3_BANDS):
        value, error = mocks[band].to_value(u.mJy), sigma[:, i]
        limit = (value < error) & ~no_coverage[:, i]
        non_detections += limit
        value, error = np.where(limit, error, value), np.where(limit, -error, error)
        slip = "_TOT" if band in ("F555W", "F814W") else ""  # as in the public files
        vega = -2.5 * np.log10(value / 3.6307805477e6) - BANDS[band].ab_minus_vega
        vega_error = np.where(limit, -1, 1) * 2.5 / np.log(10) * sigma[:, i] / value
        for name, column, unit in ((f"PHANGS_{band}_VEGA", vega, u.mag), (f"PHANGS_{band}_VEGA_ERR", vega_error, u.mag),
                                   (f"PHANGS_{band}_mJy", value, u.mJy),
                                   (f"PHANGS_{band}_mJy{slip}_ERR", error, u.mJy)):
            out[name] = np.where(no_coverage[:, i], -9999.0, column)
            out[name].unit = unit
    out["PHANGS_NON_DETECTION_FLAG"] = non_detections
    out["PHANGS_NO_COVERAGE_FLAG"] = no_coverage.sum(axis=1)
    for name in ("age", "mass", "ebv"):
        out[f"{name}_true"] = params[name].value
        out[f"{name}_true"].unit = params[name].unit
    out.meta.update({
        "OBJECT": "simulated", "DISTANCE": _DISTANCE_MPC, "SIMULATR": "clusterpost.catalogs.example", "SIMSEED": seed,
        "comments": ["Simulated by clusterpost with a fixed seed: no object here is real.",
                     "The column names are those of the PHANGS-HST DR4 cluster catalogs.",
                     "Truths are in age_true, mass_true and ebv_true."],
    })
    return out


if __name__ == "__main__":
    write_catalog(make_example_catalog(), EXAMPLE_PATH, overwrite=True)
