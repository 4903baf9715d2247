import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from clusterpost.posterior.modes import find_modes


def draw(n, centers, weights=None, sigma=0.1, seed=0, dtype=torch.float32):
    """Draws (1, n, 3) of a mixture of normal densities, and the share of each."""
    rng = np.random.default_rng(seed)
    centers = np.atleast_2d(np.asarray(centers, float))
    which = rng.choice(len(centers), n, p=weights)
    root = np.linalg.cholesky(sigma) if np.ndim(sigma) == 2 else sigma * np.eye(3)
    x = centers[which] + rng.normal(size=(n, 3)) @ root.T
    return torch.as_tensor(x, dtype=dtype)[None]


def slow_modes(draws, n_modes=3, dip=0.1):
    """Gaussian mean shift from every draw, one at a time; ends merged by the dip between them."""
    x = np.asarray(draws, float)
    n, p = x.shape
    root = np.linalg.cholesky(np.cov(x.T, bias=True))
    white = np.linalg.solve(root, (x - x.mean(0)).T).T / n ** (-1 / (p + 4))

    def density(point):
        return np.exp(-0.5 * ((white - point) ** 2).sum(-1)).mean()

    ends = []
    for start in white[::3]:
        point = start
        for _ in range(400):
            kernel = np.exp(-0.5 * ((white - point) ** 2).sum(-1))
            new = kernel @ white / kernel.sum()
            moved = np.abs(new - point).max()
            point = new
            if moved < 1e-6:
                break
        ends.append(point)
    ends = np.array(ends)
    heights = np.array([density(e) for e in ends])
    groups = []
    for i in np.argsort(-heights):
        for group in groups:
            path = [density(group[0] + (ends[i] - group[0]) * t) for t in np.linspace(0, 1, 9)[1:-1]]
            if min(path) >= (1 - dip) * heights[i]:
                group[1] += 1
                break
        else:
            groups.append([ends[i], 1])
    found = [(g[0] * n ** (-1 / (p + 4)) @ root.T + x.mean(0), g[1] / len(ends)) for g in groups]
    return [m for m in found if m[1] >= 0.01][:n_modes]


def test_one_gaussian():
    modes = find_modes(draw(2000, [1.0, 4.0, 0.3]))
    assert modes.count.tolist() == [1]
    # 0.5 sigma: the maximum of the density of so few draws moves about
    np.testing.assert_allclose(modes.theta[0, 0], [1.0, 4.0, 0.3], atol=0.05)
    assert modes.weight[0, 0] == pytest.approx(1, abs=0.02)
    assert torch.isnan(modes.theta[0, 1:]).all()
    assert torch.isnan(modes.weight[0, 1:]).all()


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_two_gaussians(share):
    modes = find_modes(draw(4000, [[0.5, 4, 0.8], [2.5, 5, 0.1]], [share, 1 - share]))
    assert modes.count.tolist() == [2]
    order = modes.theta[0, :2, 0].argsort()
    np.testing.assert_allclose(modes.theta[0, :2][order], [[0.5, 4, 0.8], [2.5, 5, 0.1]], atol=0.05)
    np.testing.assert_allclose(modes.weight[0, :2][order], [share, 1 - share], atol=0.05)
    if share > 0.5:  # the denser one first
        assert order[0] == 0


def test_three_gaussians_and_at_most_as_many_as_asked_for():
    centers = [[0.5, 4, 0.8], [2.5, 5, 0.1], [3.5, 6, 1.2]]
    draws = draw(6000, centers, [0.5, 0.3, 0.2])
    modes = find_modes(draws)
    assert modes.count.tolist() == [3]
    np.testing.assert_allclose(modes.theta[0], centers, atol=0.06)
    np.testing.assert_allclose(modes.weight[0], [0.5, 0.3, 0.2], atol=0.05)
    two = find_modes(draws, n_modes=2)
    assert two.count.tolist() == [2]
    assert two.theta.shape == (1, 2, 3)
    torch.testing.assert_close(two.theta, modes.theta[:, :2])
    five = find_modes(draws, n_modes=5)
    assert five.count.tolist() == [3]
    assert torch.isnan(five.theta[0, 3:]).all()


@pytest.mark.parametrize("thin", [1e-3, 1e-4, 1e-5, 1e-6, 0.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_draws_along_a_line_do_not_stop_the_others(thin, weighted):
    rng = np.random.default_rng(0)
    along, across = rng.normal(size=(200, 3000, 1)), rng.normal(size=(200, 3000, 3))
    lines = 3 + along * rng.uniform(0.1, 1, (200, 1, 3)) + thin * across
    draws = torch.as_tensor(np.concatenate([lines, 3 + across[:1]]), dtype=torch.float32)
    weight = torch.as_tensor(rng.gamma(0.5, size=(201, 3000)), dtype=torch.float32) if weighted else None
    modes = find_modes(draws, weight=weight)
    assert (modes.count >= 1).all()
    assert torch.isfinite(modes.theta[:, 0]).all()
    np.testing.assert_allclose(modes.theta[:, 0], 3, atol=1.2)
    alone = find_modes(draws[-1:], weight=None if weight is None else weight[-1:])
    np.testing.assert_allclose(modes.theta[-1:], alone.theta, atol=1e-3)


def test_a_narrow_correlated_gaussian():
    """As of age and reddening, on scales that differ, and far from zero."""
    scale = np.array([0.5, 0.05, 0.01])
    correlation = np.array([[1, 0.99, -0.98], [0.99, 1, -0.97], [-0.98, -0.97, 1]])
    covariance = correlation * np.outer(scale, scale)
    modes = find_modes(draw(3000, [100.0, 4.0, 0.3], sigma=covariance))
    assert modes.count.tolist() == [1]
    assert (np.abs(modes.theta[0, 0].numpy() - [100.0, 4.0, 0.3]) < 0.3 * scale).all()


def test_a_shallow_dip_is_no_second_mode():
    apart = find_modes(draw(4000, [[0, 0, 0], [1.0, 0, 0]], [0.5, 0.5]))
    assert apart.count.tolist() == [2]
    # 1.6 sigma apart, a mixture of two has one maximum: what the noise of the draws puts there does not count.
    assert find_modes(draw(4000, [[0, 0, 0], [0.16, 0, 0]], [0.5, 0.5])).count.tolist() == [1]


def test_dip_decides():
    draws = draw(4000, [[0, 0, 0], [0.45, 0, 0]], [0.5, 0.5])
    counts = [find_modes(draws, dip=dip).count.item() for dip in (0.02, 0.999)]
    assert counts == [2, 1]


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize("value", [0.0, 3.3, 1e6])
def test_draws_that_are_all_the_same(n, value):
    draws = torch.full((1, n, 3), value)
    modes = find_modes(torch.cat([draws, draw(n, [1.0, 4.0, 0.3])]))
    assert modes.count[0] == 1
    np.testing.assert_allclose(modes.theta[0, 0], value, rtol=1e-6, atol=1e-6)
    # and their neighbor in the batch takes no harm
    np.testing.assert_allclose(modes.theta[1, 0], [1.0, 4.0, 0.3], atol=0.2)


def test_one_component_without_spread():
    draws = draw(500, [1.0, 4.0, 0.3])
    draws[..., 2] = 0.0
    modes = find_modes(draws)
    np.testing.assert_allclose(modes.theta[0, 0], [1.0, 4.0, 0.0], atol=0.05)


@pytest.mark.parametrize("n", [10, 50, 63, 64, 65, 127, 128, 1000, 5001])
def test_any_number_of_draws(n):
    modes = find_modes(draw(n, [1.0, 4.0, 0.3]).repeat(2, 1, 1))
    assert (modes.count >= 1).all()
    assert torch.isfinite(modes.theta[:, 0]).all()
    assert (modes.weight.nansum(dim=1) <= 1 + 1e-6).all()


def test_densest_first_and_weights_within_one():
    rng = np.random.default_rng(5)
    batch = torch.cat(
        [draw(600, rng.uniform(0, 3, (4, 3)), rng.dirichlet(np.ones(4)), 0.15, seed=s) for s in range(20)]
    )
    modes = find_modes(batch)
    assert (modes.weight.nansum(dim=1) <= 1 + 1e-6).all()
    for i in range(20):
        count = modes.count[i]
        assert torch.isfinite(modes.theta[i, :count]).all()
        assert torch.isnan(modes.theta[i, count:]).all()
        assert (modes.weight[i, :count] >= 0.01).all()


def test_the_batch_does_not_matter():
    rng = np.random.default_rng(6)
    batch = torch.cat([draw(500, rng.uniform(0, 3, (2, 3)), [0.6, 0.4], 0.2, seed=s) for s in range(10)])
    together = find_modes(batch)
    alone = [find_modes(batch[i : i + 1]) for i in range(10)]
    assert together.count.tolist() == [m.count.item() for m in alone]
    np.testing.assert_allclose(together.theta, torch.cat([m.theta for m in alone]), atol=1e-4)
    np.testing.assert_allclose(together.weight, torch.cat([m.weight for m in alone]), atol=1e-6)


def test_the_order_of_the_draws_does_not_matter():
    draws = draw(2000, [[0.5, 4, 0.8], [2.5, 5, 0.1]], [0.65, 0.35])
    shuffled = draws[:, torch.randperm(2000, generator=torch.Generator().manual_seed(0))]
    one, two = find_modes(draws), find_modes(shuffled)
    assert one.count.tolist() == two.count.tolist() == [2]
    np.testing.assert_allclose(one.theta[0, :2], two.theta[0, :2], atol=0.01)
    np.testing.assert_allclose(one.weight[0, :2], two.weight[0, :2], atol=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_mean_shift_from_every_draw(seed):
    rng = np.random.default_rng(seed)
    n_centers = 1 + seed % 3
    centers = rng.uniform([0, 3, 0], [4, 7, 1.5], (n_centers, 3))
    draws = draw(600, centers, rng.dirichlet(5 * np.ones(n_centers)), 0.2, seed=seed)
    slow = slow_modes(draws[0])
    fast = find_modes(draws)
    assert fast.count.item() == len(slow)
    np.testing.assert_allclose(fast.theta[0, : len(slow)], [m[0] for m in slow], atol=0.01)
    np.testing.assert_allclose(fast.weight[0, : len(slow)], [m[1] for m in slow], atol=0.06)


def test_agrees_with_a_mixture_fit():
    draws = draw(3000, [[0.5, 4, 0.8], [2.5, 5, 0.1]], [0.65, 0.35], dtype=torch.float64)
    fit = GaussianMixture(2, random_state=0).fit(draws[0].numpy())
    order = np.argsort(-fit.weights_)
    modes = find_modes(draws)
    np.testing.assert_allclose(modes.theta[0, :2], fit.means_[order], atol=0.04)
    np.testing.assert_allclose(modes.weight[0, :2], fit.weights_[order], atol=0.02)


CENTERS = [[0.5, 4, 0.8], [2.5, 5, 0.1]]


def reweighted(shares, proposal=(0.5, 0.5), n=3000, seed=0, widen=1.6):
    """Broad draws of two bumps, with the weights that make narrower ones of the given shares."""
    draws = draw(n, CENTERS, proposal, sigma=0.1 * widen, seed=seed, dtype=torch.float64)
    squared = torch.stack([((draws - torch.tensor(c, dtype=torch.float64)) ** 2).sum(-1) for c in CENTERS], -1) / 0.01

    def density(share, width):
        return (torch.tensor(share) * torch.exp(-0.5 * squared / width**2)).sum(-1) / width**3

    weight = density(shares, 1.0) / density(proposal, widen)
    return draws.float(), (weight / weight.sum(1, keepdim=True)).float()


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_weights_make_the_modes(share):
    draws, weight = reweighted((share, 1 - share))
    modes = find_modes(draws, weight=weight)
    assert modes.count.tolist() == [2]
    order = modes.theta[0, :2, 0].argsort()
    np.testing.assert_allclose(modes.theta[0, :2][order], CENTERS, atol=0.06)
    np.testing.assert_allclose(modes.weight[0, :2][order], [share, 1 - share], atol=0.03)
    assert modes.weight[0].nansum().item() == pytest.approx(1, abs=1e-6)
    if share > 0.5:
        assert order[0] == 0
    # without the weights they are equal
    assert abs(find_modes(draws).weight[0, 0].item() - 0.5) < 0.05


def test_a_mode_of_no_weight_is_none():
    draws, weight = reweighted((1.0, 0.0))
    assert find_modes(draws).count.tolist() == [2]
    modes = find_modes(draws, weight=weight)
    assert modes.count.tolist() == [1]
    np.testing.assert_allclose(modes.theta[0, 0], CENTERS[0], atol=0.1)
    far = draws.clone()
    far[weight < 1e-12] = 1e4  # nor does it matter where those draws lie
    zero = torch.where(weight < 1e-12, 0.0, weight)
    np.testing.assert_allclose(find_modes(far, weight=zero).theta[0, 0], modes.theta[0, 0], atol=0.02)


def test_equal_weights_of_any_scale_change_nothing():
    draws = draw(1500, CENTERS, [0.65, 0.35])
    plain, weighted = find_modes(draws), find_modes(draws, weight=torch.full((1, 1500), 7.0))
    assert plain.count.tolist() == weighted.count.tolist()
    np.testing.assert_allclose(plain.theta, weighted.theta, atol=1e-3)
    np.testing.assert_allclose(plain.weight, weighted.weight, atol=0.005)


@pytest.mark.parametrize("n_heavy", [1, 2, 20])
def test_all_weight_on_few_draws(n_heavy):
    draws = draw(500, CENTERS)
    weight = torch.zeros(1, 500)
    weight[0, :n_heavy] = 1.0
    modes = find_modes(torch.cat([draws, draws]), weight=torch.cat([weight, torch.ones(1, 500)]))
    assert torch.isfinite(modes.theta[0, 0]).all()
    assert modes.weight[0].nansum().item() == pytest.approx(1, abs=1e-6)
    assert modes.count[1] == 2
    if n_heavy == 1:
        np.testing.assert_allclose(modes.theta[0, 0], draws[0, 0], atol=1e-3)


def test_shares_of_all_modes_sum_to_one():
    """Also where there are bumps too small to be given, and in a crowd."""
    rng = np.random.default_rng(8)
    batch = torch.cat(
        [draw(800, rng.uniform(0, 3, (6, 3)), rng.dirichlet(np.ones(6)), 0.15, seed=s) for s in range(20)]
    )
    modes = find_modes(batch, n_modes=8, weight=torch.rand(20, 800, generator=torch.Generator().manual_seed(0)))
    np.testing.assert_allclose(modes.weight.nansum(dim=1), 1, atol=1e-6)
    assert modes.count.max() >= 4
    few = find_modes(batch, n_modes=1)
    assert (few.weight[:, 0] < 1).any()


def test_stable_under_reseeding():
    parts = [reweighted((s, 1 - s), seed=seed) for seed in range(10) for s in (0.6, 0.9)]
    draws, weight = (torch.cat(x) for x in zip(*parts, strict=True))
    modes = find_modes(draws, weight=weight)
    assert (modes.count == 2).all()
    for i in (0, 1):
        np.testing.assert_allclose(modes.theta[i::2, :2], np.broadcast_to(CENTERS, (10, 2, 3)), atol=0.08)
        assert modes.weight[i::2, 0].std() < 0.03


def test_noise_of_few_draws_makes_no_modes():
    """One Gaussian, 300 draws of each object: a dip that is no deeper than its own scatter does not count."""
    draws = torch.randn(400, 300, 3, generator=torch.Generator().manual_seed(8))
    assert (find_modes(draws).count > 1).double().mean() < 0.006


def test_one_draw_of_large_weight_is_not_the_strongest_mode():
    """As among simulated objects, one of which had lucky stars."""
    draws = torch.randn(1, 600, 6, generator=torch.Generator().manual_seed(2))
    draws[0, 0] = torch.tensor([1.5, -1.5, 1.5, -1.5, 1.5, -1.5])
    weight = torch.ones(1, 600)
    weight[0, 0] = 12.0
    modes = find_modes(draws, weight=weight)
    assert modes.theta[0, 0].norm() < 1.5
    assert modes.weight[0, 0] > 0.5
    # A fifth of the draws at the same place is one.
    draws[0, :120] = draws[0, :1] + 0.2 * torch.randn(120, 6, generator=torch.Generator().manual_seed(3))
    modes = find_modes(draws)
    assert (modes.theta[0, 0] - torch.tensor([1.5, -1.5, 1.5, -1.5, 1.5, -1.5])).norm() < 0.5
