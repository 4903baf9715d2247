"""Fixtures that every test may use."""

import os
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

# Tests run side by side; more threads than cores make each of them ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the reference data beside the repository; the test is skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}")
    return folder


@pytest.fixture(scope="module")
def exact_by_default():
    """Models that are not named are the exact one, for modules whose subject is what that gives."""
    from clusterpost import conf

    with conf.set_temp("default_model", "any_bands"):
        yield


@pytest.fixture(scope="session")
def clusters():
    """Twelve bright clusters, with what inference must leave alone; not to be changed."""
    import clusterpost

    tbl = clusterpost.simulate(
        QTable(
            {
                "age": np.geomspace(2, 8000, 12) * u.Myr,
                "mass": np.geomspace(1e4, 1e6, 12) * u.solMass,
                "ebv": np.linspace(0, 0.8, 12) * u.mag,
            }
        ),
        model="any_bands",
        distance=np.linspace(5, 20, 12),
        errors=0.08,
        seed=4,
    )
    tbl["name"] = [f"cluster {i}" for i in range(12)]
    tbl["class"] = np.arange(12) % 4
    tbl["class"].info.description = "human class"
    tbl.meta.update(note="kept", nested={"a": [1, 2]})
    return tbl


@pytest.fixture(scope="session")
def inferred(clusters):
    """What the exact model makes of them, with few draws; not to be changed."""
    from infer_tables import N

    import clusterpost

    return clusterpost.infer_table(clusters, model="any_bands", n_samples=N)


@pytest.fixture(scope="session")
def tiny_stochastic(tmp_path_factory):
    """Model file of a small network of the stochastic family; not to be changed."""
    from tiny_stochastic import train_tiny

    return train_tiny(tmp_path_factory.mktemp("stochastic"))
