"""The forward model against sums over its table, written out one by one."""

import numpy as np
import pytest
import torch
from tiny_stars import BANDS, tiny_table

from clusterpost.families.stochastic.simulator import LOG_U, StarSimulator

SOLAR = np.log10(0.02)


@pytest.fixture(scope="module")
def simulator():
    return StarSimulator(tiny_table())


def expected(table, log_age, log_mass, ebv, metallicity, rv, covering, log_u):
    """Mean flux of a cluster, in plain loops."""
    log_z = metallicity + SOLAR
    i = min(np.searchsorted(table.log_age, log_age, side="right") - 1, len(table.log_age) - 2)
    j = min(np.searchsorted(table.log_z, log_z, side="right") - 1, len(table.log_z) - 2)
    w = (log_age - table.log_age[i]) / (table.log_age[i + 1] - table.log_age[i])
    v = (log_z - table.log_z[j]) / (table.log_z[j + 1] - table.log_z[j])
    columns = np.zeros(len(table.column_band))
    for b, of_z in ((j, 1 - v), (j + 1, v)):
        ratio = np.exp([np.interp(log_age, table.fine_log_age, row) for row in table.ln_ratio[b].T])
        photons = 0.0
        for a, of_age in ((i, 1 - w), (i + 1, w)):
            number = 10**log_mass * of_z * of_age * table.number[b, a].astype(float)
            columns += ratio * (number @ table.light[b, a])
            photons += number @ table.photons[b, a]
        photons *= np.exp(np.interp(log_age, table.fine_log_age, table.ln_ratio_photons[b]))
        if log_age <= table.gas_log_age[-1]:
            by_age = [[np.interp(log_age, table.gas_log_age, row) for row in of_u[b].T] for of_u in table.gas]
            gas = np.array([np.interp(log_u, table.log_u, row) for row in np.transpose(by_age)])
            columns += covering * photons * gas
    columns *= 10 ** (-0.4 * ebv * (rv * table.a + table.b))
    return np.bincount(table.column_band, columns)


@pytest.mark.parametrize(("log_age", "metallicity"), [
    (0.0, 0.0), (0.3, -0.7), (0.5, -1.3), (1.39, 0.17), (1.41, 0.1), (1.999, -0.5), (2.0, np.log10(0.01) - SOLAR)])
@pytest.mark.parametrize("nuisance", [(0.0, 3.1, 0.0, -3.0), (0.7, 2.4, 0.8, -2.2), (1.5, 5.0, 1.0, -3.5)])
def test_a_massive_cluster_is_the_mean(simulator, log_age, metallicity, nuisance):
    ebv, rv, covering, log_u = nuisance
    theta = torch.tensor([[log_age, 10.0, ebv, metallicity, rv, covering]])
    flux = simulator.simulate(theta, log_u=torch.tensor([log_u]), generator=torch.Generator().manual_seed(1))
    mean = expected(simulator.table, log_age, 10.0, ebv, metallicity, rv, covering, log_u)
    np.testing.assert_allclose(flux[0], mean, rtol=2e-3)  # 5e6 of the rarest kind


def test_scatter_is_that_of_poisson_numbers(simulator):
    n, mass = 40_000, 3e3
    theta = torch.tensor([[1.0, np.log10(mass), 0.0, np.log10(0.01) - SOLAR, 3.1, 0.0]]).repeat(n, 1)
    flux = simulator.simulate(theta, generator=torch.Generator().manual_seed(2)).double()
    table = simulator.table
    light = table.light[1, 2].astype(float)
    ratio = np.exp(table.ln_ratio[1, 8])
    star = np.stack([(light * ratio)[:, table.column_band == b].sum(-1) for b in range(2)], 1)
    mean, covariance = mass * table.number[1, 2] @ star, mass * (star * table.number[1, 2][:, None]).T @ star
    np.testing.assert_allclose(flux.mean(0), mean, rtol=0.02)
    np.testing.assert_allclose(np.cov(flux.T), covariance, rtol=0.05)


def test_between_nodes_stars_are_a_mixture(simulator):
    """The numbers scatter as Poisson numbers of both nodes, and not as a sum that is as sure as the mean."""
    n = 40_000
    theta = torch.tensor([[1.25, 3.0, 0.0, np.log10(0.01) - SOLAR, 3.1, 0.0]]).repeat(n, 1)
    flux = simulator.simulate(theta, generator=torch.Generator().manual_seed(3))[:, 0].double()
    table = simulator.table
    star = table.light[1, 2:4, :, 0].astype(float) * np.exp(table.ln_ratio[1, 10, 0])
    variance = 1e3 * 0.5 * (table.number[1, 2:4] * star**2).sum()
    assert flux.var() == pytest.approx(variance, rel=0.05)


def test_order_and_neighbors_do_not_matter(simulator):
    generator = torch.Generator().manual_seed(4)
    theta = torch.rand(300, 6, generator=generator) * torch.tensor([2.0, 1, 1.5, 1, 2, 1]) + torch.tensor(
        [0.0, 9, 0, -1, 2.2, 0])
    log_u = torch.empty(300).uniform_(*LOG_U, generator=generator)
    whole = simulator.simulate(theta, log_u=log_u, generator=torch.Generator().manual_seed(5))
    order = torch.randperm(300, generator=generator)
    other = simulator.simulate(theta[order], log_u=log_u[order], generator=torch.Generator().manual_seed(6))
    np.testing.assert_allclose(whole[order], other, rtol=8e-3)  # as massive clusters are
    again = simulator.simulate(theta, log_u=log_u, generator=torch.Generator().manual_seed(5))
    assert torch.equal(whole, again)


def test_bands_in_another_order(simulator):
    theta = torch.tensor([[1.0, 8.0, 0.3, -0.3, 3.1, 0.5]])
    log_u, table = torch.tensor([-3.0]), tiny_table()
    swapped = StarSimulator(table, BANDS[::-1]).simulate(theta, log_u=log_u, generator=torch.Generator().manual_seed(7))
    straight = simulator.simulate(theta, log_u=log_u, generator=torch.Generator().manual_seed(7))
    assert torch.equal(straight.flip(1), swapped)
    alone = StarSimulator(table, BANDS[1:]).simulate(theta, log_u=log_u, generator=torch.Generator().manual_seed(7))
    np.testing.assert_allclose(alone[0], swapped[0, :1], rtol=1e-6)


def test_present_mass_and_photons(simulator):
    table = simulator.table
    light = simulator.light(*torch.tensor([[1.0], [8.0], [np.log10(0.01) - SOLAR], [0.0], [-3.0]]),
                            torch.Generator().manual_seed(8))
    mass = 1e8 * (table.number[1, 2] @ table.mass[1, 2] + table.remnants[1, 2])
    photons = 1e8 * table.number[1, 2] @ table.photons[1, 2] * np.exp(table.ln_ratio_photons[1, 8])
    assert light.stellar_mass.item() == pytest.approx(mass, rel=1e-3)
    assert light.photons.item() == pytest.approx(photons, rel=1e-2)


def test_many_stars_have_the_light_of_the_mean():
    simulator = StarSimulator(bands=["F275W", "F814W"])
    theta = torch.tensor([[0.5, 7.0, 0.1, -0.3, 3.1, 0.5], [1.7, 7.0, 0.0, 0.0, 3.1, 0.0],
                          [3.6, 7.0, 0.3, -1.0, 2.8, 0.0]])
    log_u = torch.full((3,), -3.0)
    mean = simulator.expected(theta, log_u)
    drawn = torch.stack([simulator.simulate(theta, log_u=log_u, generator=torch.Generator().manual_seed(seed))
                         for seed in range(30)])
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0.02, atol=0)
    lighter = theta - torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    torch.testing.assert_close(simulator.expected(lighter, log_u), mean / 10, rtol=1e-4, atol=0)
