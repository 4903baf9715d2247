import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.flow.conditions import ENCODERS, Walter2025Conditions


def test_walter2025_has_eleven_conditions_in_the_order_of_the_paper():
    flux = torch.tensor([[1.0, 10.0, 100.0, 0.1, 0.01]])
    error = flux * torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    encoded = Walter2025Conditions()(flux, error, torch.tensor([18.6]))
    expected = torch.tensor([[0, 1, 2, -1, -2, 0.1, 0.2, 0.3, 0.4, 0.5, 18.6]])
    torch.testing.assert_close(encoded, expected)
    assert encoded.shape[1] == Walter2025Conditions().size(5) == 11


@pytest.mark.parametrize("n_bands", [2, 5, 8])
@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_size_is_that_of_the_output(name, n_bands):
    encoder = ENCODERS[name]
    assert encoder.name == name
    out = encoder(torch.ones(7, n_bands), torch.full((7, n_bands), 0.1), torch.ones(7))
    assert out.shape == (7, encoder.size(n_bands))
    assert torch.isfinite(out).all()


@settings(deadline=None, max_examples=50)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_brightness_shifts_the_log_fluxes_alone(factor, seed):
    generator = torch.Generator().manual_seed(seed)
    flux = torch.rand(4, 5, generator=generator, dtype=torch.float64) + 0.1
    error, distance = 0.2 * flux, torch.ones(4, dtype=torch.float64)
    encode = Walter2025Conditions()
    change = encode(factor * flux, factor * error, distance) - encode(flux, error, distance)
    expected = torch.zeros_like(change)
    expected[:, :5] = torch.log10(torch.tensor(factor, dtype=torch.float64))
    torch.testing.assert_close(change, expected, rtol=0, atol=1e-12)


def test_rows_are_independent():
    flux = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) + 0.1
    distance = torch.arange(1.0, 7.0)
    encode = Walter2025Conditions()
    order = torch.tensor([3, 1, 0, 5, 2, 4])
    torch.testing.assert_close(encode(flux, 0.1 * flux, distance)[order],
                               encode(flux[order], 0.1 * flux[order], distance[order]))
