"""Posteriors from several sources side by side."""

import numpy as np
import pytest

import clusterpost
from benchmarks.papers.density_figures import _heights, _smoothed, plot_densities, plot_with_mcmc
from benchmarks.papers.noise import compare_noise
from benchmarks.papers.noise_figure import plot_noise_models
from clusterpost.errors import InputError

pytestmark = pytest.mark.usefixtures("exact_by_default")

TRUTH = {"age": ("age_true", None, None, None, "Myr"), "mass": ("mass_true", None, None, None, "solMass"),
         "ebv": ("ebv_true", None, None, None, "mag")}


@pytest.fixture(scope="module")
def mocks():
    return clusterpost.simulate(2, errors=0.15, seed=2)


@pytest.fixture(scope="module")
def noisy():
    mocks = clusterpost.simulate(4, noise="normal", errors=0.45, seed=6)
    return compare_noise(mocks[np.asarray((mocks["F275W"] > 0) & (mocks["F336W"] > 0))], n_draws=200)


def test_smoothed_draws_and_heights_of_a_normal_density():
    rng = np.random.default_rng(0)
    bounds = np.array([[-4, -4], [4, 4.0]])
    x, y, density = _smoothed(*rng.normal(size=(2, 200_000)), bounds)
    np.testing.assert_allclose(density.sum() * (x[1] - x[0]) * (y[1] - y[0]), 1, atol=0.01)
    heights = np.array(_heights(density)[::-1])  # of 1, 2 and 3 sigma
    np.testing.assert_allclose(heights, np.exp(-0.5 * np.arange(1, 4) ** 2) / (2 * np.pi), rtol=0.15)


@pytest.mark.slow
def test_network_refined_and_exact_side_by_side(mocks):
    figure = plot_densities(mocks, titles=["young", "old"], published=TRUTH, n_samples=500)
    one, two = figure.subfigs
    assert len(one.axes) == 12
    assert [part.get_suptitle() for part in (one, two)] == ["I: young", "II: old"]
    assert [ax.texts[0].get_text() for ax in one.axes[3::3]] == ["network", "refined", "exact"]
    crosses = [line for line in one.axes[3].lines if line.get_marker() == "X"]
    np.testing.assert_allclose(crosses[0].get_xdata(), np.log10(mocks["age_true"][0].value))
    exact = one.axes[0].lines[0]  # normalized
    x, density = exact.get_xdata(), exact.get_ydata()
    np.testing.assert_allclose(density.sum() * (x[1] - x[0]), 1, rtol=1e-6)
    figure.draw_without_rendering()


def test_another_prior_leaves_the_network_out(mocks):
    from clusterpost.priors import Exponential, ProductPrior

    figure = plot_densities(mocks[:1], published=False, n_samples=300, prior=ProductPrior(ebv=Exponential(0.2)))
    assert [ax.texts[0].get_text() for ax in figure.subfigs[0].axes[3::3]] == ["refined", "exact"]


def test_density_refusals(mocks):
    with pytest.raises(InputError, match="one to 6"):
        plot_densities(clusterpost.simulate(7, seed=1))
    bad = mocks.copy()
    for band in ("F275W", "F336W", "F438W", "F555W"):
        bad[band][1] = np.nan
    with pytest.raises(InputError, match="row 1 cannot"):
        plot_densities(bad, n_samples=100)


@pytest.mark.slow
def test_chains_beside_ours(mocks):
    figure = plot_with_mcmc(mocks[:1], n_samples=2000, n_chains=1)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["emcee", "refined", "network alone"]
    chain, ours, _ = (line.get_ydata() for line in figure.axes[0].lines)
    # Histograms of the same posterior; one chain holds two modes in nearly the right shares.
    difference = np.cumsum(chain) / chain.sum() - np.cumsum(ours) / ours.sum()
    assert np.abs(difference).max() < 0.12
    inset = figure.axes[-1]
    best, peak = (line.get_ydata() for line in inset.lines if len(line.get_ydata()) == 5 and line.get_ls() != "None")
    np.testing.assert_allclose(best, peak, rtol=0.1)


def test_noise_models_against_the_truth_and_each_other(noisy):
    figure = plot_noise_models(noisy, TRUTH, examples=1)
    assert len(figure.axes) == 6
    assert f"{len(noisy)} clusters" in figure.get_suptitle()
    assert f"{max(noisy['divergence']):.2f} bit" in figure.axes[5].texts[0].get_text()
    assert "published" in figure.axes[0].get_xlabel()
    alone = plot_noise_models(noisy, False, examples=2)
    assert "log-normal" in alone.axes[0].get_xlabel()
    points = alone.axes[2].collections[-1].get_offsets()
    np.testing.assert_allclose(points[:, 0], noisy["lognormal_ebv_q50"].value)
    figure.draw_without_rendering()
    alone.draw_without_rendering()
    with pytest.raises(InputError, match="no row"):
        plot_noise_models(noisy[:0])
