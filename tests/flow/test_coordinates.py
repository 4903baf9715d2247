"""Coordinates of the unit cube: there and back, of density one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clusterpost.flow.coordinates import Coordinates, parse_coordinate

LOW, HIGH = (0.0, 2.0, 0.0, 2.2, 0.0), (4.1, 7.0, 1.5, 5.0, 1.0)
COORDINATES = ("linear", "amplitude", "log1p:0.1", "normal:3.1:0.3", "log1m:0.01")
SPEC = SimpleNamespace(low=LOW, high=HIGH, coordinates=COORDINATES)


def test_there_and_back():
    maps = Coordinates(SPEC)
    with torch.no_grad():
        maps.shift.fill_(-5.0)
    unit = torch.rand(6, 50, 5, dtype=torch.float64)
    brightness = torch.linspace(18, 28, 6, dtype=torch.float64)[:, None]
    theta = maps.inverse(unit, brightness)
    torch.testing.assert_close(maps(theta, brightness)[0], unit, atol=1e-7, rtol=0)


@pytest.mark.parametrize("i", range(5))
@torch.no_grad()
def test_slopes_integrate_to_one(i):
    maps = Coordinates(SPEC)
    theta = torch.tensor([1.0, 4.0, 0.3, 3.0, 0.5], dtype=torch.float64).repeat(1, 20_001, 1)
    grid = torch.linspace(LOW[i], HIGH[i], 20_001, dtype=torch.float64)
    brightness = torch.tensor([[9.0]], dtype=torch.float64)
    fixed = maps(theta[:, :1], brightness)[1]
    theta[..., i] = grid
    unit, log_det = maps(theta, brightness)
    # all others are held, so that the mean of this one's slope is one up to what the others contribute
    slope = torch.gradient(unit[0, :, i], spacing=(grid,))[0]
    own = torch.exp(log_det - log_det[:, :1])[0] * slope[1]
    np.testing.assert_allclose(own[2:-2], slope[2:-2], rtol=2e-3)
    assert float(torch.trapezoid(slope, grid)) == pytest.approx(-1 if COORDINATES[i] == "log1m:0.01" else 1, abs=1e-3)
    assert torch.isfinite(fixed).all()


def test_set_from_a_sample():
    maps = Coordinates(SPEC)
    brightness = 20 + 3 * torch.randn(5000, 1)
    theta = torch.rand(5000, 5)
    theta[:, 1] = -5 + 0.4343 * brightness[:, 0] + 0.7 * torch.randn(5000)
    maps.set_from(theta, brightness)
    assert float(maps.shift.detach()) == pytest.approx(-5, abs=0.05)
    assert float(maps.ln_scale.exp().detach()) == pytest.approx(0.7 * 0.551, abs=0.02)


@pytest.mark.parametrize("text", ["log", "log1p", "log1p:0", "log1p:-1", "normal:1", "linear:1", "normal:nan:1"])
def test_what_is_no_coordinate(text):
    with pytest.raises(ValueError, match="coordinate"):
        parse_coordinate(text)


def test_an_edge_is_opened():
    """What lies within a hundredth of the upper bound has a seventh of the unit interval."""
    theta = torch.tensor([[[1.0, 4.0, 0.3, 3.0, 0.99]]])
    unit, _ = Coordinates(SPEC)(theta, torch.tensor([[9.0]]))
    assert float(unit[..., 4].detach()) == pytest.approx(np.log(2) / np.log(101), abs=1e-4)
