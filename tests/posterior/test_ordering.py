import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clusterpost.posterior.ordering import ascending

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@given(seed=st.integers(0, 1000), k=st.integers(1, 300))
def test_it_sorts_the_last_dimension(device, seed, k):
    x = torch.randn(3, 2, k, generator=torch.Generator().manual_seed(seed)).to(device)
    x[0, 0, k // 2] = torch.inf
    assert torch.equal(x.gather(-1, ascending(x)), x.sort(-1).values)
    assert torch.equal(ascending(x).sort(-1).values, torch.arange(k, device=device).expand(3, 2, k))
    strided = x.mT
    assert torch.equal(strided.gather(-1, ascending(strided)), strided.sort(-1).values)
