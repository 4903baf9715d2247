import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterpost.families.encoders import AbsoluteConditions, RelativeConditions, Walter2025Conditions, read_encoder
from clusterpost.observations import Observed

# Five slots, three of which two cameras can fill.
SLOTS = ((0,), (1,), (2, 5), (3, 6), (4, 7))


def random_photometry(n=20, n_bands=8, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    flux = torch.exp(2 * torch.randn(n, n_bands, generator=generator, dtype=dtype))
    error = flux * torch.empty(n, n_bands, dtype=dtype).uniform_(0.03, 1.2, generator=generator)
    measured = torch.rand(n, n_bands, generator=generator) < 0.6
    measured[:, :2] = True
    return flux, error, measured, torch.empty(n, dtype=dtype).uniform_(1, 30, generator=generator)


def observed(flux, error, measured, distance):
    return Observed(flux, error, measured, torch.zeros_like(measured), {"distance": distance})


class TestWalter2025:
    def test_eleven_conditions_in_the_order_of_the_paper(self):
        flux = torch.tensor([[1.0, 10.0, 100.0, 0.1, 0.01]])
        error = flux * torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
        measured = torch.ones(1, 5, dtype=torch.bool)
        encoded = Walter2025Conditions()(observed(flux, error, measured, torch.tensor([18.6])))
        expected = torch.tensor([[0, 1, 2, -1, -2, 0.1, 0.2, 0.3, 0.4, 0.5, 18.6]])
        torch.testing.assert_close(encoded, expected)
        assert encoded.shape[1] == Walter2025Conditions().size(5) == 11

    @settings(deadline=None, max_examples=50)
    @given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
    def test_brightness_shifts_the_log_fluxes_alone(self, factor, seed):
        flux, error, measured, distance = random_photometry(4, 5, seed)
        encode = Walter2025Conditions()
        brighter = observed(factor * flux, factor * error, measured, distance)
        change = encode(brighter) - encode(observed(flux, error, measured, distance))
        expected = torch.zeros_like(change)
        expected[:, :5] = torch.log10(torch.tensor(factor, dtype=torch.float64))
        torch.testing.assert_close(change, expected, rtol=0, atol=1e-12)


class TestRelative:
    encode = RelativeConditions(SLOTS)

    def test_by_hand(self):
        encode = RelativeConditions([(0,), (1, 3), (2,)])
        flux, error = torch.tensor([[1.0, 9.0, 4.0, 2.0]]), torch.tensor([[0.1, 9.0, 0.8, 0.4]])
        measured = torch.tensor([[True, False, True, True]])
        variance = torch.log1p(torch.tensor([0.1, 0.2, 0.2]) ** 2)  # of the bands 0, 3 and 2
        value = torch.log(torch.tensor([1.0, 2.0, 4.0])) + variance / 2
        mean = (value / variance).sum() / (1 / variance).sum()
        expected = torch.cat([value - mean, variance.log() / 2, torch.ones(3), torch.ones(1)])
        torch.testing.assert_close(encode(observed(flux, error, measured, torch.ones(1)))[0], expected)
        assert encode.size() == 10

    @settings(deadline=None, max_examples=50)
    @given(factor=st.floats(1e-6, 1e6), distance=st.floats(1e-3, 1e4), seed=st.integers(0, 1000))
    def test_brightness_and_distance_change_nothing(self, factor, distance, seed):
        flux, error, measured, d = random_photometry(seed=seed)
        before = self.encode(observed(flux, error, measured, d))
        after = self.encode(observed(factor * flux, factor * error, measured, torch.full_like(d, distance)))
        torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
        single = self.encode(observed(*(x.float() if x.is_floating_point() else x for x in (flux, error, measured, d))))
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), before, rtol=1e-5, atol=1e-5)

    def test_colors_and_errors_change_them(self):
        flux, error, measured, d = random_photometry()
        before = self.encode(observed(flux, error, measured, d))
        brighter = flux.clone()
        brighter[:, 0] *= 1.3
        assert ((self.encode(observed(brighter, error, measured, d)) - before).abs().amax(1) > 0.01).all()
        assert ((self.encode(observed(flux, 1.2 * error, measured, d)) - before).abs().amax(1) > 0.01).all()

    def test_what_stands_in_an_unmeasured_band_means_nothing(self):
        flux, error, measured, d = random_photometry()
        before = self.encode(observed(flux, error, measured, d))
        for nonsense in (-1.0, 0.0, torch.nan, torch.inf, 1e30):
            other = torch.where(measured, flux, nonsense), torch.where(measured, error, nonsense)
            torch.testing.assert_close(self.encode(observed(*other, measured, d)), before, rtol=0, atol=0)

    def test_missing_slots_are_told(self):
        flux, error, measured, d = random_photometry()
        there = torch.stack([measured[:, list(slot)].any(1) for slot in SLOTS], dim=1)
        assert 0.5 < there[:, 2:].double().mean() < 0.99
        out = self.encode(observed(flux, error, measured, d))
        assert torch.equal(out[:, 10:15], there.double())
        assert (out[:, :5][~there] == 0).all()
        assert (out[:, 5:10][~there] == 0).all()

    def test_the_better_band_of_a_slot_is_taken(self):
        flux, error, measured, d = random_photometry()
        measured[:] = True
        camera = self.encode(observed(flux, error, measured, d))[:, 15:]
        relative = error / flux
        expected = torch.stack([relative[:, b] < relative[:, a] for a, b in ((2, 5), (3, 6), (4, 7))], dim=1)
        assert torch.equal(camera, expected.double())
        assert 0 < expected.double().mean() < 1
        # A band that is not there is not the better one.
        only_first = measured.clone()
        only_first[:, 5:] = False
        assert (self.encode(observed(flux, error, only_first, d))[:, 15:] == 0).all()
        only_last = measured.clone()
        only_last[:, 2:5] = False
        assert (self.encode(observed(flux, error, only_last, d))[:, 15:] == 1).all()

    def test_extremes_are_clamped(self):
        flux = torch.tensor([[1e-30, 1.0, 1.0, 1e30, 1, 1, 1, 1]]).double()
        error = flux * torch.tensor([1e-9, 1e9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]).double()
        out = self.encode(observed(flux, error, torch.ones(1, 8, dtype=torch.bool), torch.ones(1)))
        assert torch.isfinite(out).all()
        assert out[:, :5].abs().max() == 12
        low, high = RelativeConditions.error_range
        assert out[0, 5].exp().item() == pytest.approx(low)
        assert out[0, 6].exp().item() == pytest.approx(high)

    def test_slots_of_three_bands_are_refused(self):
        with pytest.raises(ValueError, match="one or two bands"):
            RelativeConditions([(0, 1, 2), (3,)])


class TestAbsolute:
    encode = AbsoluteConditions(SLOTS)

    @settings(deadline=None, max_examples=30)
    @given(factor=st.floats(1e-4, 1e4), seed=st.integers(0, 1000))
    def test_brightness_shows_in_the_last_one_alone_and_distance_undoes_it(self, factor, seed):
        flux, error, measured, d = random_photometry(seed=seed)
        flux[:, 3] *= -0.5  # of any sign
        before = self.encode(observed(flux, error, measured, d))
        after = self.encode(observed(factor * flux, factor * error, measured, d))
        torch.testing.assert_close(after[:, :-1], before[:, :-1], rtol=0, atol=1e-9)
        expected = before[:, -1] + math.log(factor)
        torch.testing.assert_close(after[:, -1], expected, rtol=0, atol=1e-9)
        nearer = self.encode(observed(factor * flux, factor * error, measured, d / factor**0.5))
        torch.testing.assert_close(nearer, before, rtol=0, atol=1e-9)

    def test_of_good_photometry_is_the_logarithm(self):
        flux, _, measured, d = random_photometry()
        good = observed(flux, 1e-2 * flux, measured, d)
        out, relative = self.encode(good), RelativeConditions(SLOTS)(good)
        torch.testing.assert_close(out[:, :5], relative[:, :5], rtol=0, atol=1e-3)
        there = out[:, 10:15] > 0
        torch.testing.assert_close(out[:, 5:10][there], torch.full_like(out[:, 5:10][there], torch.asinh(
            torch.tensor(50.0)).item()))

    def test_sinks_with_the_flux_through_zero(self):
        n = 41
        flux = torch.ones(n, 8).double()
        flux[:, 0] = torch.linspace(2, -2, n, dtype=torch.float64)
        error, measured = torch.full((n, 8), 0.3).double(), torch.ones(n, 8, dtype=torch.bool)
        out = self.encode(observed(flux, error, measured, torch.ones(n).double()))
        assert torch.isfinite(out).all()
        assert (out[:, 5].diff() < 0).all()
        assert out[20, 5].item() == pytest.approx(0, abs=1e-12)
        assert (out[:, 0].diff() < 0).all()

    def test_what_stands_in_an_unmeasured_band_means_nothing(self):
        flux, error, measured, d = random_photometry()
        before = self.encode(observed(flux, error, measured, d))
        for nonsense in (-1.0, 0.0, torch.nan, torch.inf, 1e30):
            other = torch.where(measured, flux, nonsense), torch.where(measured, error, nonsense)
            torch.testing.assert_close(self.encode(observed(*other, measured, d)), before, rtol=0, atol=0)


@pytest.mark.parametrize("encoder", [Walter2025Conditions(), RelativeConditions(SLOTS), AbsoluteConditions(SLOTS)],
                         ids=["walter", "relative", "absolute"])
class TestEvery:
    def test_a_card_holds_it(self, encoder):
        again = read_encoder(json.loads(json.dumps(encoder.to_dict())))
        assert type(again) is type(encoder)
        photometry = random_photometry()
        assert torch.equal(again(observed(*photometry)), encoder(observed(*photometry)))

    def test_size_is_that_of_the_output(self, encoder):
        out = encoder(observed(*random_photometry()))
        assert out.shape == (20, encoder.size(8))
        assert torch.isfinite(out).all()

    def test_rows_are_independent(self, encoder):
        photometry = observed(*random_photometry(6))
        order = torch.tensor([3, 1, 0, 5, 2, 4])
        torch.testing.assert_close(encoder(photometry)[order], encoder(photometry[order]))


@pytest.mark.parametrize("values", ["colors", {"name": "colors"}, {}, None])
def test_unknown_conditions_are_refused(values):
    with pytest.raises(ValueError, match="does not know the conditions"):
        read_encoder(values)
