"""Tables and draws that look like what inference gives."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

pytest.importorskip("matplotlib")

UNITS = {"age": u.Myr, "mass": u.Msun, "ebv": u.mag}


@pytest.fixture
def published():
    """Where `fake_catalog` keeps its own fits."""
    return {stem: (f"fit_{stem}", None, None, f"fit_{stem}_err", str(unit)) for stem, unit in UNITS.items()}


@pytest.fixture
def samples():
    """Two modes, one of them cut by the prior at E(B-V) = 0."""
    return fake_samples()


@pytest.fixture
def catalog():
    """An inferred catalog."""
    return fake_catalog()


@pytest.fixture(autouse=True)
def no_pyplot_figures():
    """Figure functions leave nothing behind in pyplot and change no setting."""
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    yield
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def fake_samples(n=10_000, seed=0):
    """Two modes, one of them cut by the prior at E(B-V) = 0."""
    rng = np.random.default_rng(seed)
    young = rng.multivariate_normal([0.75, 4.2, 0.62], [[0.01, 0.003, -0.002], [0.003, 0.01, 0.001],
                                                        [-0.002, 0.001, 0.003]], n)
    old = rng.multivariate_normal([2.1, 4.9, 0.12], [[0.04, 0.012, -0.012], [0.012, 0.01, -0.003],
                                                     [-0.012, -0.003, 0.01]], n)
    samples = np.where(rng.random(n)[:, None] < 0.35, young, old)
    samples[:, 2] = np.abs(samples[:, 2])
    return samples


def fake_catalog(n=60, seed=0):
    """An inferred catalog with fits of its own, every tenth row not inferred."""
    rng = np.random.default_rng(seed)
    center = np.column_stack([rng.uniform(0, 4, n), rng.normal(4.3, 0.5, n), rng.exponential(0.25, n)])
    center[:, 1] += 0.3 * (center[:, 0] - 1)
    width = np.array([0.2, 0.1, 0.05]) * rng.uniform(0.5, 2, (n, 1))
    other = center + [0.9, 0.5, -0.1]
    fit = np.where(rng.random((n, 1)) < 0.2, other, center) + 0.3 * width * rng.normal(size=(n, 3))
    out = Table()
    bad = np.arange(n) % 10 == 9
    for i, (stem, unit) in enumerate(UNITS.items()):
        def linear(x, i=i, unit=unit):
            return (10**x if i < 2 else np.clip(x, 0, None)) * unit
        out[f"fit_{stem}"] = linear(fit[:, i])
        out[f"fit_{stem}_err"] = 0.3 * out[f"fit_{stem}"]
        out[f"{stem}_true"] = linear(center[:, i] + width[:, i])
        for name, shift in {"q16": -1, "q50": 0, "q84": 1, "mean": 0.1, "map": 0.2}.items():
            out[f"{stem}_{name}"] = linear(np.where(bad, np.nan, center[:, i] + shift * width[:, i]))
        modes = np.column_stack([center[:, i] + 0.2 * width[:, i], other[:, i], np.full(n, np.nan)])
        modes[bad] = np.nan
        out[f"{stem}_modes"] = linear(modes)
    out["mode_weight"] = np.where(bad[:, None], np.nan, [[0.7, 0.3, np.nan]])
    out["flag"] = np.where(bad, 3, np.where(np.arange(n) % 7 == 0, 4, 0))
    return out
