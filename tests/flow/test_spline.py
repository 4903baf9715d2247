"""Spline flows: exact in both directions, of density one, and never beyond the bounds."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.flow.network import build_flow, read_spec
from clusterpost.flow.spline import SplineFlow, SplineSpec, rational_quadratic, spline_knots
from clusterpost.training.recipes import any_bands

SPEC = SplineSpec(3, 2, (0.0, 2.0, -1.5), (4.0, 8.0, 1.5), order=(0, 2, 1), width=(8, 8, 16), depth=(1, 0, 2),
                  bins=(4, 8, 5), splines=(2, 1, 1), knots=16)
SPEC_1 = replace(SPEC, n_parameters=1, low=(0.0,), high=(4.0,), order=(0,), width=(8,), depth=(1,), bins=(6,),
                 splines=(2,))
SPEC_2 = replace(SPEC, n_parameters=2, low=(0.0, -1.0), high=(4.0, 1.0), order=(1, 0), width=(8, 8), depth=(1, 1),
                 bins=(5, 6), splines=(1, 2))


def random_flow(spec=SPEC, seed=0, scale=0.6):
    """A flow with weights that are not those it starts with, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    flow = SplineFlow(spec)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    flow.standardize.set_from(3 + 2 * torch.randn(100, spec.n_conditions, generator=generator))
    return flow.double().eval()


def points(*shape, seed=1, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def conditions_of(n, spec=SPEC, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return 3 + 2 * torch.randn(n, spec.n_conditions, generator=generator, dtype=torch.float64)


def to_base(flow, theta, conditions):
    moved, _ = flow.inn(flow.box(theta)[:, None], [flow.standardize(conditions)])
    return moved[:, 0]


def random_spline(n=50, bins=7, scale=1.5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, 3 * bins + 1, 1, generator=generator, dtype=dtype)


class TestSpline:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
    def test_inverse_undoes_it_in_both_directions(self, dtype, tolerance):
        # In single precision a spline of slope s loses s rounding errors: mild ones there.
        shape = random_spline(scale=1.5 if dtype == torch.float64 else 0.5, dtype=dtype)
        x = points(50, 200, dtype=dtype)
        for inverse in (False, True):
            y, log_slope = rational_quadratic(x, spline_knots(shape), inverse=inverse)
            again, back = rational_quadratic(y, spline_knots(shape), inverse=not inverse)
            torch.testing.assert_close(again, x, rtol=0, atol=tolerance)
            torch.testing.assert_close(back, -log_slope, rtol=0, atol=500 * tolerance)
            assert (y - x).abs().max() > 0.05

    def test_slope_is_that_of_autograd(self):
        shape, x = random_spline(), points(50, 40).requires_grad_()
        for inverse in (False, True):
            y, log_slope = rational_quadratic(x, spline_knots(shape), inverse=inverse)
            slope, = torch.autograd.grad(y.sum(), x)
            torch.testing.assert_close(log_slope, slope.log(), rtol=0, atol=1e-9)

    def test_rises_from_zero_to_one(self):
        shape = random_spline()
        x = torch.linspace(0, 1, 1001, dtype=torch.float64).expand(50, -1)
        for inverse in (False, True):
            y, log_slope = rational_quadratic(x, spline_knots(shape), inverse=inverse)
            torch.testing.assert_close(y[:, 0], torch.zeros(50).double(), rtol=0, atol=1e-12)
            torch.testing.assert_close(y[:, -1], torch.ones(50).double(), rtol=0, atol=1e-12)
            assert (y.diff(dim=1) > 0).all()
            assert torch.isfinite(log_slope).all()

    def test_of_zero_parameters_is_the_identity_but_for_the_least_slope(self):
        x = points(3, 100)
        y, log_slope = rational_quadratic(x, spline_knots(torch.zeros(3, 22, 1, dtype=torch.float64)))
        torch.testing.assert_close(y, x, rtol=0, atol=1e-4)
        assert log_slope.abs().max() < 2e-3

    @settings(deadline=None, max_examples=50)
    @given(size=st.sampled_from([10.0, 100.0, 1e4]), seed=st.integers(0, 1000), inverse=st.booleans())
    def test_extreme_parameters_give_finite_numbers(self, size, seed, inverse):
        shape = random_spline(8, 10, size, seed, torch.float32).requires_grad_()
        x = torch.cat([torch.tensor([0.0, 2**-24, 1 - 2**-24, 1.0]), points(60, dtype=torch.float32)]).expand(8, -1)
        y, log_slope = rational_quadratic(x, spline_knots(shape), inverse=inverse)
        assert ((y >= -1e-6) & (y <= 1 + 1e-6)).all()
        assert torch.isfinite(log_slope).all()
        if not inverse:  # the direction of the density, which training takes the gradient of
            (y.sum() + log_slope.sum()).backward()
            assert torch.isfinite(shape.grad).all()


class TestDensity:
    def test_transform_is_undone(self):
        flow = random_flow()
        z, conditions = points(300, 3), conditions_of(300)
        theta, log_q = flow.transform(z, conditions)
        torch.testing.assert_close(to_base(flow, theta, conditions), z, rtol=0, atol=1e-9)
        torch.testing.assert_close(flow.log_prob(theta, conditions), log_q, rtol=0, atol=1e-7)
        other = flow.log_prob(theta, conditions.roll(1, 0))
        assert (other - log_q).abs().max() > 0.1  # the conditions matter

    def test_single_precision_agrees_with_double(self):
        flow = random_flow(scale=0.3)
        z, conditions = points(300, 3), conditions_of(300)
        theta, log_q = flow.transform(z, conditions)
        single = random_flow(scale=0.3).float()
        theta32, log_q32 = single.transform(z.float(), conditions.float())
        torch.testing.assert_close(theta32.double(), theta, rtol=0, atol=2e-4)
        torch.testing.assert_close(log_q32.double(), log_q, rtol=0, atol=5e-3)
        torch.testing.assert_close(single.log_prob(theta32, conditions.float()), log_q32, rtol=0, atol=5e-3)

    def test_is_that_of_the_jacobian(self):
        flow = random_flow()
        z, conditions = points(20, 3), conditions_of(20)
        theta, log_q = flow.transform(z, conditions)
        for one, condition, expected in zip(theta, conditions, log_q, strict=True):
            jacobian = torch.autograd.functional.jacobian(
                lambda t, condition=condition: to_base(flow, t[None], condition[None])[0], one)
            torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, expected, rtol=0, atol=1e-8)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_of_one_parameter_integrates_to_one(self, seed):
        flow = random_flow(SPEC_1, seed)
        n = 20_000
        theta = flow.box.low + (torch.arange(n).double() + 0.5)[:, None] / n * (flow.box.high - flow.box.low)
        log_q = flow.log_prob(theta[None], conditions_of(1, SPEC_1))
        assert log_q.exp().mean().item() * 4.0 == pytest.approx(1, abs=1e-5)
        assert log_q.std() > 0.2

    @pytest.mark.parametrize("seed", [0, 1])
    def test_of_two_parameters_integrates_to_one(self, seed):
        flow = random_flow(SPEC_2, seed, scale=0.3)
        middle = (torch.arange(400).double() + 0.5) / 400
        unit = torch.cartesian_prod(middle, middle)
        theta = flow.box.inverse(unit)[None]
        log_q = flow.log_prob(theta, conditions_of(1, SPEC_2))
        assert log_q.exp().mean().item() * 8.0 == pytest.approx(1, abs=1e-3)
        assert log_q.std() > 0.15

    def test_each_block_sees_only_those_before_it(self):
        flow = random_flow()  # the order is 0, 2, 1
        z, conditions = points(50, 3), conditions_of(50)
        theta, _ = flow.transform(z, conditions)
        for component, unmoved in ((0, ()), (2, (0,)), (1, (0, 2))):
            other = z.clone()
            other[:, component] = points(50, seed=9)
            moved, _ = flow.transform(other, conditions)
            assert all(torch.equal(moved[:, i], theta[:, i]) for i in unmoved)
            assert ((moved - theta)[:, component].abs() > 1e-6).all()

    def test_parameters_depend_on_each_other(self):
        flow = random_flow()
        z = points(1, 1000, 3)
        theta, _ = flow.transform(z, conditions_of(1))
        unit = flow.box(theta)[0]
        at_low, at_high = unit[unit[:, 0] < 0.2], unit[unit[:, 0] > 0.8]
        assert (at_low.mean(0) - at_high.mean(0))[1:].abs().max() > 0.03

    def test_untrained_flow_is_the_uniform_prior(self):
        spec = any_bands(width=(16, 16), knots=16).spec
        torch.manual_seed(0)
        flow = SplineFlow(spec)
        unit, conditions = points(50, 20, 2, dtype=torch.float32), torch.randn(50, spec.n_conditions)
        draws, log_q = flow.draw(unit, conditions)
        torch.testing.assert_close(flow.box(draws), unit, rtol=0, atol=5e-4)
        expected = torch.full((50, 20), -flow.box.log_volume.item())
        torch.testing.assert_close(log_q, expected, rtol=0, atol=0.02)
        torch.testing.assert_close(flow.log_prob(draws, conditions), expected, rtol=0, atol=0.02)

    def test_outside_the_bounds_there_is_nothing(self):
        flow = random_flow()
        theta = torch.tensor([[2.0, 5.0, 1.0], [-0.01, 5, 1], [2, 8.01, 1], [2, 5, 1.51]], dtype=torch.float64)
        log_q = flow.log_prob(theta, conditions_of(4))
        assert torch.isfinite(log_q[0])
        assert (log_q[1:] == -torch.inf).all()

    @settings(deadline=None, max_examples=40)
    @given(seed=st.integers(0, 1000), scale=st.sampled_from([0.05, 0.5, 2.0, 30.0]))
    def test_every_draw_lies_inside(self, seed, scale):
        flow = random_flow(seed=seed, scale=scale).float()
        faces = torch.cartesian_prod(*[torch.tensor([0.0, 2**-24, 1 - 2**-24, 1.0])] * 3)
        unit = torch.cat([faces, points(64, 3, seed=seed, dtype=torch.float32)]).expand(5, -1, -1)
        theta, log_q = flow.draw(unit, conditions_of(5, seed=seed).float())
        assert ((theta >= flow.box.low) & (theta <= flow.box.high)).all()
        assert torch.isfinite(log_q).all()
        assert torch.isfinite(flow.log_prob(theta, conditions_of(5, seed=seed).float())).all()

    def test_gradients_reach_every_weight(self):
        flow = random_flow(scale=0.3)
        theta, _ = flow.transform(points(200, 3), conditions_of(200))
        flow.log_prob(theta.detach(), conditions_of(200)).mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow.parameters())


class TestShapes:
    def test_one_object_or_its_rows_repeated(self):
        flow = random_flow()
        z, conditions = points(4, 5, 3), conditions_of(4)
        theta, log_q = flow.transform(z, conditions)
        assert theta.shape == (4, 5, 3)
        assert log_q.shape == (4, 5)
        repeated = conditions.repeat_interleave(5, 0)
        flat, flat_q = flow.transform(z.flatten(0, 1), repeated)
        torch.testing.assert_close(theta.flatten(0, 1), flat)
        torch.testing.assert_close(log_q.flatten(), flat_q)
        torch.testing.assert_close(flow.log_prob(theta, conditions).flatten(), flow.log_prob(flat, repeated))

    def test_draw_is_transform(self):
        flow = random_flow()
        unit, conditions = points(4, 5, 3), conditions_of(4)
        for one, two in zip(flow.draw(unit, conditions), flow.transform(unit, conditions), strict=True):
            assert torch.equal(one, two)


class TestBetweenKnots:
    """What a flow that is not being trained gives: splines linear between those at the knots of what is given."""

    def test_draws_and_density_agree(self):
        flow = random_flow(SPEC_2).eval()
        z, conditions = points(7, 400, 2), conditions_of(7, SPEC_2)
        theta, log_q = flow.transform(z, conditions)
        torch.testing.assert_close(flow.log_prob(theta, conditions), log_q, rtol=0, atol=1e-7)

    def test_many_points_or_few_are_the_same(self):
        flow = random_flow(SPEC_2).eval()
        z, conditions = points(7, 400, 2), conditions_of(7, SPEC_2)
        many = flow.transform(z, conditions)  # the network at every knot
        few = [torch.cat(parts, 1) for parts in zip(*(flow.transform(part, conditions) for part in z.split(5, 1)),
                                                    strict=True)]  # at the two knots beside each point
        for one, two in zip(many, few, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)

    def test_it_is_the_network_itself_in_the_limit(self):
        differences = []
        for knots in (16, 512):
            spec = replace(SPEC_2, knots=knots)
            flow = random_flow(spec)
            theta = flow.box.inverse(points(1, 3000, 2))
            conditions = conditions_of(1, spec)
            with torch.no_grad():  # a smooth embedding, as training makes it
                for block in flow.inn.module_list:
                    for embedding in block.embedding:
                        along = torch.linspace(-1.5, 1.5, knots + 1, dtype=torch.float64)[:, None]
                        embedding.copy_(torch.sin(along * torch.arange(1, 9)))
            itself = flow.train().log_prob(theta, conditions)
            differences.append((flow.eval().log_prob(theta, conditions) - itself).abs().max().item())
        assert differences[0] > 1e-3  # too few knots show
        assert differences[1] < differences[0] / 100

    def test_objects_are_alone(self):
        flow = random_flow(SPEC_2).eval()
        z, conditions = points(60, 700, 2), conditions_of(60, SPEC_2)  # more than go through the blocks at a time
        theta, log_q = flow.transform(z, conditions)
        for i in (0, 31, 59):
            alone, alone_q = flow.transform(z[i : i + 1], conditions[i : i + 1])
            torch.testing.assert_close(alone[0], theta[i], rtol=0, atol=1e-12)
            torch.testing.assert_close(alone_q[0], log_q[i], rtol=0, atol=1e-9)
        assert not torch.allclose(theta[0], theta[1])


class TestExport:
    @pytest.mark.parametrize("spec", [SPEC, SPEC_1, SPEC_2])
    def test_round_trip(self, spec):
        flow, other = random_flow(spec, seed=1), random_flow(spec, seed=2)
        z, conditions = points(20, spec.n_parameters), conditions_of(20, spec)
        assert not torch.equal(flow.transform(z, conditions)[0], other.transform(z, conditions)[0])
        other.load_export({name: value.clone() for name, value in flow.export().items()})
        for one, two in zip(flow.transform(z, conditions), other.transform(z, conditions), strict=True):
            assert torch.equal(one, two)

    def test_names_are_our_own_and_hold_everything(self):
        flow = random_flow()
        export = flow.export()
        assert not any("module_list" in name or "inn" in name for name in export)
        assert len(export) == len(flow.state_dict())
        assert sum(v.numel() for v in export.values()) == sum(v.numel() for v in flow.state_dict().values())
        assert export["block0.seen.weight"].shape == (8, 2)
        assert export["block2.embedding1"].shape == (17, 16)

    def test_missing_weight_is_refused(self):
        export = random_flow().export()
        del export["block1.embedding0"]
        with pytest.raises(KeyError, match=r"block1\.embedding0"):
            SplineFlow(SPEC).load_export(export)

    def test_json_round_trip(self):
        for spec in (SPEC, any_bands().spec):
            assert SplineSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec

    def test_kind_is_known_by_name(self):
        flow = build_flow(read_spec(json.loads(json.dumps(SPEC.to_dict()))))
        assert isinstance(flow, SplineFlow)
        assert flow.spec == SPEC

    @pytest.mark.parametrize("change", [{"formula": 1}, {"kind": "cinn-affine"}])
    def test_unknown_formula_is_refused(self, change):
        with pytest.raises(ValueError, match="has no flow"):
            SplineFlow(replace(SPEC, **change))


def test_golden_vectors():
    """Weights by formula give these numbers as long as the formulas are those of today (``formula`` 2)."""
    spec = replace(SPEC_2, bins=(3, 3), width=(2, 2), depth=(1, 0), knots=2)
    flow = SplineFlow(spec).double()
    export = {}
    for i, (name, value) in enumerate(flow.export().items()):
        at = torch.arange(value.numel(), dtype=torch.float64) + 1
        export[name] = value if name.startswith("box") else (torch.cos(3 * at + i)).reshape(value.shape)
    export["standardize.scale"] = torch.tensor([2.0, 0.5], dtype=torch.float64)
    flow.load_export(export)
    unit = torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.95, 0.02]], dtype=torch.float64)
    theta, log_q = flow.eval().draw(unit, torch.tensor([[0.3, -1.0]], dtype=torch.float64).expand(3, 2))
    torch.testing.assert_close(theta, torch.tensor(GOLDEN_THETA, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(log_q, torch.tensor(GOLDEN_LOG_Q, dtype=torch.float64), rtol=0, atol=1e-9)


GOLDEN_THETA = [[1.888175448517, 0.753905628183], [1.997848877737, 0.051289250587], [3.661246238093, -0.961078401249]]
GOLDEN_LOG_Q = [-1.093144996876, 2.828637485586, -3.388554662988]
