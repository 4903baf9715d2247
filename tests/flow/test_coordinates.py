"""Coordinates of the unit cube: there and back, of density one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from clusterpost.flow.coordinates import Coordinates, parse_coordinate

LOW, HIGH = (0.0, 2.0, 0.0, 2.2, 0.0, -1.7, 2.2), (4.1, 7.0, 1.5, 5.0, 1.0, 0.2, 5.0)
COORDINATES = ("linear", "amplitude", "log1p:0.1", "normal:3.1:0.3", "log1m:0.01", "known", "known:3.1:0.3")
N = len(COORDINATES)
NOTHING = (0.0, 0.0)
SPEC = SimpleNamespace(low=LOW, high=HIGH, coordinates=COORDINATES)


def test_there_and_back():
    maps = Coordinates(SPEC)
    with torch.no_grad():
        maps.shift.fill_(-5.0)
    unit = torch.rand(6, 50, N, dtype=torch.float64)
    references = torch.tensor([[18.0, *NOTHING, *NOTHING], [20, -0.5, 20, *NOTHING], [22, *NOTHING, 3.0, 30],
                               [24, -1.6, 2, 4.0, 2], [26, 0.3, 10, 2.4, 10], [28, -1.7, 5, 5.1, 20]])
    theta = maps.inverse(unit, references.double())
    torch.testing.assert_close(maps(theta, references.double())[0], unit, atol=1e-7, rtol=0)


@pytest.mark.parametrize("known", [(*NOTHING, *NOTHING), (-0.4, 5.0, 3.4, 8.0), (-1.9, 10.0, 5.2, 10.0)])
@pytest.mark.parametrize("i", range(N))
@torch.no_grad()
def test_slopes_integrate_to_one(i, known):
    maps = Coordinates(SPEC)
    theta = torch.tensor([1.0, 4.0, 0.3, 3.0, 0.5, -0.5, 3.4], dtype=torch.float64).repeat(1, 20_001, 1)
    grid = torch.linspace(LOW[i], HIGH[i], 20_001, dtype=torch.float64)
    references = torch.tensor([[9.0, *known]], dtype=torch.float64)
    fixed = maps(theta[:, :1], references)[1]
    theta[..., i] = grid
    unit, log_det = maps(theta, references)
    # all others are held, so that the mean of this one's slope is one up to what the others contribute
    slope = torch.gradient(unit[0, :, i], spacing=(grid,))[0]
    middle = 2 + int(slope[2:-2].abs().argmax())  # away from the ends, where differences are one-sided
    own = torch.exp(log_det - log_det[:, middle:middle + 1])[0] * slope[middle]
    np.testing.assert_allclose(own[2:-2], slope[2:-2], rtol=4e-3, atol=1e-6)
    assert float(torch.trapezoid(slope, grid)) == pytest.approx(-1 if COORDINATES[i] == "log1m:0.01" else 1, abs=1e-3)
    assert torch.isfinite(fixed).all()


def test_set_from_a_sample():
    maps = Coordinates(SPEC)
    brightness = 20 + 3 * torch.randn(5000, 1)
    theta = torch.rand(5000, N)
    theta[:, 1] = -5 + 0.4343 * brightness[:, 0] + 0.7 * torch.randn(5000)
    maps.set_from(theta, brightness)
    assert float(maps.shift.detach()) == pytest.approx(-5, abs=0.05)
    assert float(maps.ln_scale.exp().detach()) == pytest.approx(0.7 * 0.551, abs=0.02)


@pytest.mark.parametrize("text", ["log", "log1p", "log1p:0", "log1p:-1", "normal:1", "linear:1", "normal:nan:1",
                                  "known:3.1"])
def test_what_is_no_coordinate(text):
    with pytest.raises(ValueError, match="coordinate"):
        parse_coordinate(text)


def test_an_edge_is_opened():
    """What lies within a hundredth of the upper bound has a seventh of the unit interval."""
    theta = torch.tensor([[[1.0, 4.0, 0.3, 3.0, 0.99, -0.5, 3.4]]])
    unit, _ = Coordinates(SPEC)(theta, torch.tensor([[9.0, *NOTHING, *NOTHING]]))
    assert float(unit[..., 4].detach()) == pytest.approx(np.log(2) / np.log(101), abs=1e-4)


def test_known_values_narrow_the_densities():
    """The distribution function is that of the product of both densities, and of the first one if nothing is known."""
    theta = torch.zeros(1, 1, N, dtype=torch.float64)
    theta[..., 1], theta[..., 5], theta[..., 6] = 4.0, -0.5, 3.2

    def of(known):
        return Coordinates(SPEC)(theta, torch.tensor([[9.0, *known]], dtype=torch.float64))[0][0, 0, 5:].detach()

    cut = stats.truncnorm((2.2 - 3.1) / 0.3, (5 - 3.1) / 0.3, 3.1, 0.3).cdf(3.2)
    np.testing.assert_allclose(of((*NOTHING, *NOTHING)), [1.2 / 1.9, cut], atol=2e-3)
    width = (0.3**-2 + 0.1**-2) ** -0.5
    mean = width**2 * (3.1 / 0.3**2 + 3.4 / 0.1**2)
    metals = stats.truncnorm((-1.7 + 0.6) / 0.2, (0.2 + 0.6) / 0.2, -0.6, 0.2).cdf(-0.5)
    np.testing.assert_allclose(of((-0.6, 5.0, 3.4, 10.0)), [metals, stats.norm(mean, width).cdf(3.2)], atol=1e-3)
