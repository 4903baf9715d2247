import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clusterpost.errors import InputError
from clusterpost.families.clusters import PARAMETERS, FullySampledClusters
from clusterpost.families.stochastic.priors import SurveyPrior
from clusterpost.priors import (
    BoxPrior,
    Exponential,
    Normal,
    PowerLaw,
    ProductPrior,
    Share,
    Uniform,
    as_prior,
    cluster_prior,
)


def test_cluster_prior_is_that_of_the_paper():
    prior = cluster_prior()
    assert prior.names == tuple(p.name for p in PARAMETERS) == ("log_age", "log_mass", "ebv")
    np.testing.assert_allclose(prior.low, [0.0, 2.0, 0.0])
    np.testing.assert_allclose(prior.high, [math.log10(13750), 8.0, 1.5], rtol=1e-6)


def test_samples_are_uniform_and_independent():
    prior = cluster_prior()
    draws = prior.sample(20_000, torch.Generator().manual_seed(1))
    assert draws.shape == (20_000, 3)
    unit = ((draws - prior.low) / (prior.high - prior.low)).numpy()
    for column in unit.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
        assert stats.kstest(column**1.05, "uniform").pvalue < 1e-3  # the test can fail
    assert np.abs(np.corrcoef(unit.T) - np.eye(3)).max() < 0.03


def test_log_prob_integrates_to_one():
    prior = BoxPrior([-1.0, 2.0], [0.5, 2.75], names=("a", "b"))
    a, b = torch.linspace(-2, 1, 601), torch.linspace(1, 4, 601)
    step = (a[1] - a[0]) * (b[1] - b[0])
    grid = torch.stack(torch.meshgrid(a + 1e-4, b + 1e-4, indexing="ij"), -1)
    assert prior.log_prob(grid).exp().sum() * step == pytest.approx(1, abs=0.01)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**20), n=st.integers(1, 50))
def test_every_draw_has_the_density_of_the_box(seed, n):
    prior = cluster_prior()
    draws = prior.sample(n, torch.Generator().manual_seed(seed))
    expected = -math.log(math.log10(13750) * 6 * 1.5)
    torch.testing.assert_close(prior.log_prob(draws), torch.full((n,), expected))


def test_bounds_count_as_inside_and_nothing_beyond():
    prior = cluster_prior()
    assert torch.isfinite(prior.log_prob(torch.stack([prior.low, prior.high]))).all()
    for index in range(3):
        for bound, sign in ((prior.low, -1), (prior.high, 1)):
            theta = (prior.low + prior.high) / 2
            theta[index] = bound[index] + sign * 1e-4
            assert prior.log_prob(theta) == -torch.inf


def test_same_seed_same_draws():
    one, two, other = (cluster_prior().sample(5, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("high", [[1.0, -1.0], [1.0, 0.0]])
def test_bounds_the_wrong_way_round_are_refused(high):
    with pytest.raises(ValueError, match="below its upper bound"):
        BoxPrior([0.0, 0.0], high, names=("a", "b"))


PIECES = {
    "uniform": Uniform(0.2, 1.1),
    "mass function": PowerLaw(-2, 2.0, 8.0),
    "flat in log": PowerLaw(-1, 2.0, 8.0),
    "top heavy": PowerLaw(1.5, 2.0, 8.0),
    "exponential": Exponential(0.3, 0.0, 1.5),
    "steep": Exponential(0.002, 0.0, 1.5),
    "normal": Normal(0.8, 0.1, 0.0, 4.0),
    "normal beyond a bound": Normal(5.0, 0.1, 0.0, 4.0),
    "normal far below": Normal(-9.0, 1.0, 0.0, 1.5),
}


@pytest.mark.parametrize("name", PIECES)
def test_densities_are_normalized_and_quantiles_invert_them(name):
    piece = PIECES[name]
    unit = torch.linspace(1e-5, 1 - 1e-5, 4001, dtype=torch.float64)
    x = piece.quantile(unit)
    assert ((x >= piece.low) & (x <= piece.high)).all()
    density = piece.log_prob(x).exp()
    cumulative = torch.cumulative_trapezoid(density, x)
    np.testing.assert_allclose(cumulative, (unit[1:] - unit[0]), atol=2e-3)
    tilted = torch.cumulative_trapezoid(density * (1 + 0.1 * unit), x)
    assert (tilted - (unit[1:] - unit[0])).abs().max() > 0.01


def test_mass_function_is_that_of_masses():
    draws = ProductPrior(log_mass=PowerLaw(-2)).sample(200_000, torch.Generator().manual_seed(0))[:, 1]
    counts = torch.histogram(10**draws, torch.tensor([100.0, 200, 400, 800, 1600])).hist
    np.testing.assert_allclose(counts[1:] / counts[:-1], 0.5, rtol=0.03)


def test_product_is_the_sum_of_logs_within_its_bounds():
    prior = ProductPrior(log_age=Normal(1.0, 0.3), log_mass=PowerLaw(-2, high=6), ebv=Exponential(0.2))
    draws = prior.sample(1000, torch.Generator().manual_seed(3))
    expected = sum(p.log_prob(x) for p, x in zip(prior.pieces, draws.unbind(-1), strict=True))
    torch.testing.assert_close(prior.log_prob(draws), expected)
    assert prior.high.tolist() == pytest.approx([math.log10(13750), 6.0, 1.5])
    assert (prior.log_prob(torch.tensor([[1.0, 6.5, 0.1], [1.0, 3.0, -0.1]])) == -torch.inf).all()


def test_uniform_product_is_the_box():
    draws = cluster_prior().sample(100, torch.Generator().manual_seed(3))
    torch.testing.assert_close(ProductPrior().log_prob(draws), cluster_prior().log_prob(draws))


def test_which_priors_are_flat_in_mass():
    assert cluster_prior().mass_slope == 0
    assert ProductPrior(ebv=Exponential(0.2)).mass_slope == 0
    assert ProductPrior(log_mass=PowerLaw(-1)).mass_slope == 0
    assert ProductPrior(log_mass=PowerLaw(-2)).mass_slope
    assert as_prior(lambda theta: 0 * theta[..., 0]).mass_slope is None


@pytest.mark.parametrize("piece", [Uniform(), PowerLaw(-2), Exponential(0.5), Normal(4, 1), Normal(9, 0.5)])
def test_shape_in_mass(piece):
    prior = ProductPrior(log_mass=piece)
    slope, center, precision = prior.mass_shape
    theta = torch.tensor([[1.0, 2.5, 0.1], [1.0, 4.0, 0.1], [1.0, 6.0, 0.1]], dtype=torch.float64)
    x = math.log(10) * theta[:, 1]
    rest = prior.log_prob(theta) - slope * x + precision / 2 * (x - center) ** 2
    assert (rest - rest[0]).abs().max().item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("piece", [None, PowerLaw(-2), Normal(4, 1), Share(2)])
def test_shape_in_mass_is_that_of_the_density_alone(piece):
    product = ProductPrior(log_mass=piece)
    of_stars = SurveyPrior().with_densities(log_mass=piece)
    assert of_stars.mass_shape == product.mass_shape
    assert (product.mass_shape is None) == isinstance(piece, Share)


@pytest.mark.parametrize(("piece", "slope"), [(Uniform(), 0), (PowerLaw(-2), -1), (Exponential(0.5), -2 / math.log(10)),
                                              (Normal(4, 1), None)])
def test_slope_in_mass(piece, slope):
    prior = ProductPrior(log_mass=piece)
    assert prior.mass_slope == (slope if slope is None else pytest.approx(slope))
    if slope is not None:
        theta = torch.tensor([[1.0, 4.0, 0.1], [1.0, 4.0 + 1 / math.log(10), 0.1]], dtype=torch.float64)
        assert prior.log_prob(theta).diff().item() == pytest.approx(slope, abs=1e-9)


def test_a_function_is_a_prior_inside_the_box():
    prior = as_prior(lambda theta: -theta[..., 2] / 0.3)
    assert as_prior(prior) is prior
    theta = torch.tensor([[[1.0, 4.0, 0.3], [1.0, 9.0, 0.3]]])
    torch.testing.assert_close(prior.log_prob(theta), torch.tensor([[-1.0, -torch.inf]]))
    assert isinstance(as_prior(None), BoxPrior)
    with pytest.raises(InputError, match="cannot be sampled"):
        prior.sample(3, torch.Generator())


@pytest.mark.parametrize(("function", "message"), [
    (lambda theta: theta, r"returned the shape \(2, 3\).*must return \(2,\)"),
    (lambda theta: 0.0, r"returned the shape \(\)"),
    (lambda theta: torch.log(theta[..., 2] - 1), r"returned nan at \(log_age, log_mass, ebv\) = \[1.0, 4.0, 0.3\]"),
    (lambda theta: torch.inf * theta[..., 0], r"returned inf"),
])
def test_a_function_that_gives_no_density_is_refused(function, message):
    with pytest.raises(InputError, match=message):
        as_prior(function).log_prob(torch.tensor([[1.0, 4.0, 0.3], [2.0, 4.0, 0.3]]))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: as_prior("flat"), "prior='flat' is not a prior; give a ProductPrior"),
    (lambda: ProductPrior(ebv=0.3), "ebv 0.3 is not a density; give a Uniform"),
    (lambda: ProductPrior(log_age=Uniform(3, 2)), r"prior of log_age has the bounds 3\.\.2"),
    (lambda: ProductPrior(distance_error=5), "distance_error=5 must be a relative"),
    (lambda: cluster_prior(distance_error=-0.1), "must be a relative"),
    (lambda: Exponential(0.0), "scale 0.0 of an exponential prior must be positive"),
    (lambda: Normal(1.0, -1.0), "must be positive"),
    (lambda: BoxPrior([0.0, 1.0], [1.0, 2.0]), "needs 3 lower and upper bounds"),
])
def test_what_is_no_prior_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_descriptions():
    assert cluster_prior().describe() == "uniform: log_age 0..4.1383, log_mass 2..8, ebv 0..1.5"
    assert cluster_prior(0.1).describe().endswith("ebv 0..1.5, distance error 0.1")
    assert "log_age normal 1 +- 0.5 in 0..4.1383" in ProductPrior(log_age=Normal(1, 0.5)).describe()

    def clear(theta):
        return -theta[..., 2]

    assert as_prior(clear).describe().startswith("function clear in log_age 0..")


@pytest.mark.parametrize("prior", [cluster_prior(), ProductPrior(log_mass=PowerLaw(-2), ebv=Exponential(0.3)),
                                   as_prior(lambda theta: -theta[..., 0] * theta[..., 2])],
                         ids=["box", "product", "function"])
def test_within_the_bounds_the_density_needs_no_look_at_them(prior):
    unit = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    theta = prior.low + (prior.high - prior.low) * unit
    inside = ((unit >= 0) & (unit <= 1)).all(-1)
    assert torch.equal(prior.inside(theta), inside)
    assert 20 < inside.sum() < 180
    assert torch.equal(prior.log_prob(theta)[inside], prior.log_within(theta[inside]))
    assert torch.isneginf(prior.log_prob(theta)[~inside]).all()
    assert torch.isfinite(prior.log_within(theta[inside])).all()


def test_priors_take_the_bounds_of_the_model(tmp_path):
    """A model trained with narrower bounds has no answer outside them, whatever the prior."""
    narrow = FullySampledClusters(prior=BoxPrior([1.0, 3.0, 0.0], [3.0, 6.0, 1.0]))
    for prior in (ProductPrior(log_mass=PowerLaw(-2)), lambda theta: -theta[..., 2], None):
        bound = as_prior(prior, narrow)
        assert bound.low.tolist() == [1.0, 3.0, 0.0]
        assert bound.high.tolist() == [3.0, 6.0, 1.0]
    given = as_prior(ProductPrior(log_mass=PowerLaw(-2, 4.0)), narrow)
    assert (given.low[1], given.high[1]) == (4.0, 6.0)


def test_priors_of_other_parameters():
    with pytest.raises(InputError, match="unknown parameter 'metallicity'; choose from log_age, log_mass, ebv"):
        ProductPrior(metallicity=Normal(0, 0.2))
    with pytest.raises(InputError, match="is for a, b, but the model infers log_age, log_mass, ebv"):
        as_prior(BoxPrior([0, 0], [1, 1], ["a", "b"]), FullySampledClusters())


def test_a_prior_says_what_it_is():
    assert repr(cluster_prior()) == f"<BoxPrior {cluster_prior().describe()}>"
    narrow = ProductPrior(log_age=Uniform(0.0, 1.0))
    assert repr(narrow).startswith("<ProductPrior log_age uniform 0..1, log_mass uniform 2..8")
