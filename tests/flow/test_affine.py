import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clusterpost.flow.affine import AffineFlow, AffineSpec, choose_permutations
from clusterpost.flow.network import build_flow, read_spec
from clusterpost.training.recipes import walter2025

SPEC = AffineSpec(3, 2, (0.0, 2.0, 0.0), (4.0, 8.0, 1.5), ((1, 0, 2), (2, 0, 1), (0, 2, 1)), width=16)
SPEC_2 = AffineSpec(2, 1, (0.0, -1.0), (4.0, 1.0), ((1, 0), (1, 0), (1, 0)), width=16)
# Weights that bend the density well, yet keep it away from the last float32 digits beside the bounds,
# where the probit is cut off (|x| > 5.2).
MILD = 0.1


def random_flow(spec=SPEC, seed=0, scale=0.5):
    """A flow with weights that are not those it starts with, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    flow = AffineFlow(spec)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    flow.standardize.set_from(3 + 2 * torch.randn(100, spec.n_conditions, generator=generator))
    return flow.double().eval()


def base_points(n, spec=SPEC, seed=1):
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(n, size, generator=generator, dtype=torch.float64)
            for size in (spec.n_parameters, spec.n_conditions)]
    return draw[0].clamp(-3, 3), 3 + draw[1]


def log_normal(z):
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)


def to_base(flow, theta, conditions):
    return flow.inn(flow.box(theta)[0], [flow.standardize(conditions)])[0]


class TestDensity:
    def test_transform_is_undone(self):
        flow = random_flow(scale=MILD)
        z, conditions = base_points(300)
        theta, _ = flow.transform(z, conditions)
        torch.testing.assert_close(to_base(flow, theta, conditions), z, rtol=1e-5, atol=1e-5)

    def test_transform_gives_the_density_of_its_draws(self):
        flow = random_flow(scale=MILD)
        z, conditions = base_points(300)
        theta, log_q = flow.transform(z, conditions)
        torch.testing.assert_close(flow.log_prob(theta, conditions), log_q, rtol=1e-5, atol=1e-5)
        other = flow.log_prob(theta, conditions.roll(1, 0))
        assert (other - log_q).abs().max() > 0.1  # the conditions matter

    def test_log_det_is_that_of_autograd(self):
        flow = random_flow(scale=MILD)
        z, conditions = base_points(25)
        theta, _ = flow.transform(z, conditions)
        log_q = flow.log_prob(theta, conditions)
        for one, condition, expected in zip(theta, conditions, log_q, strict=True):
            jacobian = torch.autograd.functional.jacobian(
                lambda t, condition=condition: to_base(flow, t[None], condition[None])[0], one)
            value = log_normal(to_base(flow, one[None], condition[None])[0]) + torch.linalg.slogdet(jacobian).logabsdet
            torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_integrates_to_one_over_the_box(self, seed):
        flow = random_flow(SPEC_2, seed, scale=0.2)
        # steps even in the probit of each parameter resolve the edges of the box
        x = torch.linspace(-5.15, 5.15, 301, dtype=torch.float64)
        theta = torch.stack(torch.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
        log_volume = -flow.box.log_det(theta)
        theta = flow.box.inverse(theta)
        log_q = flow.log_prob(theta, torch.full((len(theta), 1), 2.0, dtype=torch.float64))
        total = (log_q + log_volume).exp().sum() * (x[1] - x[0]) ** 2
        assert total.item() == pytest.approx(1, abs=2e-3)
        assert log_q.std() > 0.2  # and it is no uniform one

    def test_integrates_to_one_by_importance(self):
        flow = random_flow(scale=MILD)
        unit = torch.quasirandom.SobolEngine(3, scramble=True, seed=3).draw(1 << 15).double().clamp(1e-9, 1 - 1e-9)
        x = 2 * torch.special.ndtri(unit)
        log_base = log_normal(x / 2) - 3 * math.log(2)
        theta = flow.box.inverse(x)
        log_q = flow.log_prob(theta, torch.tensor([[2.0, 5.0]], dtype=torch.float64).expand(len(x), 2))
        weight = (log_q - flow.box.log_det(x) - log_base).exp()
        assert weight.mean().item() == pytest.approx(1, abs=0.02)

    def test_untrained_flow_is_the_uniform_prior(self):
        spec = walter2025().spec
        flow = AffineFlow(spec)
        low, high = torch.tensor(spec.low), torch.tensor(spec.high)
        generator = torch.Generator().manual_seed(4)
        theta = torch.lerp(low, high, torch.rand(1000, 3, generator=generator))
        conditions = torch.randn(1000, 11, generator=generator)
        expected = torch.full((1000,), -torch.log(high - low).sum().item())
        torch.testing.assert_close(flow.log_prob(theta, conditions), expected, rtol=0, atol=1e-4)
        draws, log_q = flow.transform(torch.randn(1000, 3, generator=generator), conditions)
        torch.testing.assert_close(log_q, expected, rtol=0, atol=1e-4)
        unit = (draws - low) / (high - low)
        assert ((unit.mean(0) - 0.5).abs() < 5 * math.sqrt(1 / 12 / 1000)).all()

    def test_outside_the_bounds_there_is_nothing(self):
        flow = random_flow()
        theta = torch.tensor([[2.0, 5.0, 1.0], [-0.01, 5, 1], [2, 8.01, 1], [2, 5, 1.51]], dtype=torch.float64)
        log_q = flow.log_prob(theta, torch.zeros(4, 2, dtype=torch.float64))
        assert torch.isfinite(log_q[0])
        assert (log_q[1:] == -torch.inf).all()

    @settings(deadline=None, max_examples=30)
    @given(seed=st.integers(0, 1000), scale=st.floats(0.05, 1.0))
    def test_every_draw_lies_inside(self, seed, scale):
        flow = random_flow(seed=seed, scale=scale).float()
        z, conditions = base_points(64, seed=seed)
        theta, log_q = flow.transform(2 * z.float(), conditions.float())
        assert ((theta >= flow.box.low) & (theta <= flow.box.high)).all()
        assert torch.isfinite(log_q).all()

    def test_gradients_reach_every_weight(self):
        flow = random_flow(scale=0.3)
        z, conditions = base_points(200)
        theta, _ = flow.transform(z, conditions)
        flow.log_prob(theta.detach(), conditions).mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow.parameters())


class TestShapes:
    def test_points_of_one_object_share_its_conditions(self):
        flow = random_flow(scale=MILD / 2)
        conditions = base_points(4)[1]
        z = base_points(20)[0].reshape(4, 5, 3)
        theta, log_q = flow.transform(z, conditions)
        flat, flat_q = flow.transform(z.flatten(0, 1), conditions.repeat_interleave(5, 0))
        torch.testing.assert_close(theta.flatten(0, 1), flat)
        torch.testing.assert_close(log_q.flatten(), flat_q)
        torch.testing.assert_close(flow.log_prob(theta, conditions), log_q, rtol=1e-5, atol=1e-5)

    def test_draw_takes_the_unit_cube_with_its_faces(self):
        flow = random_flow(scale=MILD).float()
        unit = torch.tensor([[0.0, 1.0, 0.5], [0.3, 0.7, 0.0]])
        conditions = torch.full((2, 2), 3.0)
        theta, log_q = flow.draw(unit, conditions)
        assert torch.isfinite(theta).all()
        assert torch.isfinite(log_q).all()
        expected, _ = flow.transform(torch.special.ndtri(unit.clamp(2**-24, 1 - 2**-24)), conditions)
        torch.testing.assert_close(theta, expected)


class TestCouplings:
    """Walter et al. (2025), Eqs. 5-7, and the names of the weights."""

    one_block = replace(SPEC, permutations=((0, 1, 2),))

    def test_exported_weights_make_equations_5_to_7(self):
        flow = random_flow(scale=0.4)
        weights = flow.export()
        z, conditions = base_points(50)
        c = (conditions - weights["standardize.shift"]) / weights["standardize.scale"]

        def subnetwork(name, inputs):
            for layer in range(3):
                inputs = inputs @ weights[f"{name}.layer{layer}.weight"].T + weights[f"{name}.layer{layer}.bias"]
                inputs = inputs if layer == 2 else inputs.relu()
            s, t = inputs.chunk(2, dim=1)
            return 2.0 * 0.636 * torch.atan(s), t

        state, log_det = z, 0.0
        for block, order in enumerate(SPEC.permutations):
            first, second = state[:, :1], state[:, 1:]
            s, t = subnetwork(f"block{block}.first", torch.cat([second, c], 1))
            first, log_det = first * s.exp() + t, log_det + s.sum(1)
            s, t = subnetwork(f"block{block}.second", torch.cat([first, c], 1))
            second, log_det = second * s.exp() + t, log_det + s.sum(1)
            state = torch.cat([first, second], 1)[:, list(order)]
        got, got_log_det = flow.inn(z, [flow.standardize(conditions)])
        torch.testing.assert_close(got, state)
        torch.testing.assert_close(got_log_det, log_det)

    @pytest.mark.parametrize(("half", "changed", "kept"), [("first", slice(0, 1), slice(1, 3)),
                                                           ("second", slice(1, 3), slice(0, 1))])
    def test_each_name_moves_its_own_half(self, half, changed, kept):
        flow = AffineFlow(self.one_block).double()
        weights = flow.export()
        name = f"block0.{half}.layer2.bias"
        flow.load_export({**weights, name: weights[name] + 0.3})
        x, conditions = base_points(10)
        z, _ = flow.inn(x, [conditions])
        assert ((z - x)[:, changed].abs() > 1e-3).all()
        assert torch.equal(z[:, kept], x[:, kept])

    def test_log_scale_stays_within_the_clamp(self):
        flow = AffineFlow(self.one_block).double()
        weights = flow.export()
        for sign in (1, -1):
            bias = torch.full_like(weights["block0.first.layer2.bias"], sign * 1e6)
            flow.load_export({**weights, "block0.first.layer2.bias": bias})
            _, log_det = flow.inn(torch.zeros(1, 3, dtype=torch.float64), [torch.zeros(1, 2, dtype=torch.float64)])
            assert 1.99 < sign * log_det.item() <= 2.0

    def test_permutations_are_applied_as_written(self):
        flow = AffineFlow(replace(SPEC, permutations=((2, 0, 1),)))
        x = torch.tensor([[10.0, 20.0, 30.0]])
        z, log_det = flow.inn(x, [torch.zeros(1, 2)])
        assert z.tolist() == [[30.0, 10.0, 20.0]]
        assert log_det.abs().max() == 0
        assert torch.equal(flow.inn(z, [torch.zeros(1, 2)], rev=True)[0], x)


class TestExport:
    def test_round_trip(self):
        flow, other = random_flow(seed=1), random_flow(seed=2)
        z, conditions = base_points(20)
        assert not torch.equal(flow.transform(z, conditions)[0], other.transform(z, conditions)[0])
        other.load_export({name: value.clone() for name, value in flow.export().items()})
        for one, two in zip(flow.transform(z, conditions), other.transform(z, conditions), strict=True):
            assert torch.equal(one, two)

    def test_names_are_our_own_and_hold_everything(self):
        flow = random_flow()
        export = flow.export()
        assert not any("module_list" in name or "subnet" in name or "inn" in name for name in export)
        assert len(export) == len(flow.state_dict())
        assert sum(v.numel() for v in export.values()) == sum(v.numel() for v in flow.state_dict().values())
        assert all(value.is_contiguous() for value in export.values())

    def test_missing_weight_is_refused(self):
        export = random_flow().export()
        del export["block1.second.layer0.bias"]
        with pytest.raises(KeyError, match=r"block1\.second\.layer0\.bias"):
            AffineFlow(SPEC).load_export(export)

    def test_weight_of_another_shape_is_refused(self):
        with pytest.raises(RuntimeError, match="size mismatch"):
            AffineFlow(replace(SPEC, width=8)).load_export(random_flow().export())


class TestSpec:
    def test_json_round_trip(self):
        for spec in (SPEC, walter2025().spec):
            assert AffineSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec

    @pytest.mark.parametrize("change", [{"formula": 2}, {"kind": "cinn-spline"}])
    def test_unknown_formula_is_refused(self, change):
        with pytest.raises(ValueError, match="has no flow"):
            AffineFlow(replace(SPEC, **change))

    def test_kinds_are_known_by_name(self):
        flow = build_flow(read_spec(SPEC.to_dict()))
        assert isinstance(flow, AffineFlow)
        assert flow.spec == SPEC
        for kind in ("no-such", None):
            with pytest.raises(ValueError, match=r"no flow .*; it has cinn-affine, cinn-spline, maf"):
                read_spec({**SPEC.to_dict(), "kind": kind})

    def test_unknown_field_is_refused(self):
        with pytest.raises(ValueError, match="colour"):
            AffineSpec.from_dict({**SPEC.to_dict(), "colour": 1})

    @settings(deadline=None, max_examples=50)
    @given(n=st.integers(2, 6), n_blocks=st.integers(0, 20), seed=st.integers(0, 1000))
    def test_permutations_are_fixed_and_never_the_identity(self, n, n_blocks, seed):
        chosen = choose_permutations(n, n_blocks, seed)
        assert len(chosen) == n_blocks
        assert all(sorted(order) == list(range(n)) and order != tuple(range(n)) for order in chosen)
        assert chosen == choose_permutations(n, n_blocks, seed)

    def test_one_parameter_has_but_one_order(self):
        assert choose_permutations(1, 2, seed=0) == ((0,), (0,))

    def test_walter2025_is_the_network_of_the_paper(self):
        recipe = walter2025()
        flow = AffineFlow(recipe.spec)
        assert len(recipe.spec.permutations) == 12
        assert (recipe.spec.width, recipe.spec.depth, recipe.spec.n_conditions) == (256, 2, 11)
        assert sum(p.numel() for p in flow.parameters()) == pytest.approx(1.68e6, rel=0.01)
        activations = [m for m in flow.modules() if isinstance(m, nn.ReLU)]
        assert len(activations) == 12 * 2 * 2
