"""Rows that an old metal-poor cluster explains as well get a flag, and others do not."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

import clusterpost
from clusterpost import decode_flags, is_good
from clusterpost.flags import PERHAPS_OLD

FIVE = ("F275W", "F336W", "F438W", "F555W", "F814W")


def clusters(age, z, ebv, n=20, bands=FIVE):
    """Massive clusters, of which the stars' numbers matter little, with noise."""
    params = QTable({"age": np.full(n, age) * u.Myr, "mass": np.full(n, 2e5) * u.solMass,
                     "ebv": np.full(n, ebv) * u.mag, "metallicity": np.full(n, np.log10(z / 0.02)),
                     "rv": np.full(n, 3.1), "nebular_covering": np.full(n, 0.0)})
    return clusterpost.simulate(params, model="stochastic", bands=bands, errors=0.05, distance=10.0, seed=4)


def share(tbl, infer=clusterpost.infer_table, **options):
    out = infer(tbl, model="any_bands", **options)
    return np.mean((out["flag"] & PERHAPS_OLD) != 0), out


@pytest.mark.parametrize("z", [0.0004, 0.001, 0.002])
def test_globular_clusters_are_flagged(z):
    flagged, out = share(clusters(12_000, z, 0.05), n_samples=100)
    assert flagged > 0.9
    assert (out["age_q84"] < 5 * u.Gyr).mean() > 0.8  # and the answer is wrong
    assert "perhaps old" in decode_flags(out["flag"][0])
    assert is_good(out).mean() < 0.1


@pytest.mark.parametrize(("age", "ebv"), [(3, 0.0), (3, 0.6), (10, 0.3), (50, 0.1), (100, 0.1)])
def test_young_clusters_are_not(age, ebv):
    flagged, _ = share(clusters(age, 0.02, ebv), n_samples=100)
    assert flagged < 0.06


def test_nor_old_ones_that_come_out_old():
    flagged, out = share(clusters(10_000, 0.02, 0.0), n_samples=100)
    old = out["age_q16"] > 5 * u.Gyr
    assert old.mean() > 0.3
    assert not (out["flag"][old] & PERHAPS_OLD).any()
    assert flagged < 0.2


def test_exact_grid_and_draws_have_it_too():
    tbl = clusters(12_000, 0.001, 0.05, n=3)
    flagged, out = share(tbl, clusterpost.exact_posterior)
    assert flagged == 1
    assert ((clusterpost.sample_posterior(out, n_samples=20)["flag"] & PERHAPS_OLD) != 0).all()


def test_it_is_the_rows_own():
    """Whatever is beside it, whatever the distance, and with bands missing."""
    old, young = clusters(12_000, 0.001, 0.05, n=2), clusters(3, 0.02, 0.1, n=2)
    alone = [share(tbl[:1], n_samples=20)[1]["flag"][0] for tbl in (old, young)]
    for tbl in (old, young):
        tbl["distance"] = 20 * u.Mpc
    old["F275W"][1] = young["F275W"][1] = np.nan
    out = clusterpost.infer_table(QTable({name: np.concatenate([old[name], young[name]]) for name in old.colnames}),
                                  model="any_bands", n_samples=20)
    assert [out["flag"][0], out["flag"][2]] == alone
    assert ((out["flag"] & PERHAPS_OLD) != 0).tolist() == [True, True, False, False]


def test_other_families_have_no_such_doubt(tiny_stochastic):
    out = clusterpost.infer_table(clusters(12_000, 0.001, 0.05, n=2), model=tiny_stochastic, n_samples=20)
    assert not (out["flag"] & PERHAPS_OLD).any()
