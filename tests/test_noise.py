import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clusterpost.noise import NOISE_MODELS, get_noise

N = 200_000
positive = st.floats(1e-6, 1e6)
relative = st.floats(0.01, 0.5)


def draw(name, ln_flux, r, seed=0):
    size = (N,) if np.isscalar(r) else r.shape
    ones = torch.ones(size, dtype=torch.float64)
    return get_noise(name).sample(ln_flux * ones, r * ones, torch.Generator().manual_seed(seed))


def moments_agree(sample, mean, sd):
    """Whether mean and standard deviation lie within four of their own standard errors."""
    sample = sample.numpy()
    centered = sample - sample.mean()
    error_of_sd = np.sqrt(((centered**4).mean() - (centered**2).mean() ** 2) / len(sample)) / (2 * sample.std())
    return abs(sample.mean() - mean) < 4 * sd / math.sqrt(len(sample)) and abs(sample.std() - sd) < 4 * error_of_sd


@pytest.mark.parametrize("name", list(NOISE_MODELS))
@pytest.mark.parametrize("r", [0.05, 0.2, 0.5])
def test_samples_have_mean_f_and_standard_deviation_r_f(name, r):
    truth = 3.7
    flux, _ = draw(name, math.log(truth), r)
    assert moments_agree(flux, truth, r * truth)
    assert not moments_agree(flux * (1 + r**2 / 2), truth, r * truth) or r < 0.1
    assert not moments_agree(truth + (flux - truth) * 1.02, truth, r * truth)


@pytest.mark.parametrize(("name", "of_truth"), [("lognormal", False), ("normal", True), ("walter2025", True)])
def test_error_belongs_to_the_right_flux(name, of_truth):
    truth, r = 2.0, 0.3
    flux, error = draw(name, math.log(truth), r)
    expected = torch.full_like(flux, r * truth) if of_truth else r * flux
    torch.testing.assert_close(error, expected)


def test_shapes_are_kept():
    for noise in NOISE_MODELS.values():
        ln_flux, r = torch.zeros(4, 3, 5), torch.full((4, 3, 5), 0.1)
        flux, error = noise.sample(ln_flux, r, torch.Generator().manual_seed(0))
        assert flux.shape == error.shape == noise.log_prob(flux, error, ln_flux).shape == (4, 3, 5)


@pytest.mark.parametrize("r", [0.05, 0.3, 0.5])
def test_lognormal_density_of_ln_flux_integrates_to_one(r):
    ln = torch.linspace(-8, 6, 20_001, dtype=torch.float64)
    density = get_noise("lognormal").log_prob(ln.exp(), r * ln.exp(), torch.tensor(-0.7, dtype=torch.float64)).exp()
    assert torch.trapezoid(density, ln).item() == pytest.approx(1, abs=1e-8)
    mean_flux = torch.trapezoid(density * ln.exp(), ln).item()
    assert mean_flux == pytest.approx(math.exp(-0.7), rel=1e-6)


@pytest.mark.parametrize("r", [0.05, 0.3, 0.5])
def test_normal_density_of_flux_integrates_to_one(r):
    truth = math.exp(-0.7)
    flux = torch.linspace(-6, 8, 20_001, dtype=torch.float64)
    error = torch.full_like(flux, r * truth)
    density = get_noise("normal").log_prob(flux, error, torch.tensor(-0.7, dtype=torch.float64)).exp()
    assert torch.trapezoid(density, flux).item() == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("name", ["lognormal", "normal"])
def test_samples_follow_the_density(name):
    truth, r = 1.5, 0.4
    flux, error = draw(name, math.log(truth), r)
    x = torch.log(flux) if name == "lognormal" else flux
    edges = torch.quantile(x, torch.linspace(0.002, 0.998, 41, dtype=x.dtype))
    fine = edges[:-1, None] + (edges[1:] - edges[:-1])[:, None] * torch.linspace(0, 1, 201, dtype=x.dtype)
    observed = fine.exp() if name == "lognormal" else fine
    sigma = r * observed if name == "lognormal" else torch.full_like(observed, error[0].item())
    density = get_noise(name).log_prob(observed, sigma, torch.tensor(math.log(truth), dtype=x.dtype)).exp()
    expected = torch.trapezoid(density, fine, dim=1) * N
    counts = torch.histogram(x, edges).hist
    chi2 = ((counts - expected) ** 2 / expected).sum().item()
    assert stats.chi2.sf(chi2, 40) > 1e-4
    shifted = torch.histogram(x + 0.02, edges).hist
    assert stats.chi2.sf(((shifted - expected) ** 2 / expected).sum().item(), 40) < 1e-6


class TestWalter2025:
    """Its density is one of (ln f*, r*), without the factor 2 of r ~ U(0, 0.5)."""

    truth = 3.0

    def log_density(self, ln_ratio, observed_r):
        flux = self.truth * ln_ratio.exp()
        ln_flux = torch.tensor(math.log(self.truth), dtype=flux.dtype)
        return get_noise("walter2025").log_prob(flux, observed_r * flux, ln_flux)

    def test_integrates_to_the_width_of_the_range_of_r(self):
        # the density narrows to a point at r = 0, ln f* = ln f: steps fine enough there
        ln_ratio = 1e-3 * torch.sinh(torch.linspace(-9, 8.5, 1501, dtype=torch.float64))
        # r* spans [0, 0.5 f/f*]: a unit variable along that range resolves every slice alike
        unit = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
        widest = 0.5 * torch.exp(-ln_ratio)
        density = self.log_density(ln_ratio[:, None], widest[:, None] * unit).exp()
        assert torch.isfinite(density).all()
        total = torch.trapezoid(density.mean(1) * widest, ln_ratio).item()
        assert 2 * total == pytest.approx(1, abs=0.002)

    @pytest.mark.parametrize(("jacobian", "agrees"), [(True, True), (False, False)])
    def test_samples_follow_the_density(self, jacobian, agrees):
        generator = torch.Generator().manual_seed(5)
        r = 0.5 * torch.rand(400_000, generator=generator, dtype=torch.float64)
        flux, error = get_noise("walter2025").sample(torch.full_like(r, math.log(self.truth)), r, generator)
        x_edges, y_edges = np.linspace(-0.8, 0.6, 21), np.linspace(0.05, 0.7, 21)
        counts, *_ = np.histogram2d(torch.log(flux / self.truth), error / flux, bins=(x_edges, y_edges))
        sub = (np.arange(10) + 0.5) / 10
        x = torch.from_numpy((x_edges[:-1, None] + np.diff(x_edges)[:, None] * sub).ravel())
        y = torch.from_numpy((y_edges[:-1, None] + np.diff(y_edges)[:, None] * sub).ravel())
        density = self.log_density(x[:, None], y[None, :]).exp()
        if not jacobian:
            density = density * torch.exp(-x)[:, None]
        cells = density.reshape(20, 10, 20, 10)
        area = np.diff(x_edges)[0] * np.diff(y_edges)[0]
        expected = (cells.mean((1, 3)) * area * 2 * len(r)).numpy()
        whole = ((cells > 0).all(3).all(1) | (cells == 0).all(3).all(1)).numpy()
        use = whole & (expected > 20)
        assert use.sum() > 150
        chi2 = ((counts - expected)[use] ** 2 / expected[use]).sum()
        p_value = stats.chi2.sf(chi2, use.sum())
        assert p_value > 1e-3 if agrees else p_value < 1e-6
        beyond = (cells == 0).all(3).all(1).numpy()
        assert counts[beyond].sum() == 0

    def test_no_true_relative_error_above_one_half(self):
        flux = torch.tensor([1.0, 1.0])
        error = torch.tensor([0.499, 0.501])
        density = get_noise("walter2025").log_prob(flux, error, torch.zeros(2))
        assert torch.isfinite(density[0])
        assert density[1] == -torch.inf


@settings(deadline=None, max_examples=100)
@given(flux=positive, truth=positive, r=relative, factor=st.floats(1e-3, 1e3))
def test_lognormal_knows_only_ratios(flux, truth, r, factor):
    noise = get_noise("lognormal")
    flux, truth, factor = (torch.tensor(v, dtype=torch.float64) for v in (flux, truth, factor))
    one = noise.log_prob(flux, r * flux, truth.log())
    scaled = noise.log_prob(flux * factor, r * flux * factor, (truth * factor).log())
    torch.testing.assert_close(one, scaled, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=100)
@given(flux=positive, truth=positive, r=relative)
def test_lognormal_is_that_of_scipy(flux, truth, r):
    s = math.sqrt(math.log1p(r**2))
    expected = stats.lognorm.logpdf(flux, s, scale=truth * math.exp(-(s**2) / 2)) + math.log(flux)
    got = get_noise("lognormal").log_prob(*(torch.tensor(v, dtype=torch.float64) for v in (flux, r * flux)),
                                          torch.tensor(math.log(truth), dtype=torch.float64))
    assert got.item() == pytest.approx(expected, rel=1e-7, abs=1e-7)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**20), factor=st.floats(1e-3, 1e3), name=st.sampled_from(sorted(NOISE_MODELS)))
def test_samples_scale_with_the_true_flux(seed, factor, name):
    noise = get_noise(name)
    ln_flux = torch.linspace(-3, 3, 7, dtype=torch.float64)
    r = torch.linspace(0.05, 0.5, 7, dtype=torch.float64)
    one = noise.sample(ln_flux, r, torch.Generator().manual_seed(seed))
    two = noise.sample(ln_flux + math.log(factor), r, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(tuple(factor * v for v in one), two, rtol=1e-9, atol=0)


def test_a_perfect_measurement_gives_the_true_flux():
    for noise in NOISE_MODELS.values():
        flux, error = noise.sample(torch.zeros(4), torch.zeros(4), torch.Generator().manual_seed(0))
        assert torch.equal(flux, torch.ones(4))
        assert torch.equal(error, torch.zeros(4))


def test_unknown_noise_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown noise model 'poisson'.*lognormal, normal, walter2025"):
        get_noise("poisson")


@settings(deadline=None, max_examples=100)
@given(limit=positive, r=st.floats(0.01, 10), truth=positive, name=st.sampled_from(sorted(NOISE_MODELS)))
def test_limit_is_the_probability_to_stay_below_it(limit, r, truth, name):
    sigma = r * max(limit, truth)
    got = get_noise(name).log_limit(*(torch.tensor(v, dtype=torch.float64) for v in (limit, sigma, math.log(truth))))
    assert got.item() == pytest.approx(stats.norm.logcdf((limit - truth) / sigma), rel=1e-6, abs=1e-9)


def test_limit_that_is_broken_by_far_is_finite_in_single_precision():
    got = get_noise("lognormal").log_limit(torch.tensor(1.0), torch.tensor(0.01), torch.tensor([0.0, 5.0, 9.0]))
    assert torch.isfinite(got).all()
    assert (got.diff() < 0).all()
    assert got[0].item() == pytest.approx(math.log(0.5), rel=1e-5)


@pytest.mark.parametrize("name", list(NOISE_MODELS))
@pytest.mark.parametrize("r", [0.05, 0.4])
def test_pulls_of_samples_are_standard_normal(name, r):
    flux, error = draw(name, 0.3, r)
    pull = get_noise(name).pull(flux, error, torch.tensor(0.3, dtype=flux.dtype))
    assert moments_agree(pull, 0.0, 1.0)
    assert not moments_agree(pull * 1.02, 0.0, 1.0)
    assert stats.kstest(pull[:20_000].numpy(), "norm").pvalue > 1e-3


@settings(deadline=None, max_examples=50)
@given(flux=positive, truth=positive, r=relative)
def test_lognormal_is_its_own_stand_in(flux, truth, r):
    flux, ln_truth = torch.tensor([flux], dtype=torch.float64), torch.tensor([math.log(truth)], dtype=torch.float64)
    value, width, usable = get_noise("lognormal").as_lognormal(flux, r * flux)
    assert usable.all()
    expected = stats.norm.logpdf(ln_truth.numpy(), value.numpy(), width.numpy())
    np.testing.assert_allclose(get_noise("lognormal").log_prob(flux, r * flux, ln_truth), expected, rtol=1e-9)


def test_stand_in_of_a_normal_detection_widens_with_its_noise_and_ends():
    flux = torch.ones(6)
    error = torch.tensor([0.05, 0.2, 0.5, 0.9, 1.1, 0.5])
    flux[5] = -1.0
    value, width, usable = get_noise("normal").as_lognormal(flux, error)
    assert usable.tolist() == [True, True, True, True, False, False]
    assert torch.equal(value[:4], torch.zeros(4))
    assert width[0] == pytest.approx(0.05, rel=0.02)
    assert 0.7 < width[2] < 1.0
    assert width[:4].max() < 1.1


def test_what_a_likelihood_can_take():
    flux = torch.tensor([1.0, 0.0, -1.0, torch.nan, 1.0])
    error = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.0])
    assert get_noise("lognormal").usable(flux, error).tolist() == [True, False, False, False, False]
    assert get_noise("walter2025").usable(flux, error).tolist() == [True, False, False, False, False]
    assert get_noise("normal").usable(flux, error).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize("name", list(NOISE_MODELS))
def test_along_mass_is_the_likelihood_but_for_a_constant(name):
    noise, generator = get_noise(name), torch.Generator().manual_seed(2)
    ln_flux = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    flux, error = noise.sample(ln_flux[:, 0], torch.full((3, 5), 0.3, dtype=torch.float64), generator)
    if name == "normal":
        flux[0, 1] = -0.2
    measured = torch.ones(3, 5, dtype=torch.bool)
    measured[1, :2] = False
    ln_mass = torch.linspace(-1, 1.5, 9, dtype=torch.float64).expand(3, 4, 9)
    whole = noise.log_prob(flux[:, None, None], error[:, None, None], ln_flux[:, :, None] + ln_mass[..., None])
    expected = torch.where(measured[:, None, None], whole, 0.0).sum(-1)
    got = noise.along_mass(flux, error, measured, ln_flux, ln_mass)
    finite = torch.isfinite(expected)
    assert torch.equal(finite, torch.isfinite(got))
    difference = torch.where(finite, got - expected, torch.nan)
    spread = difference - difference.nanmean(-1, keepdim=True)
    assert spread[finite].abs().max() < 1e-9
    assert (finite.sum(-1) > 2).any()


@pytest.mark.parametrize("name", list(NOISE_MODELS))
def test_likelihood_is_the_sum_over_the_detections(name):
    noise, generator = get_noise(name), torch.Generator().manual_seed(3)
    ln_flux = 0.3 * torch.randn(50, 7, 5, generator=generator) - torch.arange(5)
    flux, error = noise.sample(ln_flux[:, 0], torch.full((50, 5), 0.1), generator)
    measured = torch.rand(50, 5, generator=generator) < 0.7
    measured[0] = False
    each = noise.log_prob(flux[:, None], error[:, None], ln_flux)
    got = noise.log_likelihood(flux, error, measured, ln_flux)
    assert got.shape == (50, 7)
    torch.testing.assert_close(got, torch.where(measured[:, None], each, 0.0).sum(-1), rtol=1e-5, atol=1e-4)
    assert (got[0] == 0).all()
    assert not torch.allclose(got, each.sum(-1), rtol=1e-3)


def test_along_mass_of_bright_and_faint_things_stays_finite():
    ln_flux = torch.tensor([[[60.0, 61.0]], [[-60.0, -61.0]]])
    flux = torch.exp(ln_flux[:, 0])
    for name in ("lognormal", "normal"):
        got = get_noise(name).along_mass(flux, 0.1 * flux, torch.ones(2, 2, dtype=torch.bool), ln_flux,
                                         torch.tensor([-0.2, 0.0, 0.2]).expand(2, 1, 3))
        assert (got.argmax(-1) == 1).all(), name
