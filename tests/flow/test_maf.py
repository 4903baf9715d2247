"""Masked autoregressive flows through zuko."""

import json
from dataclasses import replace

import pytest
import torch

pytest.importorskip("zuko")

from clusterpost.flow.maf import MafFlow, MafSpec
from clusterpost.flow.modelfile import load_model, save_model
from clusterpost.flow.network import build_flow, read_spec
from clusterpost.training.recipes import maf

SPEC = MafSpec(3, 2, (0.0, 2.0, -1.5), (4.0, 8.0, 1.5), blocks=3, width=16)


def random_flow(spec=SPEC, seed=0, scale=0.1):
    torch.manual_seed(seed)
    flow = MafFlow(spec)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn(parameter.shape))
    flow.standardize.set_from(3 + 2 * torch.randn(100, spec.n_conditions))
    return flow.double().eval()


def inputs(n, k, seed=1):
    generator = torch.Generator().manual_seed(seed)
    unit = torch.empty(n, k, 3, dtype=torch.float64).uniform_(0.01, 0.99, generator=generator)
    return unit, 3 + torch.randn(n, 2, generator=generator, dtype=torch.float64)


def test_draws_lie_inside_and_have_their_density():
    flow = random_flow()
    unit, conditions = inputs(20, 50)
    theta, log_q = flow.draw(unit, conditions)
    assert theta.shape == (20, 50, 3)
    assert ((theta >= flow.box.low) & (theta <= flow.box.high)).all()
    torch.testing.assert_close(flow.log_prob(theta, conditions), log_q, rtol=1e-5, atol=1e-5)
    flat = flow.log_prob(theta.flatten(0, 1), conditions.repeat_interleave(50, 0))
    torch.testing.assert_close(flat, log_q.flatten(), rtol=1e-5, atol=1e-5)
    assert (flow.log_prob(theta, conditions.roll(1, 0)) - log_q).abs().max() > 0.1
    assert (flow.log_prob(theta + 10, conditions) == -torch.inf).all()


def test_density_is_that_of_the_jacobian():
    flow = random_flow()
    unit, conditions = inputs(10, 1)
    theta, log_q = flow.draw(unit, conditions)
    for i in range(10):
        def to_base(t, i=i):
            x, _ = flow.box(t)
            return flow.blocks(flow.standardize(conditions[i]))(x)

        one = theta[i, 0]
        jacobian = torch.autograd.functional.jacobian(to_base, one)
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(to_base(one)).sum() + torch.linalg.slogdet(
            jacobian).logabsdet
        torch.testing.assert_close(log_q[i, 0], expected, rtol=1e-5, atol=1e-5)


def test_untrained_flow_is_the_uniform_prior():
    flow = MafFlow(SPEC).double()
    unit, conditions = inputs(5, 100)
    theta, log_q = flow.draw(unit, conditions)
    torch.testing.assert_close((theta - flow.box.low) / (flow.box.high - flow.box.low), unit, rtol=0, atol=1e-6)
    expected = -torch.log(flow.box.high - flow.box.low).sum()
    torch.testing.assert_close(log_q, expected.expand(5, 100), rtol=0, atol=1e-6)


def test_export_round_trip_holds_everything():
    flow, other = random_flow(seed=1), random_flow(seed=2)
    export = {name: value.clone() for name, value in flow.export().items()}
    assert len(export) == len(flow.state_dict())
    assert not any("transforms" in name or "hyper" in name for name in export)
    other.load_export(export)
    for one, two in zip(flow.draw(*inputs(4, 4)), other.draw(*inputs(4, 4)), strict=True):
        assert torch.equal(one, two)


def test_model_file_round_trip(tmp_path):
    recipe = maf(bands=("F275W", "F438W", "F814W"), blocks=2, width=8)
    torch.manual_seed(0)
    flow = build_flow(recipe.spec)
    save_model(tmp_path / "sedflow", flow, {
        "conditions": recipe.encoder.to_dict(), "learned": list(recipe.learned), "training": {},
        "simulator": recipe.simulator.to_dict()})
    model = load_model(tmp_path / "sedflow", device="cpu")
    assert isinstance(model.flow, MafFlow)
    assert read_spec(json.loads(json.dumps(recipe.spec.to_dict()))) == model.flow.spec == recipe.spec


@pytest.mark.parametrize("change", [{"formula": 2}, {"kind": "cinn-affine"}])
def test_unknown_formula_is_refused(change):
    with pytest.raises(ValueError, match="has no flow"):
        MafFlow(replace(SPEC, **change))


def test_sedflow_has_fifteen_blocks_of_500():
    assert (maf().spec.blocks, maf().spec.width, maf().spec.depth) == (15, 500, 2)


def test_without_zuko_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zuko", None)
    with pytest.raises(ImportError, match=r"zuko is required.*clusterpost\[maf\]"):
        MafFlow(SPEC)
