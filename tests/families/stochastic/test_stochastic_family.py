import numpy as np
import pytest
import torch
from tiny_stars import WITH_V, tiny_table

import clusterpost
from clusterpost.errors import InputError
from clusterpost.families import get_family
from clusterpost.families.stochastic import StochasticClusters
from clusterpost.families.stochastic.simulator import StarSimulator

FIVE = ("F275W", "F336W", "F438W", "F555W", "F814W")


@pytest.fixture(scope="module")
def family():
    return StochasticClusters(bands=FIVE)


def test_registered_by_name(family):
    assert get_family("stochastic") is StochasticClusters
    assert family.band_names == FIVE
    assert family.likelihood is None
    assert family.error_floor == 0.12
    assert family.with_bands(["F657N", "F110W_IR"]).band_names == ("F657N", "F110W_IR")
    assert len(StochasticClusters().bands) == 31


def test_plain_values_make_it_again(family):
    options = StochasticClusters(bands=["F606W_ACS", "V_JC"], prior="flat", distance=(1, 20)).to_dict()
    again = StochasticClusters.from_dict(options)
    assert again.to_dict() == options
    assert again.prior.describe() == "flat"
    with pytest.raises(InputError, match="table of stars does not match"):
        StochasticClusters.from_dict({**options, "stars_sha256": "0" * 64})
    with pytest.raises(InputError, match="unknown prior"):
        StochasticClusters(prior="none")


def test_brightness_falls_with_the_distance_squared(family):
    theta = torch.tensor([[2.0, 5.0, 0.1, 0.0, 3.1, 0.5]]).repeat(2, 1)
    near, far = (family.simulate(theta, {"distance": torch.full((2,), mpc)}, torch.Generator().manual_seed(1))
                 for mpc in (1.0, 10.0))
    np.testing.assert_allclose(near - far, np.log(100), atol=1e-4)
    ten_pc = family.simulator.simulate(theta, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(near - torch.log(ten_pc), -2 * np.log(1e5), atol=1e-4)


def test_distances_of_mocks_are_log_uniform():
    family = StochasticClusters(bands=FIVE, distance=(1, 100))
    distance = family.draw_covariates(50_000, torch.Generator().manual_seed(2))["distance"]
    assert 1 <= float(distance.min()) < float(distance.max()) <= 100
    assert float((distance < 10).double().mean()) == pytest.approx(0.5, abs=0.01)


def test_derived_quantities_are_means_of_clusters(family):
    """Against massive clusters, without gas and dust."""
    theta = torch.tensor([[0.31, 8.0, 0, -0.2, 3.1, 0], [1.02, 8.0, 0, 0.1, 3.1, 0], [2.5, 8.0, 0, -1.5, 3.1, 0]])
    light = StarSimulator(bands=["V_JC"]).light(*theta[:, [0, 1, 3, 5]].T, torch.full((3,), -3.0),
                                                torch.Generator().manual_seed(3))
    values = {d.column: d.function(theta[:, None], {}).squeeze(1) for d in family.derived}
    assert set(values) == {"stellar_mass", "M_V", "ionizing_rate"}
    magnitude = -2.5 * torch.log10(light.columns.sum(1) / 3.6307805477e6) - 0.002
    np.testing.assert_allclose(values["M_V"], magnitude, atol=0.01)
    np.testing.assert_allclose(values["stellar_mass"], torch.log10(light.stellar_mass), atol=1e-3)
    np.testing.assert_allclose(values["ionizing_rate"][:2], torch.log10(light.photons[:2]) + 45, atol=0.02)


def test_simulate_needs_no_download():
    mocks = clusterpost.simulate(50, model="stochastic", seed=4)
    assert {"age_true", "mass_true", "ebv_true", "metallicity_true", "rv_true", "nebular_covering_true"} <= set(
        mocks.colnames)
    assert all((mocks[band].value > 0).all() for band in FIVE)
    again = clusterpost.simulate(50, model="stochastic", seed=4)
    np.testing.assert_array_equal(mocks["F814W"].value, again["F814W"].value)


def test_mass_scatters_and_the_median_is_fainter_than_the_mean(family):
    """Clusters of 300 Msun at 3 Myr: most lack the few stars that make the mean."""
    theta = torch.tensor([[0.48, 2.5, 0, 0, 3.1, 0]]).repeat(4000, 1)
    flux = family.simulator.simulate(theta, generator=torch.Generator().manual_seed(5))[:, 3]
    mean = 10 ** (2.5 - 8) * family.simulator.simulate(torch.tensor([[0.48, 8.0, 0, 0, 3.1, 0]]))[0, 3]
    assert float(flux.mean() / mean) == pytest.approx(1, abs=0.1)
    assert 0.3 < float(2.5 * torch.log10(mean / flux.median())) < 1.2


@pytest.mark.parametrize("bands", [["F275W", "V_JC"], ["F275W"], None])
def test_derived_quantities_do_not_depend_on_the_bands(bands):
    family = StochasticClusters(table=tiny_table(bands=WITH_V))
    other = StochasticClusters(table=tiny_table(bands=WITH_V), bands=bands).with_bands(["F275W"])
    theta = torch.tensor([[[1.0, 4.0, 0, 0, 3.1, 0]]])
    for one, same in zip(family.derived, other.derived, strict=True):
        assert torch.equal(one.function(theta, {}), same.function(theta, {}))
        assert torch.isfinite(one.function(theta, {})).all()


@pytest.mark.parametrize("name", ["setA", "setB"])
def test_truths_of_the_brute_force_sets_are_likely(shared_data, name):
    """True photometry there was drawn from another code's clusters: its ranks among ours must look uniform."""
    with np.load(shared_data / "stochastic" / f"{name}.npz") as file:
        truth, ln_flux = file["truth"], file["ln_flux_true"]
        log_u = file["truth_log_u"] if name == "setB" else np.full(len(truth), -3.0)
    n, ranks = 1500, []
    simulator, generator = StarSimulator(bands=FIVE), torch.Generator().manual_seed(6)
    for row, observed, u in zip(truth, ln_flux, log_u, strict=True):
        theta = np.tile([*row[:3], 0.0, 3.1, 0.0], (n, 1)).astype(np.float32)
        if name == "setB":
            theta[:, 3:] = row[3] - np.log10(0.02), row[4], row[5]
        drawn = torch.log(simulator.simulate(torch.as_tensor(theta), log_u=torch.full((n,), float(u)),
                                             generator=generator)).numpy()
        ranks.append(np.append((drawn < observed).mean(0), (np.diff(drawn) < np.diff(observed)).mean(0)))
    ranks = np.array(ranks)
    assert ((ranks > 0) & (ranks < 1)).all()
    assert np.abs(ranks.mean(0) - 0.5).max() < 0.16  # three standard deviations of the mean of 30
    assert np.abs(np.abs(ranks - 0.5).mean(0) - 0.25).max() < 0.08
