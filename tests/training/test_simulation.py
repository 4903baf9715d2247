import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clusterpost.bands import ACS_BANDS, WFC3_BANDS, band_slots
from clusterpost.errors import InputError
from clusterpost.families.clusters import FullySampledClusters
from clusterpost.families.clusters.table import load_table
from clusterpost.noise import NOISE_MODELS
from clusterpost.priors import BoxPrior
from clusterpost.training.fit import _STANDARDIZE_STREAM, TEST_STREAM, VALIDATION_STREAM
from clusterpost.training.observing import AllBands, AnyBands, FlatErrors, MixedErrors
from clusterpost.training.simulation import Mocks, Simulator, cluster_simulator, seeded_generator, walter2025_simulator

EIGHT = (*WFC3_BANDS, *ACS_BANDS)

FIELDS = ("theta", "flux", "error", "measured")
DRAWN = ("theta", "flux", "error")


ANY = cluster_simulator(bands=EIGHT, errors=MixedErrors(), coverage=AnyBands(band_slots(EIGHT)))


def draw(simulator, n=4000, seed=0, stream=0):
    return simulator.draw(n, seeded_generator(seed, stream))


def noiseless(**options):
    return cluster_simulator(errors=FlatErrors(0.0, 0.0), **options)


@pytest.mark.parametrize("simulator", [cluster_simulator(), cluster_simulator(noise="normal"), walter2025_simulator(),
                                       ANY],
                         ids=["lognormal", "normal", "walter2025", "any"])
class TestEveryKind:
    def test_same_seed_same_draws(self, simulator):
        one, two = draw(simulator, 50), draw(simulator, 50)
        assert all(torch.equal(getattr(one, f), getattr(two, f)) for f in FIELDS)

    @pytest.mark.parametrize(("seed", "stream"), [(0, 1), (0, VALIDATION_STREAM), (0, TEST_STREAM), (1, 0)])
    def test_other_stream_or_seed_other_draws(self, simulator, seed, stream):
        one, two = draw(simulator, 50), draw(simulator, 50, seed, stream)
        assert all((getattr(one, f) != getattr(two, f)).float().mean() > 0.95 for f in DRAWN)

    def test_shapes_and_bounds(self, simulator):
        mocks = draw(simulator)
        assert isinstance(mocks, Mocks)
        assert mocks.theta.shape == (4000, 3)
        n_bands = len(simulator.bands)
        assert mocks.flux.shape == mocks.error.shape == mocks.measured.shape == (4000, n_bands)
        assert mocks.measured.dtype == torch.bool
        assert mocks.covariates["distance"].shape == (4000,)
        assert torch.isfinite(simulator.prior.log_prob(mocks.theta)).all()
        assert ((mocks.covariates["distance"] >= 1) & (mocks.covariates["distance"] <= 30)).all()
        assert all(torch.isfinite(getattr(mocks, f)).all() for f in FIELDS)
        assert (mocks.error[mocks.measured] > 0).all()

    def test_parameters_and_distances_are_uniform(self, simulator):
        mocks = draw(simulator, 20_000)
        distance = mocks.covariates["distance"]
        for column in (mocks.theta[:, 1].sub(2) / 6, mocks.theta[:, 2] / 1.5, (distance - 1) / 29):
            assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-3
        # ages below 10 Myr are moved by whole_myr, by less than half a Myr
        assert stats.kstest(mocks.theta[:, 0].numpy() / math.log10(13750), "uniform").statistic < 0.05


def test_no_two_streams_or_seeds_draw_alike():
    # torch's CPU generator drops all but 32 bits of its seed: high bits alone must not tell streams apart
    streams = (*range(50), 1 << 16, (1 << 32) - 1, VALIDATION_STREAM, _STANDARDIZE_STREAM, TEST_STREAM)
    first = [tuple(torch.rand(3, generator=seeded_generator(seed, stream)).tolist())
             for seed in (0, 1, 2, 3, 1 << 20, (1 << 32) + 5) for stream in streams]
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("stream", [-1, 1 << 32, 1 << 39])
def test_streams_that_would_be_cut_are_refused(stream):
    with pytest.raises(ValueError, match="stream must lie in"):
        seeded_generator(0, stream)


@settings(deadline=None, max_examples=25)
@given(low=st.floats(0.01, 0.3), width=st.floats(0.01, 0.3), noise=st.sampled_from(sorted(NOISE_MODELS)))
def test_relative_errors_fill_their_range(low, width, noise):
    simulator = cluster_simulator(noise=noise, errors=FlatErrors(low, low + width))
    mocks = draw(simulator, 500)
    if noise == "lognormal":
        relative = mocks.error / mocks.flux
    else:  # relative to the true flux
        relative = mocks.error / simulator.family.table.predict(mocks.theta, mocks.covariates["distance"]).exp()
    assert relative.min() >= low - 1e-4
    assert relative.max() <= low + width + 1e-4
    assert relative.max() - relative.min() > 0.95 * width


def test_walter2025_is_the_simulator_of_the_paper():
    simulator = walter2025_simulator()
    assert simulator.bands == WFC3_BANDS
    assert simulator.noise == "walter2025"
    assert simulator.errors == FlatErrors(0.0, 0.5)
    assert simulator.coverage == AllBands()
    (distance,) = simulator.family.covariates
    assert (distance.name, distance.low, distance.high) == ("distance", 1.0, 30.0)
    assert simulator.family.whole_myr


def test_without_noise_the_flux_is_the_model():
    simulator = noiseless()
    mocks = draw(simulator)
    ln_flux = simulator.family.table.predict(mocks.theta, mocks.covariates["distance"])
    torch.testing.assert_close(mocks.flux, ln_flux.exp())


class TestWholeMyr:
    def test_ages_move_by_no_more_than_half_a_myr(self):
        plain, spread = draw(noiseless()), draw(noiseless(whole_myr=True))
        whole = torch.round(10 ** plain.theta[:, 0].double())
        moved = 10 ** spread.theta[:, 0].double() - whole
        slack = 1e-6 * whole + 1e-6  # of float32 logarithms
        assert (moved.abs() <= 0.5 + slack).all()
        assert torch.equal(plain.theta[:, 1:], spread.theta[:, 1:])
        middle = (whole > 1) & (whole < 1000)
        assert stats.kstest((moved[middle] + 0.5).numpy(), "uniform").pvalue > 1e-3

    def test_ages_stay_inside_the_prior(self):
        narrow = BoxPrior([0.0, 2.0, 0.0], [math.log10(3.2), 8.0, 1.5])
        simulator = noiseless(whole_myr=True, prior=narrow)
        log_age = draw(simulator).theta[:, 0]
        assert (log_age >= 0).all()
        assert (log_age <= narrow.high[0]).all()
        assert (10**log_age < 1.01).float().mean() < 0.02  # no pile at the bound
        oldest = noiseless(whole_myr=True, prior=BoxPrior([4.13, 2.0, 0.0], [math.log10(13750), 8.0, 1.5]))
        assert (draw(oldest).theta[:, 0] <= oldest.prior.high[0]).all()

    def test_photometry_is_that_of_the_whole_myr(self):
        simulator = noiseless(whole_myr=True)
        mocks = draw(simulator)
        age = 10 ** mocks.theta[:, 0].double()
        clear = ((age - age.floor() - 0.5).abs() > 0.02) & (age < 3000)  # float32 ages have 1e-3 Myr there
        assert clear.float().mean() > 0.7
        whole = mocks.theta.clone()
        whole[:, 0] = torch.log10(torch.round(age))
        expected = simulator.family.table.predict(whole, mocks.covariates["distance"]).exp()
        torch.testing.assert_close(mocks.flux[clear], expected[clear], rtol=1e-3, atol=0)
        at_own_age = simulator.family.table.predict(mocks.theta, mocks.covariates["distance"]).exp()
        assert ((mocks.flux / at_own_age - 1).abs() > 0.01).float().mean() > 0.05


def test_bands_are_those_asked_for():
    bands = ("F814W_ACS", "F275W", "F435W_ACS")
    simulator = noiseless(bands=bands)
    mocks = draw(simulator, 10)
    assert mocks.flux.shape == (10, 3)
    every = noiseless(bands=WFC3_BANDS + ACS_BANDS)
    full = every.family.table.predict(mocks.theta, mocks.covariates["distance"]).exp()
    torch.testing.assert_close(mocks.flux, full[:, [every.bands.index(b) for b in bands]])


def test_unknown_band_and_noise_are_refused():
    with pytest.raises(ValueError, match="unknown band"):
        cluster_simulator(bands=("F999W",))
    with pytest.raises(ValueError, match="unknown noise model"):
        draw(cluster_simulator(noise="poisson"), 1)


@pytest.mark.parametrize("simulator", [cluster_simulator(), cluster_simulator(noise="normal", distance=(2.0, 3.0)),
                                       cluster_simulator(prior=BoxPrior([0.0, 3.0, 0.0], [3.0, 6.0, 1.0])),
                                       walter2025_simulator(), ANY, cluster_simulator(table=load_table("z0.008"))])
def test_a_card_holds_it(simulator):
    again = Simulator.from_dict(json.loads(json.dumps(simulator.to_dict())))
    assert again.to_dict() == simulator.to_dict()
    one, two = draw(simulator, 20), draw(again, 20)
    assert all(torch.equal(getattr(one, f), getattr(two, f)) for f in FIELDS)


def test_tables_of_other_metallicities_give_other_fluxes():
    one, two = draw(noiseless(), 200), draw(noiseless(table=load_table("z0.008")), 200)
    assert torch.equal(one.theta, two.theta)
    assert ((one.flux / two.flux - 1).abs() > 0.01).float().mean() > 0.5


def test_a_card_of_spectra_that_are_not_at_hand_is_refused(tmp_path):
    options = cluster_simulator().family.to_dict()
    with pytest.raises(InputError, match=r"sha256 0123abcd.*load yours with .*\.load_table"):
        FullySampledClusters.from_dict({**options, "sed_sha256": "0123abcd" * 8})
    with pytest.raises(InputError, match="extinction 'CCM89'"):
        FullySampledClusters.from_dict({**options, "extinction": "CCM89"})
    # A user's own table is found once it was read, or given.
    own = load_table("z0.05")
    header = {**own.header, "sed_sha256": "ef" * 32, "extinction": "other"}
    own = type(own)(own.log_age, own.ebv, own.ln_flux_nodes, own.surviving_nodes, header)
    card = cluster_simulator(table=own).to_dict()
    assert card["family"]["options"]["extinction"] == "other"
    with pytest.raises(InputError, match="no loaded band-flux table"):
        Simulator.from_dict(card)
    options = card["family"]["options"]
    again = FullySampledClusters.from_dict(options, table=own)
    assert torch.equal(again.table.ln_flux_nodes, cluster_simulator(table=own).family.table.ln_flux_nodes)
    with pytest.raises(InputError, match="other spectra"):
        FullySampledClusters.from_dict(options, table=load_table())


def test_to_a_device_draws_the_same():
    simulator = walter2025_simulator()
    one, two = draw(simulator, 20), draw(simulator.to("cpu"), 20)
    assert all(torch.equal(getattr(one, f), getattr(two, f)) for f in FIELDS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_draws_on_a_gpu():
    mocks = walter2025_simulator().to("cuda").draw(100, seeded_generator(0, 0, "cuda"))
    assert all(getattr(mocks, f).is_cuda for f in FIELDS)
    assert torch.isfinite(mocks.flux).all()
