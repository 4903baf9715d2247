import pytest

from clusterpost.flow.affine import AffineSpec
from clusterpost.flow.maf import MafSpec
from clusterpost.flow.network import build_flow
from clusterpost.flow.spline import SplineSpec

BOX = {"n_parameters": 3, "n_conditions": 7, "low": (0.0, 2.0, -1.5), "high": (4.0, 8.0, 1.5)}


@pytest.mark.parametrize("spec", [
    AffineSpec(**BOX, permutations=((1, 0, 2), (2, 1, 0)), width=9, depth=3),
    AffineSpec(**BOX, permutations=((1, 0, 2),), width=9, depth=0),
    AffineSpec(n_parameters=4, n_conditions=1, low=(0.0,) * 4, high=(1.0,) * 4, permutations=((3, 1, 2, 0),), width=5),
    SplineSpec(**BOX, order=(0, 2, 1), width=(8, 9, 10), depth=(1, 0, 2), bins=(4, 5, 6), splines=(1, 2, 1), knots=11),
    MafSpec(**BOX, blocks=3, width=12, depth=2),
    MafSpec(**BOX, blocks=1, width=6, depth=1),
], ids=lambda spec: spec.kind)
def test_weights_are_counted_without_building(spec):
    assert spec.count_weights() == sum(p.numel() for p in build_flow(spec).parameters())


@pytest.mark.parametrize("change", [{"high": (4.0, 8.0)}, {"low": (0.0, 8.0, -1.5)}, {"n_parameters": 2}])
def test_bounds_that_do_not_fit(change):
    with pytest.raises(ValueError, match="bound"):
        MafSpec(**(BOX | change))


@pytest.mark.parametrize("order", [(0, 1), (0, 0, 1), (0, 1, 3)])
def test_orders_that_are_none(order):
    with pytest.raises(ValueError, match="is not an order of 3 parameters"):
        AffineSpec(**BOX, permutations=(order,))
    with pytest.raises(ValueError, match="is not an order of 3 parameters"):
        SplineSpec(**BOX, order=order, width=(8,) * 3, depth=(1,) * 3, bins=(4,) * 3, splines=(1,) * 3)
