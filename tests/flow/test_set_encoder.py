import itertools

import numpy as np
import pytest
import torch

from clusterpost.families.encoders import SetConditions, read_encoder
from clusterpost.flow.network import build_flow, read_spec
from clusterpost.flow.set_encoder import SetSpec, SetSplineFlow
from clusterpost.observations import Observed

N_BANDS = 4
LOW, HIGH = (0.0, 2.0, 0.0, 2.2), (4.1, 7.0, 1.5, 5.0)
COORDINATES = ("linear", "amplitude", "log1p:0.1", "normal:3.1:0.3")


def spec(**changes):
    values = {"n_parameters": 4, "n_conditions": 3 * N_BANDS + 3, "low": LOW, "high": HIGH, "order": (0, 2, 1, 3),
              "width": (16,) * 4, "depth": (1,) * 4, "bins": (5,) * 4, "splines": (1,) * 4, "knots": 8,
              "coordinates": COORDINATES, "token": 16, "context": 16, "context_depth": 1}
    return SetSpec(**values | changes)


def observations(n=40, seed=1):
    rng = np.random.default_rng(seed)
    flux = torch.as_tensor(np.exp(rng.normal(-8, 2, (n, 1)) + rng.normal(0, 0.5, (n, N_BANDS))))
    measured = torch.as_tensor(rng.uniform(size=(n, N_BANDS)) < 0.7)
    measured[:, :2] = True
    limit = ~measured & torch.as_tensor(rng.uniform(size=(n, N_BANDS)) < 0.5)
    error = flux * torch.as_tensor(rng.uniform(0.02, 0.5, (n, N_BANDS)))
    return Observed(flux, error, measured, limit, {"distance": torch.as_tensor(rng.uniform(1, 20, n))})


def scrambled(seed=2, **changes):
    """A flow with weights that are not those of the start."""
    torch.manual_seed(seed)
    flow = SetSplineFlow(spec(**changes)).eval()
    with torch.no_grad():
        for weights in flow.parameters():
            weights.add_(0.2 * torch.randn_like(weights))
        flow.coordinates.shift.fill_(-5.5)
    return flow


@pytest.fixture(scope="module")
def conditions():
    return SetConditions(N_BANDS)(observations()).float()


class TestConditions:
    def test_values(self):
        observed = observations()
        encoder = SetConditions(N_BANDS)
        shown = encoder(observed)
        assert shown.shape == (40, encoder.size())
        row = 3
        seen = observed.measured[row]
        s2 = torch.log1p((observed.error / observed.flux)[row, seen] ** 2)
        value = torch.log(observed.flux[row, seen]) + s2 / 2
        mean = (value / s2).sum() / (1 / s2).sum()
        np.testing.assert_allclose(shown[row, :N_BANDS][seen], value - mean)
        np.testing.assert_allclose(shown[row, N_BANDS:2 * N_BANDS][seen], s2.sqrt().log())
        at_10_pc = mean + 2 * torch.log(observed.covariates["distance"][row] * 1e5)
        np.testing.assert_allclose(shown[row, -3], at_10_pc)
        np.testing.assert_allclose(shown[row, -2], torch.log((1 / s2).sum()))
        marks = observed.measured + 2 * observed.limit
        np.testing.assert_array_equal(shown[:, 2 * N_BANDS:3 * N_BANDS], marks)

    def test_what_was_not_measured_does_not_matter(self):
        observed = observations()
        other = observations()
        empty = ~(observed.measured | observed.limit)
        assert empty.any()
        other.flux[empty], other.error[empty] = -3.0, 0.0
        torch.testing.assert_close(SetConditions(N_BANDS)(observed), SetConditions(N_BANDS)(other))

    def test_brightness_is_absolute(self):
        observed, far = observations(), observations()
        far.flux, far.error = far.flux / 9, far.error / 9
        far.covariates = {"distance": 3 * far.covariates["distance"]}
        torch.testing.assert_close(SetConditions(N_BANDS)(observed), SetConditions(N_BANDS)(far))

    def test_limits_alone_are_finite(self):
        observed = observations()
        observed.limit[0], observed.measured[0] = True, False
        assert torch.isfinite(SetConditions(N_BANDS)(observed)).all()

    def test_plain_values(self):
        encoder = read_encoder(SetConditions(7, None).to_dict())
        assert (encoder.n_bands, encoder.distance) == (7, None)


class TestFlow:
    def test_untrained_is_its_coordinates(self, conditions):
        flow = SetSplineFlow(spec()).eval()
        theta = torch.tensor([[1.0, 4.0, 0.2, 3.1]]).repeat(len(conditions), 1)
        expected = flow.coordinates(theta[:, None], conditions[:, -3, None])[1][:, 0]
        torch.testing.assert_close(flow.log_prob(theta, conditions), expected, atol=2e-3, rtol=1e-3)

    def test_density_of_draws_is_that_of_the_density(self, conditions):
        flow = scrambled()
        theta, log_prob = flow.draw(torch.rand(len(conditions), 30, 4), conditions)
        assert ((theta >= torch.tensor(LOW)) & (theta <= torch.tensor(HIGH))).all()
        again = flow.log_prob(theta, conditions)
        inner = (torch.abs(log_prob) < 20)
        torch.testing.assert_close(again[inner], log_prob[inner], atol=2e-2, rtol=1e-2)

    @torch.no_grad()
    def test_density_is_normalized(self, conditions):
        flow = scrambled().double()
        generator = torch.Generator().manual_seed(3)
        unit = torch.rand(4, 100_000, 4, generator=generator, dtype=torch.float64)
        low, high = torch.tensor(LOW, dtype=torch.float64), torch.tensor(HIGH, dtype=torch.float64)
        log_prob = flow.log_prob(low + unit * (high - low), conditions[:4].double())
        mean = log_prob.exp().mean(1) * (high - low).prod()
        np.testing.assert_allclose(mean, 1, atol=0.06)

    def test_outside_is_impossible(self, conditions):
        flow = scrambled()
        theta = torch.tensor([[1.0, 4.0, 0.2, 3.1]]).repeat(4, 1)
        for i in range(4):
            theta[i, i] = HIGH[i] + 0.1
        assert (flow.log_prob(theta, conditions[:4]) == -torch.inf).all()

    def test_bands_are_a_set(self):
        """An absent band is as if the network did not have it: permuting bands with their layers changes nothing."""
        flow, observed = scrambled(), observations()
        other = scrambled()
        order = [2, 0, 3, 1]
        with torch.no_grad():
            other.tokens.first.copy_(flow.tokens.first[order])
            other.tokens.bias.copy_(flow.tokens.bias[order])
        permuted = Observed(*(getattr(observed, name)[:, order] for name in ("flux", "error", "measured", "limit")),
                            observed.covariates)
        theta = torch.tensor([[1.0, 4.0, 0.2, 3.1]]).repeat(40, 1)
        encode = SetConditions(N_BANDS)
        torch.testing.assert_close(flow.log_prob(theta, encode(observed).float()),
                                   other.log_prob(theta, encode(permuted).float()), atol=1e-4, rtol=1e-4)

    def test_every_kind_of_mark_makes_a_difference(self):
        flow, encode = scrambled(), SetConditions(N_BANDS)
        theta = torch.tensor([[1.0, 4.0, 0.2, 3.1]])
        found = []
        for measured, limit in ((True, False), (False, True), (False, False)):
            observed = observations(1)
            observed.measured[:], observed.limit[:] = True, False
            observed.measured[:, 3], observed.limit[:, 3] = measured, limit
            found.append(float(flow.log_prob(theta, encode(observed).float()).detach()))
        assert all(abs(a - b) > 1e-3 for a, b in itertools.combinations(found, 2))

    def test_standardized_conditions_mean_the_same(self, conditions):
        flow = scrambled()
        theta = torch.tensor([[1.0, 4.0, 0.2, 3.1]]).repeat(len(conditions), 1)
        before = flow.log_prob(theta, conditions)
        flow.standardize.set_from(conditions)
        torch.testing.assert_close(flow.log_prob(theta, conditions), before, atol=1e-3, rtol=1e-3)

    def test_weights_and_architecture_come_back(self, conditions):
        flow = scrambled()
        other = build_flow(read_spec(flow.spec.to_dict() | {"coordinates": list(COORDINATES)}))
        other.load_export(flow.export())
        theta = torch.tensor([[1.0, 4.0, 0.2, 3.1]]).repeat(len(conditions), 1)
        assert torch.equal(other.eval().log_prob(theta, conditions), flow.log_prob(theta, conditions))
        assert sum(w.numel() for w in flow.parameters()) == flow.spec.count_weights()
        assert set(flow.export()) == {ours for ours, _ in flow._names()}
        assert len(flow.export()) == len(flow.state_dict())

    @pytest.mark.parametrize("changes", [{"coordinates": ("linear",)}, {"n_conditions": 14}, {"token": 7},
                                         {"n_conditions": 3}])
    def test_architectures_that_are_none(self, changes):
        with pytest.raises(ValueError, match=r"coordinates|conditions|neurons"):
            spec(**changes)


@pytest.mark.slow
def test_a_short_training_finds_what_a_conjugate_posterior_holds():
    """x = theta_0 + theta_1-like amplitude: the network must learn that brightness tells the mass."""
    torch.manual_seed(4)
    generator = torch.Generator().manual_seed(5)
    flow = SetSplineFlow(spec(n_parameters=2, n_conditions=9, low=(0.0, 2.0), high=(4.0, 7.0), order=(0, 1),
                              width=(32, 32), depth=(1, 1), bins=(8, 8), splines=(1, 1),
                              coordinates=("linear", "amplitude")))
    encode = SetConditions(2)

    def mocks(n):
        theta = torch.rand(n, 2, generator=generator) * torch.tensor([4.0, 5.0]) + torch.tensor([0.0, 2.0])
        ln_flux = 2.3026 * theta[:, 1:] + torch.stack([theta[:, 0], -theta[:, 0]], 1) / 2 - 20
        flux = torch.exp(ln_flux + 0.1 * torch.randn(n, 2, generator=generator))
        yes = torch.ones(n, 2, dtype=torch.bool)
        return theta, encode(Observed(flux, 0.1 * flux, yes, ~yes, {"distance": torch.ones(n)}))

    theta, conditions = mocks(4000)
    flow.coordinates.set_from(theta, conditions[:, -3, None])
    optimizer = torch.optim.Adam(flow.parameters(), 4e-3)
    flow.train()
    for _ in range(300):
        theta, conditions = mocks(256)
        loss = -flow.log_prob(theta, conditions).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    theta, conditions = mocks(2000)
    flow.eval()
    with torch.no_grad():
        draws, _ = flow.draw(torch.rand(2000, 64, 2, generator=generator), conditions)
    error = draws.mean(1) - theta
    assert float(error[:, 0].std()) < 0.3  # 0.14 at best, 1.15 to begin with
    assert float(error[:, 1].std()) < 0.08  # 0.03 at best, 1.4 to begin with
