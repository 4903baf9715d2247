import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.flow.transforms import ProbitBox, Standardize, UnitBox

LOW, HIGH = [0.0, 2.0, -1.5], [4.138, 8.0, 1.5]


@pytest.fixture
def box():
    return ProbitBox(LOW, HIGH).double()


def test_round_trips(box):
    x = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = box.inverse(x)
    again, log_det = box(theta)
    torch.testing.assert_close(again, x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log_det, box.log_det(x), rtol=1e-6, atol=1e-6)


def test_log_det_is_that_of_autograd(box):
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    theta = box.inverse(x)
    log_det = box(theta)[1]
    for one, expected in zip(theta, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda t: box(t)[0], one)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, expected)


def test_uniform_becomes_standard_normal(box):
    unit = (torch.arange(1, 1000, dtype=torch.float64) / 1000)[:, None]
    x, _ = box(box.low + unit * (box.high - box.low))
    normal = torch.distributions.Normal(0.0, 1.0).cdf(x)
    torch.testing.assert_close(normal, unit.expand(-1, 3), rtol=0, atol=1e-6)
    assert (box((box.low + box.high) / 2)[0].abs() < 1e-6).all()


@settings(deadline=None, max_examples=100)
@given(x=st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3))
def test_every_draw_lies_inside(x):
    box = ProbitBox(LOW, HIGH)
    theta = box.inverse(torch.tensor(x))
    assert (theta >= box.low).all()
    assert (theta <= box.high).all()
    assert torch.isfinite(box(theta)[0]).all()
    assert torch.isfinite(box(theta)[1])


def test_bounds_stay_finite_with_their_gradient():
    box = ProbitBox(LOW, HIGH)
    theta = torch.stack([box.low, box.high]).requires_grad_()
    x, log_det = box(theta)
    (x.sum() + log_det.sum()).backward()
    assert torch.isfinite(x).all()
    assert torch.isfinite(theta.grad).all()


def test_unit_box_is_undone_and_its_volume_that_of_the_box():
    box = UnitBox(LOW, HIGH).double()
    unit = torch.rand(500, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    theta = box.inverse(unit)
    torch.testing.assert_close(box(theta), unit)
    torch.testing.assert_close(box.inverse(torch.zeros(3).double()), box.low)
    torch.testing.assert_close(box.inverse(torch.ones(3).double()), box.high)
    jacobian = torch.autograd.functional.jacobian(box.inverse, unit[0, 0])
    torch.testing.assert_close(box.log_volume, torch.linalg.slogdet(jacobian).logabsdet)
    assert set(box.state_dict()) == {"low", "high"}


@settings(deadline=None, max_examples=100)
@given(unit=st.lists(st.floats(-(2.0**-20), 1 + 2.0**-20, width=32), min_size=3, max_size=3))
def test_unit_box_never_leaves_the_bounds(unit):
    box = UnitBox(LOW, HIGH)
    theta = box.inverse(torch.tensor(unit))
    assert ((theta >= box.low) & (theta <= box.high)).all()


def test_standardize_takes_mean_and_deviation():
    sample = torch.tensor([[1.0, 10.0], [3.0, 30.0], [5.0, 20.0]])
    layer = Standardize(2)
    torch.testing.assert_close(layer(sample), sample)
    layer.set_from(sample)
    out = layer(sample)
    torch.testing.assert_close(out.mean(0), torch.zeros(2))
    torch.testing.assert_close(out.std(0), torch.ones(2))
    assert set(layer.state_dict()) == {"shift", "scale"}
    layer.set_from(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))  # one that is the same for all is not scaled
    assert layer.scale.tolist() == pytest.approx([math.sqrt(2), 1.0])
    layer.set_from(sample)
    assert math.isclose(layer.shift[1], 20.0)
