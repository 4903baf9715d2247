import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clusterpost.posterior.ordering import argmax, ascending

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seed=st.integers(0, 1000), k=st.integers(1, 300))
def test_it_sorts_the_last_dimension(device, dtype, seed, k):
    x = torch.randn(3, 2, k, generator=torch.Generator().manual_seed(seed)).to(device, dtype)
    x[0, 0, k // 2] = torch.inf
    x[0, 1, : k // 2] = -torch.inf
    x[1, 0, k // 3 :] = 0.0  # equal ones, and of both signs
    x[1, 0, k // 2 :] *= -1
    x[2] *= torch.finfo(dtype).tiny  # and some too small to be normal
    assert torch.equal(x.gather(-1, ascending(x)), x.sort(-1).values)
    assert torch.equal(ascending(x).sort(-1).values, torch.arange(k, device=device).expand(3, 2, k))
    strided = x.mT
    assert torch.equal(strided.gather(-1, ascending(strided)), strided.sort(-1).values)


@pytest.mark.parametrize("device", DEVICES)
def test_numbers_that_are_none_come_last(device):
    x = torch.tensor([[torch.nan, torch.inf, 3e38, -torch.inf, -3e38, 0.0]], device=device)
    assert ascending(x).tolist() == [[3, 4, 5, 2, 1, 0]]
    assert ascending(x.double()).tolist() == [[3, 4, 5, 2, 1, 0]]


@pytest.mark.parametrize("device", DEVICES)
@given(seed=st.integers(0, 1000), k=st.integers(1, 300))
def test_the_largest_is_found(device, seed, k):
    x = torch.randint(0, 20, (3, 2, k), generator=torch.Generator().manual_seed(seed)).float().to(device)
    assert torch.equal(x.gather(-1, argmax(x)[..., None])[..., 0], x.amax(-1))
