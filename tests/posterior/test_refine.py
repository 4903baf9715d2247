import math
import re

import numpy as np
import pytest
import torch
from brute import NormalFlow, UniformFlow, dense, mocks, worst_quantile
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost import flags
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.noise import get_noise
from clusterpost.posterior.proposal import AmplitudeProposal, FlowProposal, base_dimensions
from clusterpost.posterior.refine import UnitPoints, n_base_points, refine, support
from clusterpost.posterior.target import Target
from clusterpost.posterior.weights import (
    effective_sample_size,
    log_mean,
    log_weights,
    normalized,
    systematic_resample,
    thinned,
)
from clusterpost.priors import Exponential, Normal, PowerLaw, ProductPrior, cluster_prior

GRID = (210, 160, 60)


def refined(observed, table, name, prior, n_samples=2048, flow=None, kind=AmplitudeProposal, seed=1, conditions=None,
            **options):
    noise, dimension, n = get_noise(name), base_dimensions(prior), len(observed)
    # A uniform flow was trained with nothing.
    proposal = (kind(UniformFlow(), ClusterLikelihood(table, noise), prior, trained_noise=None) if flow is None
                else kind(flow, ClusterLikelihood(table, noise), prior))
    target = Target(observed, ClusterLikelihood(table, noise), prior)
    points = torch.quasirandom.SobolEngine(dimension, scramble=True, seed=seed).draw(n_base_points(n_samples))
    shift = torch.rand(n, dimension, generator=torch.Generator().manual_seed(seed))
    conditions = torch.zeros(n, 1) if conditions is None else conditions
    return refine(proposal, target, conditions, UnitPoints(points, shift), n_samples=n_samples, **options), target


def with_limit(observed):
    observed = observed[:]
    observed.measured, observed.limit = observed.measured.clone(), observed.limit.clone()
    observed.measured[:, 0], observed.limit[:, 0] = False, True
    return observed


def with_negative_flux(observed):
    observed = observed[:]
    observed.flux = observed.flux.clone()
    observed.flux[:, 0] = -0.5 * observed.error[:, 0]
    return observed


CASES = {
    "lognormal": ("lognormal", cluster_prior(), None),
    "normal": ("normal", cluster_prior(), None),
    "normal, negative flux": ("normal", cluster_prior(), with_negative_flux),
    "upper limit": ("lognormal", cluster_prior(), with_limit),
    "physical prior": ("lognormal", ProductPrior(log_mass=PowerLaw(-2), ebv=Exponential(0.3)), None),
    "age known": ("lognormal", ProductPrior(log_age=Normal(2.0, 0.3)), None),
    "distance uncertain": ("lognormal", ProductPrior(log_mass=PowerLaw(-2), distance_error=0.2), None),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_weighted_draws_are_the_exact_posterior(case):
    name, prior, change = CASES[case]
    _, observed, table = mocks(2, name, seed=6, error=(0.3, 0.45), mass=(4.0, 5.0))
    observed = change(observed) if change else observed
    out, _ = refined(observed, table, name, prior, n_samples=4096, mcmc=False)
    grid = (100, 80, 30) if prior.distance_error else GRID
    flat = torch.full_like(out.weight, 1 / out.weight.shape[1])
    row = 1
    axes, marginals, log_evidence = dense(observed[row], table, get_noise(name), prior, grid)
    assert worst_quantile(out.theta[row], out.weight[row], axes, marginals) < 0.1
    assert worst_quantile(out.theta[row], flat[row], axes, marginals) > 0.14
    assert out.log_evidence[row].item() == pytest.approx(log_evidence, abs=0.06)
    torch.testing.assert_close(out.weight.sum(-1), torch.ones(2))


def test_evidence_agrees_between_a_good_and_a_bad_proposal():
    theta, observed, table = mocks(6, seed=2, error=(0.1, 0.2), mass=(4.0, 5.0))
    wide, _ = refined(observed, table, "lognormal", cluster_prior(), n_samples=8192, adapt=False, mcmc=False)
    fitted, _ = refined(observed, table, "lognormal", cluster_prior(), n_samples=1024, mcmc=False)
    near, _ = refined(observed, table, "lognormal", cluster_prior(), mcmc=False, flow=NormalFlow([0.6, 0.4]),
                      conditions=theta[:, [0, 2]])
    assert (fitted.n_effective > 3 * 1024 * fitted.efficiency).any()
    np.testing.assert_allclose(fitted.log_evidence, wide.log_evidence, atol=0.2)
    np.testing.assert_allclose(near.log_evidence, wide.log_evidence, atol=0.2)
    assert (wide.log_evidence.diff().abs() > 0.5).any()


def test_kernels_find_what_the_proposal_hardly_meets(caplog):
    theta, observed, table = mocks(12, seed=3, error=(0.05, 0.08), mass=(4.0, 5.0))
    options = {"n_samples": 1024, "mcmc": False}
    # a flow that is sure of a wrong place
    wrong = {"flow": NormalFlow([0.4, 0.2]), "conditions": torch.tensor([[1.0, 0.2]]).expand(12, 2)}
    before, _ = refined(observed, table, "lognormal", cluster_prior(), adapt=False, **options, **wrong)
    with caplog.at_level("DEBUG", "clusterpost"):
        after, _ = refined(observed, table, "lognormal", cluster_prior(), **options, **wrong)
    (message,) = caplog.messages
    assert re.fullmatch(r"of 12 rows, \d+ took more draws, [1-9]\d? kernels, and 0 Markov chains", message)
    lost = before.n_effective < 50
    assert lost.sum() >= 6
    assert (before.flag[lost] == flags.LOW_EFFICIENCY).all()
    assert (after.n_effective > 204).all()
    assert (after.flag == 0).all()
    assert (after.efficiency[lost] < 0.05).all()  # of the proposal, which is no better than it was
    mean = (after.weight[..., None] * after.theta).sum(1)
    spread = ((after.weight[..., None] * (after.theta - mean[:, None]) ** 2).sum(1)).sqrt()
    assert (((mean - theta) / spread).abs() < 4.5).all()


@pytest.mark.parametrize(("width", "aim", "drawings"),
                         [([0.4, 0.2], 100, ["NormalFlow"]), ([0.4, 0.2], None, ["NormalFlow"] * 2),
                          ([1.0, 0.5], None, ["NormalFlow"] * 2),
                          ([8.0, 4.0], None, ["NormalFlow"] * 3 + ["KernelDensity"])],
                         ids=["enough", "four times", "eight times", "kernels"])
def test_no_more_draws_than_it_takes(width, aim, drawings, request):
    theta, observed, table = mocks(1, seed=5, error=(0.3, 0.4), mass=(4.0, 5.0))
    drawn, counts = [], []

    class Counting(AmplitudeProposal):
        def draw(self, observed, conditions, unit, **options):
            drawn.append(type(self.flow).__name__)
            counts.append(unit.shape[1])
            return super().draw(observed, conditions, unit, **options)

    out, _ = refined(observed, table, "lognormal", cluster_prior(), n_samples=500, target_ess=aim, kind=Counting,
                     mcmc=False, flow=NormalFlow(width), conditions=theta[:, [0, 2]])
    assert drawn[:len(drawings)] == drawings
    assert len(drawn) == len(drawings) or drawings[-1] == "KernelDensity"
    more = {"four times": 1500, "eight times": 3500}  # besides the first 500
    if drawings[-1] == "KernelDensity":
        assert counts[:4] == [500, 500, 1500, 500]  # alone, from the first draw on, and more before the fit
    else:
        assert counts == [500, *(n for name, n in more.items() if name in request.node.name)]
    assert out.theta.shape[1] == 500
    assert out.n_effective >= (0.6 * 500 if aim is None else aim)


def test_what_is_done_with_a_cluster_depends_on_it_alone():
    _, observed, table = mocks(8, seed=3, error=(0.05, 0.3))
    observed.measured[2, 0], observed.limit[2, 0] = False, True
    noise, prior = get_noise("lognormal"), cluster_prior()
    points = torch.quasirandom.SobolEngine(3, scramble=True, seed=0).draw(n_base_points(256))
    shift = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
    proposal = AmplitudeProposal(UniformFlow(), ClusterLikelihood(table, noise), prior)

    def run(rows):
        likelihood = ClusterLikelihood(table, noise)
        return refine(proposal, Target(observed[rows], likelihood, prior), torch.zeros(len(rows), 1),
                      UnitPoints(points, shift[rows]), n_samples=256, mcmc=False)

    together = run(torch.arange(8))
    assert len(together.efficiency.unique()) == 8
    order = torch.tensor([5, 2, 7, 0])
    some = run(order)
    for name in ("theta", "weight", "log_density", "log_evidence", "n_effective", "efficiency"):
        torch.testing.assert_close(getattr(some, name), getattr(together, name)[order], rtol=1e-4, atol=1e-4)
    assert torch.equal(some.flag, together.flag[order])


def test_a_hopeless_cluster_has_an_answer_and_a_flag():
    _, observed, table = mocks(3, seed=3)
    nothing = ProductPrior()
    nothing.log_prob = lambda theta: torch.full(theta.shape[:-1], -torch.inf)
    out, _ = refined(observed, table, "lognormal", nothing, n_samples=64, mcmc=False)
    assert torch.isfinite(out.theta).all()
    torch.testing.assert_close(out.weight, torch.full((3, 64), 1 / 64))
    assert (out.n_effective == 0).all()
    assert (out.efficiency == 0).all()
    assert (out.log_evidence == -torch.inf).all()
    assert (out.flag == flags.LOW_EFFICIENCY).all()


def test_a_flow_of_all_parameters_gives_the_same():
    _, observed, table = mocks(3, seed=6, error=(0.4, 0.5))
    by_mass, _ = refined(observed, table, "lognormal", cluster_prior(), mcmc=False, n_samples=4096)
    by_flow, _ = refined(observed, table, "lognormal", cluster_prior(), mcmc=False, n_samples=4096,
                         flow=UniformFlow((0, 1, 2)), kind=FlowProposal)
    np.testing.assert_allclose(by_flow.log_evidence, by_mass.log_evidence, atol=0.2)
    for moment in (1, 2):
        one, two = ((r.weight[..., None] * r.theta**moment).sum(1) for r in (by_mass, by_flow))
        np.testing.assert_allclose(one, two, rtol=0.12, atol=0.03)
    assert (by_flow.efficiency < 0.5 * by_mass.efficiency).all()


class TestSupport:
    def p_value(self, observed, table, name="lognormal"):
        out, target = refined(observed, table, name, cluster_prior(), n_samples=512, mcmc=False)
        return support(target, out.theta, out.weight)

    @pytest.mark.parametrize("name", ["lognormal", "normal"])
    def test_clusters_of_the_model_are_within(self, name):
        _, observed, table = mocks(60, name, seed=8, error=(0.05, 0.5))
        p_value, flag = self.p_value(observed, table, name)
        assert ((p_value >= 0) & (p_value <= 1)).all()
        assert (flag == 0).all()
        assert (p_value < 0.05).double().mean() < 0.1
        assert p_value.median() > 0.3

    @pytest.mark.parametrize("wrong", ["reversed", "unit", "brown dwarf"])
    def test_what_the_model_cannot_make_is_outside(self, wrong):
        _, observed, table = mocks(12, seed=8, error=(0.05, 0.12))
        if wrong == "reversed":
            order = [4, 3, 2, 1, 0, 5, 6, 7]
            observed.flux, observed.error = observed.flux[:, order], observed.error[:, order]
        elif wrong == "unit":
            factor = torch.tensor([1, 1, 1, 1000.0, 1, 1, 1, 1])
            observed.flux, observed.error = factor * observed.flux, factor * observed.error
        else:
            relative, pivot = observed.error / observed.flux, torch.tensor([2710.0, 3355, 4327, 5308, 8030, 1, 1, 1])
            flux = pivot**-3 / torch.expm1((1.4388e8 / (1500 * pivot)).clamp(max=80))
            observed.flux = torch.where(observed.measured, flux / flux[3] * 1e-4, 1.0)
            observed.error = torch.where(observed.measured, relative * observed.flux, 1.0)
        p_value, flag = self.p_value(observed, table)
        outside = flag == flags.OUTSIDE_SUPPORT
        assert torch.equal(outside, p_value < 1e-3)
        assert outside.double().mean() > 0.7


class TestWeights:
    @settings(deadline=None, max_examples=50)
    @given(seed=st.integers(0, 2**20), k=st.integers(2, 60), share=st.floats(0.05, 1.0))
    def test_thinned_draws_are_distinct_and_add_up_to_one(self, seed, k, share):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.softmax(5 * torch.randn(3, k, generator=generator, dtype=torch.float64), -1)
        n_samples = max(1, round(share * k))
        index, new = thinned(weight, n_samples, order=torch.rand(3, k, generator=generator))
        assert new.shape == index.shape == (3, n_samples)
        assert all(len(set(row.tolist())) == n_samples for row in index)
        torch.testing.assert_close(new.sum(-1), torch.ones(3, dtype=torch.float64))
        # each draw's weight is its own or larger: the threshold that stands for several
        assert (new >= torch.gather(weight, 1, index) - 1e-9).all()
        assert (effective_sample_size(new) <= effective_sample_size(weight) * (1 + 1e-9)).all()

    def test_thinning_keeps_the_mean(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(200, 4000, generator=generator, dtype=torch.float64)
        weight = normalized(0.8 * torch.randn(200, 4000, generator=generator, dtype=torch.float64) + 0.3 * x)
        index, new = thinned(weight, 500, order=x)
        error = (new * torch.gather(x, 1, index)).sum(-1) - (weight * x).sum(-1)
        assert error.abs().max() < 0.02
        unweighted = torch.gather(x, 1, index).mean(-1) - (weight * x).sum(-1)
        assert unweighted.abs().max() > 0.02

    def test_resampling_is_even(self):
        weight = torch.tensor([[0.5, 0.25, 0.0, 0.25]], dtype=torch.float64)
        assert systematic_resample(weight, 8, order=torch.arange(4.0)[None]).tolist() == [[0, 0, 0, 0, 1, 1, 3, 3]]

    def test_no_number_has_no_weight(self):
        log_weight = log_weights(torch.tensor([[0.0, torch.nan, -torch.inf, 0.0]]), torch.zeros(1, 4))
        assert log_weight.tolist() == [[0.0, -math.inf, -math.inf, 0.0]]
        assert normalized(log_weight).tolist() == [[0.5, 0.0, 0.0, 0.5]]
        assert log_mean(log_weight).item() == pytest.approx(math.log(0.5))
        assert effective_sample_size(normalized(log_weight)).item() == pytest.approx(2)


def test_unit_points_are_shifted_by_row_and_continue():
    points = torch.quasirandom.SobolEngine(2, scramble=True, seed=0).draw(64)
    unit = UnitPoints(points, torch.tensor([[0.0, 0.0], [0.25, 0.5]]))
    rows = torch.tensor([1, 0])
    whole = unit(rows, 0, 64)
    torch.testing.assert_close(whole[1], points, atol=1e-6, rtol=0)
    torch.testing.assert_close(whole[0], torch.remainder(points + torch.tensor([0.25, 0.5]), 1.0))
    assert torch.equal(torch.cat([unit(rows, 0, 10), unit(rows, 10, 64)], 1), whole)
    assert ((whole > 0) & (whole < 1)).all()
