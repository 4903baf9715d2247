"""A stars' table of three kinds of star, two bands and few nodes, made up."""

import numpy as np

from clusterpost.families.stochastic.table import StarTable

BANDS = ("F275W", "F814W")
WITH_V = ("F275W", "V_JC")


def tiny_arrays(seed=0):
    """Arrays as `clusterpost.training.stars.table.quantize` gives them."""
    from clusterpost.training.stars.table import quantize

    rng = np.random.default_rng(seed)
    log_age = np.round(np.arange(5) * 0.5, 2)
    fine = np.round(np.arange(17) * 0.125, 4)
    n_z, n_t, n_kind = 3, len(log_age), 4
    number = np.array([1.0, 0.3, 0.02, 5e-4]) * rng.uniform(0.5, 2, (n_z, n_t, n_kind))
    flux = np.array([1.0, 20.0, 900.0, 2e5])[:, None] * rng.uniform(0.5, 2, (n_z, n_t, n_kind, 2))
    share = rng.uniform(0.1, 1, (n_z, n_t, n_kind, 3))
    share[..., 0] = 1.0
    share[..., 1:] /= share[..., 1:].sum(-1, keepdims=True)
    photons = np.array([1e40, 1e43, 1e46, 1e48]) * rng.uniform(0.5, 2, (n_z, n_t, n_kind))
    photons[..., 0] = 0.0
    return quantize({
        "number": number, "flux": flux, "share": share, "photons": photons, "mass": flux[..., 0] ** 0.4,
        "surviving_mass": np.ones((n_z, n_t)), "remnant_mass": rng.uniform(0, 0.1, (n_z, n_t)),
        "node_z": np.array([0.001, 0.01, 0.03]), "node_log_age": log_age, "anchor_log_age": fine,
        "ln_anchor_ratio": rng.normal(0, 0.1, (n_z, len(fine), 2)),
        "ln_anchor_ratio_q": rng.normal(0, 0.1, (n_z, len(fine))),
        "quad_band": np.array([0, 1, 1], np.int32), "quad_wavelength": np.array([2700.0, 7500, 8500]),
        "quad_a": np.array([0.5, 0.8, 0.6]), "quad_b": np.array([4.0, -0.5, -0.4]),
        "neb_log_u": np.array([-3.5, -3.0, -2.5, -2.0]), "neb_age": 10 ** (0.1 * np.arange(15)),
        "ln_nebular": rng.normal(-100, 0.3, (4, n_z, 15, 3)),
    })


def tiny_table(seed=0, bands=BANDS):
    """The table of `tiny_arrays`."""
    return StarTable(tiny_arrays(seed), bands, sha256=f"tiny {seed}")
