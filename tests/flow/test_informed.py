"""Two flows in one: each object is in the hands of the one that it is meant for."""

import pytest
import torch

from clusterpost.families.encoders import SetConditions, known_covariates
from clusterpost.flow.golden import check_golden_vectors, golden_vectors
from clusterpost.flow.informed import InformedSetFlow, InformedSpec
from clusterpost.flow.network import build_flow, read_spec
from clusterpost.observations import Observed
from clusterpost.posterior.draws import rotation

N_BANDS = 3
COORDINATES = ("linear", "amplitude", "known:3.1:0.3", "known")
ENCODER = SetConditions(N_BANDS, known=("rv", "covering"))


def spec(**changes):
    values = {"n_parameters": 4, "n_conditions": ENCODER.size(), "low": (0.0, 2.0, 2.2, 0.0),
              "high": (4.1, 7.0, 5.0, 1.0), "order": (0, 1, 2, 3), "width": (8,) * 4, "depth": (1,) * 4,
              "bins": (4,) * 4, "splines": (1,) * 4, "knots": 8, "coordinates": COORDINATES, "token": 8, "context": 8}
    return InformedSpec(**values | changes)


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(4)
    flow = InformedSetFlow(spec()).eval()
    with torch.no_grad():
        for weights in flow.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
    flow.set_from(torch.lerp(flow.box.low, flow.box.high, torch.rand(500, 4)), conditions(500))
    return flow


def conditions(n=30):
    """Every third object has a known R_V, the next one a covering fraction."""
    generator = torch.Generator().manual_seed(1)
    flux = torch.exp(torch.randn(n, N_BANDS, generator=generator) - 8)
    seen, nothing = torch.ones(n, N_BANDS, dtype=torch.bool), torch.full((n,), torch.nan)
    observed = Observed(flux, 0.1 * flux, seen, ~seen, {"distance": torch.full((n,), 10.0)})
    for i, (name, value) in enumerate((("rv", 3.4), ("covering", 0.2))):
        known = torch.arange(n) % 3 == i
        for key, x in zip(known_covariates(name), (value, 0.05), strict=True):
            observed.covariates[key] = torch.where(known, x, nothing)
    return ENCODER(observed).float()


def test_each_object_has_its_flow(flow):
    given = conditions()
    theta, density = flow.draw(torch.rand(30, 50, 4), given)
    assert theta.shape == (30, 50, 4)
    known = torch.arange(30) % 3 < 2
    torch.testing.assert_close(density[known], flow.informed.log_prob(theta[known], given[known]), atol=1e-3, rtol=0)
    plain = flow.plain.log_prob(theta[~known], given[~known, :-4])
    torch.testing.assert_close(density[~known], plain, atol=1e-3, rtol=0)
    torch.testing.assert_close(flow.log_prob(theta, given), density, atol=1e-3, rtol=0)
    assert (theta[::3, :, 2].mean(1) - theta[2::3, :, 2].mean(1) > 0.1).all()  # the R_V that is known of the first


@pytest.mark.parametrize("rows", [slice(2, 3), slice(0, 1), slice(0, 30, 3)])
def test_rows_do_not_matter_to_each_other(flow, rows):
    given, theta = conditions(), torch.lerp(flow.box.low, flow.box.high, torch.rand(30, 5, 4))
    torch.testing.assert_close(flow.log_prob(theta[rows], given[rows]), flow.log_prob(theta, given)[rows])
    assert flow.log_prob(theta[rows, 0], given[rows]).shape == theta[rows, 0, 0].shape


def test_both_learn(flow):
    flow.zero_grad()
    theta = torch.lerp(flow.box.low, flow.box.high, torch.rand(30, 4))
    flow.train().log_prob(theta, conditions()).mean().backward()
    flow.eval()
    assert all(weights.grad is not None for weights in flow.parameters())


def test_points_of_photometry_alone_are_those_of_a_flow_without_knowledge(flow):
    given = conditions()[2::3]
    plain = flow.plain.standardize(given[:, :-4])
    torch.testing.assert_close(rotation(flow.standardize(given), 4), rotation(plain, 4), atol=1e-5, rtol=0)


def test_weights_and_architecture_come_back(flow):
    other = build_flow(read_spec(spec().to_dict() | {"coordinates": list(COORDINATES)}))
    other.load_export(flow.export())
    theta = torch.lerp(flow.box.low, flow.box.high, torch.rand(30, 4))
    assert torch.equal(other.eval().log_prob(theta, conditions()), flow.log_prob(theta, conditions()))
    assert len(flow.export()) == len(flow.state_dict())
    vectors = golden_vectors(flow)
    told = (vectors["golden.conditions"][:, [-3, -1]] > 0).any(1)
    assert 0 < told.sum() < len(told)  # both are checked
    check_golden_vectors(flow, vectors, "mine")


def test_architectures_that_are_none():
    with pytest.raises(ValueError, match="known"):
        spec(coordinates=("linear", "amplitude", "normal:3.1:0.3", "linear"), n_conditions=3 * N_BANDS + 3)
