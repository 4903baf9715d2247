"""How mocks are observed: errors and bands that tell nothing of a mock's own parameters."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

import clusterpost
from clusterpost.bands import ACS_BANDS, WFC3_BANDS, band_slots
from clusterpost.errors import InputError
from clusterpost.training import observing
from clusterpost.training.observing import (
    AllBands,
    AnyBands,
    EmpiricalErrors,
    FlatErrors,
    LevelErrors,
    MixedErrors,
    SurveyBands,
    UpperLimits,
    read_coverage,
    read_errors,
    read_limits,
)
from clusterpost.training.simulation import cluster_simulator, seeded_generator

pytestmark = pytest.mark.usefixtures("exact_by_default")

EIGHT = (*WFC3_BANDS, *ACS_BANDS)

SLOTS = band_slots(EIGHT)


def ln_fluxes(n=20_000, n_bands=5):
    return 3 * torch.randn(n, n_bands, generator=seeded_generator(1))


def depth_limited(n=2000, bands=WFC3_BANDS, faintest=1e-5):
    """A catalog whose noise is the same for all objects: relative errors fall as the flux rises."""
    tbl = clusterpost.simulate(n, bands=bands, errors=0.0, seed=3)
    rng = np.random.default_rng(0)
    for band in bands:
        flux = 10 ** rng.uniform(-4, -1, n)
        tbl[band].value[:], tbl[f"{band}_err"].value[:] = flux, faintest * rng.lognormal(0, 0.2, n)
    return tbl


EMPIRICAL = EmpiricalErrors.from_catalog(depth_limited(), WFC3_BANDS, error_floor=None, low=1e-4)


class TestEmpirical:
    def test_gives_the_errors_of_the_catalog_at_each_flux(self):
        for flux in (3e-4, 1e-3, 1e-2):
            ln_flux = torch.full((4000, 5), float(np.log(flux)))
            ln_error = EMPIRICAL.draw(ln_flux, seeded_generator(1)).log()
            assert ln_error.mean().item() == pytest.approx(np.log(1e-5 / flux), abs=0.05)
            assert ln_error.std().item() == pytest.approx(0.2, abs=0.08)  # and the width of a bin

    def test_is_constant_beyond_the_catalog(self):
        low, lower = (EMPIRICAL.draw(torch.full((100, 5), x), seeded_generator(1)) for x in (-12.0, -30.0))
        assert torch.equal(low, lower)
        high = EMPIRICAL.draw(torch.full((100, 5), 20.0), seeded_generator(1))
        assert high.max() < low.min()

    def test_floor_is_added_and_the_range_kept(self):
        floored = EmpiricalErrors.from_catalog(depth_limited(), WFC3_BANDS)
        drawn = floored.draw(torch.zeros(1000, 5), seeded_generator(1))
        assert drawn.mean().item() == pytest.approx(0.05, abs=0.002)
        narrow = EmpiricalErrors.from_catalog(depth_limited(), WFC3_BANDS, error_floor=None, low=0.01, high=0.02)
        drawn = narrow.draw(ln_fluxes() - 7, seeded_generator(1))
        assert narrow.range == (0.01, 0.02)
        assert drawn.min().item() == pytest.approx(0.01)
        assert drawn.max().item() == pytest.approx(0.02)

    def test_bands_that_cannot_be_measured_are_named(self):
        tbl = depth_limited(50)
        tbl["F336W"][:] = np.nan
        with pytest.raises(InputError, match="0 detections in F336W"):
            EmpiricalErrors.from_catalog(tbl, WFC3_BANDS)
        with pytest.raises(InputError, match="of 5 bands, and the simulator has 2"):
            cluster_simulator(bands=("F275W", "F336W"), errors=EMPIRICAL).draw(3, seeded_generator(0))


class TestErrors:
    @pytest.mark.parametrize("errors", [FlatErrors(), FlatErrors(0.0, 0.3), MixedErrors(), MixedErrors(floor=0.1),
                                        MixedErrors(flat=0, level=0), MixedErrors(flat=0, level=1), LevelErrors(),
                                        EMPIRICAL])
    def test_lie_in_the_range_and_are_reproducible(self, errors):
        ln_flux = ln_fluxes()
        relative = errors.draw(ln_flux, seeded_generator(2))
        assert relative.shape == ln_flux.shape
        low, high = errors.range
        assert low <= relative.min()
        assert relative.max() <= high
        assert torch.equal(relative, errors.draw(ln_flux, seeded_generator(2)))
        assert not torch.equal(relative, errors.draw(ln_flux, seeded_generator(3)))

    def test_flat_ones_are_uniform(self):
        relative = FlatErrors(0.1, 0.3).draw(ln_fluxes(), seeded_generator(2))
        assert stats.kstest((relative[:, 0].numpy() - 0.1) / 0.2, "uniform").pvalue > 1e-3

    def test_mixed_ones_hold_what_their_parts_are_made_for(self):
        ln_flux = ln_fluxes()
        level = MixedErrors(flat=0, level=1).draw(ln_flux, seeded_generator(2)).log()
        assert (level - level.mean(1, keepdim=True)).std() < 0.5 < level.mean(1).std()  # alike within an object
        survey = MixedErrors(flat=0, level=0).draw(ln_flux, seeded_generator(2))
        assert survey.min() >= 0.05  # the floor
        faintest, brightest = ln_flux.argmin(1, keepdim=True), ln_flux.argmax(1, keepdim=True)
        assert (survey.gather(1, faintest) > survey.gather(1, brightest)).float().mean() > 0.8
        mixed = MixedErrors().draw(ln_flux, seeded_generator(2))
        assert (mixed < 0.05).float().mean() > 0.01  # beyond the flat ones at both ends
        assert (mixed > 0.5).float().mean() > 0.01

    @pytest.mark.parametrize("errors", [FlatErrors(), MixedErrors(), MixedErrors(flat=0, level=0), EMPIRICAL])
    def test_tell_nothing_of_a_mocks_own_parameters(self, errors):
        mocks = cluster_simulator(bands=WFC3_BANDS, errors=errors).draw(20_000, seeded_generator(4))
        relative = (mocks.error / mocks.flux).log()
        for values in (mocks.theta.unbind(1), relative.unbind(1)):
            assert all(v.std() > 0.1 for v in values)
        for parameter in mocks.theta.unbind(1):
            for r in relative.unbind(1):
                assert stats.spearmanr(parameter, r).pvalue > 1e-4
        # A model whose errors follow its own fluxes is found out.
        own = errors.draw(cluster_simulator().family.simulate(mocks.theta, mocks.covariates), seeded_generator(5)).log()
        worst = min(stats.spearmanr(parameter, r).pvalue for parameter in mocks.theta.unbind(1) for r in own.unbind(1))
        assert (worst < 1e-10) == (not isinstance(errors, FlatErrors))


class TestCoverage:
    def test_all(self):
        assert AllBands().draw(7, 5, seeded_generator(0)).all()

    @pytest.mark.parametrize("bands", [EIGHT, WFC3_BANDS, ACS_BANDS, ("F275W", "F814W_ACS", "F814W", "F555W")])
    def test_any_has_two_slots_or_more_and_one_band_in_each(self, bands):
        slots = band_slots(bands)
        measured = AnyBands(slots).draw(20_000, len(bands), seeded_generator(1))
        in_slot = torch.stack([measured[:, list(slot)].sum(1) for slot in slots], dim=1)
        assert in_slot.max() == 1
        filled = in_slot.sum(1)
        assert filled.min() == 2
        assert (filled == len(slots)).float().mean() >= 0.44
        # every number of slots and every band
        assert set(filled.tolist()) == set(range(2, len(slots) + 1))
        assert (measured.float().mean(0) > 0.15).all()

    def test_one_camera_more_often_than_a_mixture(self):
        measured = AnyBands(SLOTS).draw(20_000, 8, seeded_generator(1))
        complete = measured.sum(1) == 5
        first = (measured[:, 2:5] & complete[:, None]).sum(1)[complete]
        assert (first == 3).float().mean() > 0.45
        assert (first == 0).float().mean() > 0.28
        assert 0.1 < ((first == 1) | (first == 2)).float().mean() < 0.3

    def test_tells_nothing_of_the_parameters(self):
        simulator = cluster_simulator(bands=EIGHT, errors=MixedErrors(), coverage=AnyBands(SLOTS))
        mocks = simulator.draw(20_000, seeded_generator(6))
        for parameter in mocks.theta.unbind(1):
            for there in mocks.measured.unbind(1):
                assert stats.ks_2samp(parameter[there], parameter[~there]).pvalue > 1e-4


    def test_surveys_and_random_sets(self):
        surveys = SurveyBands(SLOTS, sets=((0, 1, 2), (5, 6)), shares=(3.0, 1.0), random=0.2, largest=4)
        measured = surveys.draw(20_000, 8, seeded_generator(7))
        number = measured.sum(1)
        assert (number.min(), number.max()) == (2, 4)
        one, other = ((measured == torch.tensor([i in chosen for i in range(8)])).all(1).float().mean()
                      for chosen in surveys.sets)
        assert 2.0 < one / other < 3.2  # of which fewer are complete, as they have three bands
        assert 0.1 < (number == 4).float().mean() * 3 < 0.3  # random ones have two to four bands equally often
        assert measured[:, 7].any()

    def test_two_bands_have_no_smaller_set(self):
        surveys = SurveyBands(((0,), (1,)), sets=((0, 1),), shares=(1.0,))
        assert surveys.draw(500, 2, seeded_generator(7)).all()


class TestUpperLimits:
    limits = UpperLimits(mocks=1.0, bands=0.3)

    def draw(self, n=200_000):
        one, seen = torch.ones(n, 3), torch.ones(n, 3, dtype=torch.bool)
        return self.limits.draw(torch.zeros(n, 3), one, 0.1 * one, seen, seeded_generator(8))

    def test_follow_the_likelihood_of_limits(self):
        level, _, limit = self.draw()
        generator, n = seeded_generator(9), 10**6
        at = torch.exp(torch.empty(n).uniform_(-self.limits.below, self.limits.above, generator=generator))
        width = at * torch.exp(torch.empty(n).uniform_(np.log(self.limits.sharpest), np.log(self.limits.softest),
                                                       generator=generator))
        probability = torch.special.ndtr((at - 1) / width)
        chosen = 0.3 * 0.7**2  # one alone, as two measurements stay
        expected = chosen * probability.mean().item()
        assert limit.float().mean().item() == pytest.approx(expected, abs=5 * (expected / limit.numel()) ** 0.5)
        limits = at[torch.rand(n, generator=generator) < probability]
        assert stats.ks_2samp(level[limit], limits).pvalue > 1e-3
        assert stats.ks_2samp(at[at > 1], limits).pvalue < 1e-10  # limits without a scale are others

    def test_leave_two_measurements_and_all_else_alone(self):
        flux, error, limit = self.draw(5000)
        assert (~limit).sum(1).min() == 2
        assert (flux[~limit] == 1).all()
        assert (error[~limit] == 0.1).all()
        relative = (error / flux)[limit]
        assert (self.limits.sharpest <= relative).all()
        assert (relative <= self.limits.softest).all()


def test_slots_pair_the_cameras():
    assert SLOTS == ((0,), (1,), (2, 5), (3, 6), (4, 7))
    assert band_slots(WFC3_BANDS) == ((0,), (1,), (2,), (3,), (4,))
    assert band_slots(("F814W_ACS", "F555W", "F814W")) == ((0, 2), (1,))


@pytest.mark.parametrize(("read", "which"), [(read_errors, FlatErrors(0.1, 0.2)), (read_errors, MixedErrors(level=0.3)),
                                             (read_errors, EMPIRICAL),
                                             (read_coverage, AllBands()), (read_coverage, AnyBands(SLOTS, 0.2)),
                                             (read_coverage, SurveyBands(SLOTS, ((0, 1), (2, 3)), (1.0, 2.0))),
                                             (read_errors, LevelErrors(scatter=0.2)),
                                             (read_limits, UpperLimits(mocks=0.5))])
def test_a_card_holds_them(read, which):
    assert read(json.loads(json.dumps(observing.to_dict(which)))) == which
