"""Posteriors of clusters drawn star by star under any prior, with what is known of each row."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import Table
from tiny_stochastic import FIVE

import clusterpost
from clusterpost.cli import main
from clusterpost.errors import ColumnError, InputError, InputWarning, UnitError
from clusterpost.families import get_family
from clusterpost.families.encoders import SetConditions
from clusterpost.families.stochastic.priors import SurveyPrior, TrainingPrior, given_metallicity
from clusterpost.flags import LOW_EFFICIENCY, NOT_INFERRED, SIMULATED
from clusterpost.flow.modelfile import load_model
from clusterpost.observations import Observed
from clusterpost.posterior.proposal import UncertainDistances
from clusterpost.priors import BoxPrior, Exponential, FunctionPrior, Normal, ProductPrior

pytestmark = pytest.mark.filterwarnings("ignore:model stochastic has no certificate")
SIX = ("age", "mass", "ebv", "metallicity", "rv", "nebular_covering")


@pytest.fixture(scope="module")
def mocks():
    return clusterpost.simulate(4, model="stochastic", bands=FIVE, errors=0.05, seed=3)


@pytest.fixture(scope="module")
def infer(tiny_stochastic):
    def infer(tbl, n_samples=400, **options):
        return clusterpost.infer_table(tbl, model=tiny_stochastic, n_samples=n_samples, **options)
    return infer


def quantiles(out, name, levels=(16, 50, 84)):
    values = np.stack([np.asarray(out[f"{name}_q{level}"], float) for level in levels], 1)
    return np.log10(values) if name in ("age", "mass") else values


def weighted(draws, ratio, name):
    """Quantiles of draws of the training density, weighted by hand."""
    values = np.asarray(draws[name], float)
    values = np.log10(values) if name in ("age", "mass") else values
    found = []
    for x, w in zip(values, ratio, strict=True):
        order = np.argsort(x)
        found.append(np.interp([0.16, 0.5, 0.84], np.cumsum(w[order]) / w.sum(), x[order]))
    return np.array(found)


def theta_of(draws):
    columns = [np.asarray(draws[name], float) for name in SIX]
    return torch.as_tensor(np.stack([np.log10(columns[0]), np.log10(columns[1]), *columns[2:]], -1)).float()


class TestPrior:
    def test_that_of_training_is_no_change(self, infer, mocks):
        named = infer(mocks, prior="training")
        own = infer(mocks, prior=TrainingPrior())
        flat = FunctionPrior(TrainingPrior().log_within, family=get_family("stochastic")())  # with weights, all alike
        by_weights = infer(mocks, prior=flat)
        assert np.isnan(named["efficiency"]).all()
        np.testing.assert_allclose(by_weights["efficiency"], 1.0, atol=1e-4)
        for name in SIX:
            np.testing.assert_array_equal(named[f"{name}_q50"], own[f"{name}_q50"])
            width = np.ptp(quantiles(named, name), axis=1)[:, None]
            assert (np.abs(quantiles(by_weights, name) - quantiles(named, name)) < 0.02 * width).all()

    @pytest.mark.parametrize("prior", [
        "survey", "flat", ProductPrior(family="stochastic", ebv=Normal(0.2, 0.08)), ProductPrior(ebv=Exponential(0.3))])
    def test_weights_are_the_ratio_of_the_priors(self, infer, tiny_stochastic, mocks, prior):
        """Against eight thousand draws of the training density, weighted here."""
        out = infer(mocks, prior=prior, n_samples=2000)
        draws = clusterpost.sample_posterior(mocks, model=tiny_stochastic, prior="training", n_samples=8000)
        theta, family = theta_of(draws), get_family("stochastic")()
        wanted = family.named_priors[prior]() if isinstance(prior, str) else prior.of_family(family)
        ratio = torch.exp(wanted.log_prob(theta) - TrainingPrior().log_prob(theta)).double().numpy()
        effective = ratio.sum(1) ** 2 / (ratio**2).sum(1)
        np.testing.assert_allclose(out["efficiency"], effective / ratio.shape[1], rtol=0.25)
        uncertain = 1.5 / np.sqrt(np.minimum(effective, 2000 * out["efficiency"]))[:, None]  # half-widths
        moved = 0
        for name in SIX[:4]:
            expected, unweighted = weighted(draws, ratio, name), weighted(draws, np.ones_like(ratio), name)
            half_width = np.ptp(expected, axis=1)[:, None] / 2
            assert (np.abs(quantiles(out, name) - expected) / half_width < 4 * uncertain).all()
            moved += (np.abs(quantiles(out, name) - unweighted) / half_width > 4 * uncertain).sum()
        assert moved > 3

    def test_few_effective_draws_are_flagged(self, infer, mocks):
        out = infer(mocks, prior=ProductPrior(family="stochastic", ebv=Normal(0.2, 0.001)), refine=False)
        assert ((out["flag"] & LOW_EFFICIENCY) != 0).all()
        assert not (out["flag"] & SIMULATED).any()
        assert (out["efficiency"] < 0.05).all()
        assert not (infer(mocks, prior="survey")["flag"] & LOW_EFFICIENCY).any()

    def test_density_is_normalized_under_the_prior(self, infer, tiny_stochastic, mocks):
        draws = clusterpost.sample_posterior(mocks, model=tiny_stochastic, prior="survey", n_samples=300)
        density = clusterpost.log_prob(mocks, theta_of(draws).numpy(), model=tiny_stochastic)
        np.testing.assert_allclose(density, draws["log_prob"], atol=0.1)

    def test_distance_error(self, infer, mocks):
        one, other = (infer(mocks, prior=SurveyPrior(distance_error=error)) for error in (1e-4, 0.3))
        assert other.meta["CPPRIOR"] == "survey, distance error 0.3"
        np.testing.assert_allclose(quantiles(one, "mass")[:, 1], quantiles(infer(mocks), "mass")[:, 1], atol=0.1)
        assert not np.allclose(one["mass_q50"], other["mass_q50"], rtol=1e-3)


class TestMetallicity:
    def test_without_an_error_it_is_the_galaxys(self, infer, mocks):
        out = infer(with_columns(mocks, metallicity=-0.6), n_samples=1000)
        expected = infer(mocks, prior=SurveyPrior(metallicity=-0.6), n_samples=1000)
        for name in SIX:
            np.testing.assert_allclose(out[f"{name}_q50"], expected[f"{name}_q50"], rtol=1e-5)
        assert out.meta["CPKNOWN"] == "metallicity: column 'metallicity'"
        assert "CPKNOWN" not in expected.meta

    @pytest.mark.parametrize("prior", ["survey", "flat", "training", ProductPrior(ebv=Exponential(0.3))])
    def test_with_an_error_it_is_the_clusters_own(self, infer, mocks, prior):
        out = infer(with_columns(mocks, metallicity=-0.6, metallicity_err=0.1), prior=prior, n_samples=2000)
        low, middle, high = quantiles(out, "metallicity").T
        np.testing.assert_allclose(middle, -0.6, atol=0.08)
        assert ((high - low < 0.24) & (high - low > 0.12)).all()
        assert "metallicity_err" in out.meta["CPKNOWN"]

    def test_rows_without_a_value_keep_the_default(self, infer, mocks):
        tbl = with_columns(mocks, metallicity=-0.6, metallicity_err=0.1)
        tbl["metallicity"][1], tbl["metallicity"][2], tbl["metallicity_err"][3] = np.nan, -99.0, np.nan
        out, default = infer(tbl), infer(mocks)
        galaxy = infer(with_columns(mocks, metallicity=-0.6))
        for row, expected in ((1, default), (2, default), (3, galaxy)):
            assert out["metallicity_q50"][row] == pytest.approx(expected["metallicity_q50"][row], rel=1e-5)
        assert out["metallicity_q50"][0] != pytest.approx(default["metallicity_q50"][0], rel=1e-2)

    def test_neighbors_do_not_matter(self, infer, mocks):
        tbl = with_columns(mocks, metallicity=[-0.9, -0.6, -0.3, 0.0], metallicity_err=0.1)
        np.testing.assert_allclose(infer(tbl[2:3])["age_q50"], infer(tbl)["age_q50"][2:3], rtol=1e-5)

    def test_draws_repeat_it(self, infer, tiny_stochastic, mocks):
        out = infer(with_columns(mocks, metallicity=-0.6, metallicity_err=0.05))
        draws = clusterpost.sample_posterior(out, n_samples=200)
        np.testing.assert_allclose(np.median(draws["metallicity"], axis=1), -0.6, atol=0.06)

    def test_dex_is_a_unit_of_it(self, infer, mocks):
        plain = with_columns(mocks, metallicity=-0.6)
        tbl = with_columns(mocks, metallicity=u.Quantity(np.full(4, -0.6), u.dex))
        np.testing.assert_allclose(infer(tbl)["age_q50"], infer(plain)["age_q50"])
        with pytest.raises(UnitError, match="'metallicity' is in mag"):
            infer(with_columns(mocks, metallicity=u.Quantity(np.full(4, -0.6), u.mag)))

    def test_text_is_refused(self, infer, mocks):
        with pytest.raises(ColumnError, match="'metallicity' holds texts"):
            infer(with_columns(mocks, metallicity="solar"))

    def test_impossible_values(self, infer, mocks):
        with pytest.raises(InputError, match=r"gives a metallicity of 8.7 \(\[M/H\].*\) in row 0"):
            infer(with_columns(mocks, metallicity=8.7))
        tbl = with_columns(mocks, metallicity=-0.6)
        tbl["metallicity"][2] = 8.7
        with pytest.warns(InputWarning, match="a metallicity of 8.7.*in row 2. 1 such rows are inferred without it"):
            out = infer(tbl)
        assert not (out["flag"] & NOT_INFERRED).any()
        assert out["metallicity_q50"][2] == pytest.approx(infer(mocks)["metallicity_q50"][2], rel=1e-5)
        with pytest.warns(InputWarning, match=r"an error of -0.1 \(errors are positive\)"):
            infer(with_columns(mocks, metallicity=-0.6, metallicity_err=[0.1, -0.1, 0.1, 0.1]))

    def test_other_models_do_not_look_at_it(self, mocks):
        out = clusterpost.infer_table(with_columns(mocks, metallicity=8.7), model="any_bands", n_samples=50)
        assert "CPKNOWN" not in out.meta

    def test_at_the_shell(self, tiny_stochastic, mocks, tmp_path, capsys):
        with_columns(mocks, metallicity=-0.6, metallicity_err=0.05).write(tmp_path / "in.fits")
        files = [str(tmp_path / name) for name in ("in.fits", "out.fits")]
        assert main(["infer", *files, "--model", str(tiny_stochastic), "-n", "200"]) == 0
        assert "metallicity -0.6" in capsys.readouterr().err
        out = Table.read(tmp_path / "out.fits")
        np.testing.assert_allclose(out["metallicity_q50"], -0.6, atol=0.06)
        assert "metallicity" in out.meta["CPKNOWN"]


def test_known_metallicity_is_normalized():
    value = torch.tensor([-0.6, -2.4, 0.9, torch.nan, -0.6])
    error = torch.tensor([0.1, 0.05, 0.02, torch.nan, torch.nan])
    for prior in (SurveyPrior(), TrainingPrior()):
        known = given_metallicity(prior, value, error)
        x = torch.linspace(-1.69897, 0.17609, 20001, dtype=torch.float64)
        for log_age in (0.5, 3.4, 4.1):
            theta = torch.zeros(len(x), 6, dtype=torch.float64)
            theta[:, 0], theta[:, 1], theta[:, 2], theta[:, 3], theta[:, 4] = log_age, 3.0, 0.1, x, 3.1
            density = torch.exp(known.log_prob(theta.expand(5, -1, -1)))
            total = torch.trapezoid(density, x, dim=-1)
            reference = torch.trapezoid(torch.exp(prior.log_prob(theta)), x)
            torch.testing.assert_close(total, reference.expand(5), rtol=2e-2, atol=0)


def with_columns(tbl, **columns):
    out = tbl.copy()
    for name, values in columns.items():
        out[name] = values
    return out


def test_model_knows_what_is_given(tiny_stochastic):
    assert [c.name for c in load_model(tiny_stochastic).family.optional_covariates] == ["metallicity"]


def test_uncertain_distances_widen_the_mass():
    """A network that has learned a normal about the brightness at the distance that is said."""
    class Flow:
        standardize = staticmethod(lambda conditions: conditions)

        def draw(self, unit, conditions):
            theta = conditions[:, :1, None] / np.log(10) + 0.1 * torch.special.ndtri(unit)
            return theta, self.log_prob(theta, conditions)

        def log_prob(self, theta, conditions):
            return torch.distributions.Normal(conditions[:, :1] / np.log(10), 0.1).log_prob(theta[..., 0])

    seen = torch.ones(3, 1, dtype=torch.bool)
    known = {"distance": torch.ones(3), "distance_err": torch.tensor([torch.nan, torch.nan, 0.4])}
    observed = Observed(torch.ones(3, 1), torch.ones(3, 1), seen, ~seen, known)
    prior = BoxPrior([-9.0], [9.0], ["log_mass"])
    wanted = BoxPrior([-9.0], [9.0], ["log_mass"], distance_error=0.2)
    proposal = UncertainDistances(Flow(), lambda conditions, shift: conditions + 2 * shift[:, None], prior, wanted)
    conditions = torch.tensor([[0.0], [3.0], [0.0]])
    unit = torch.rand(3, 40000, 2, generator=torch.Generator().manual_seed(1))
    draws = proposal.draw(observed, conditions, unit)
    wide = torch.tensor([np.hypot(0.1, 2 * error / np.log(10)) for error in (0.2, 0.2, 0.4)]).float()
    torch.testing.assert_close(draws.theta.std(1)[:, 0], wide, rtol=0.02, atol=0)
    torch.testing.assert_close(draws.theta.mean(1)[:, 0], conditions[:, 0] / np.log(10), rtol=0, atol=0.01)
    x = torch.linspace(-2.5, 4.0, 4001)[None, :, None].expand(3, -1, -1)
    density = proposal.log_prob(observed, conditions, x).exp()
    torch.testing.assert_close(torch.trapezoid(density, x[..., 0], dim=-1), torch.ones(3), rtol=1e-3, atol=0)
    torch.testing.assert_close(draws.log_q, proposal.log_prob(observed, conditions, draws.theta))


def test_column_of_distance_errors(mocks):
    """Beside a row without one, under the prior of training too, by the network and by simulation."""
    tbl = with_columns(mocks[:2], distance_err=u.Quantity([0.3, np.nan] * mocks["distance"][:2].value, u.Mpc))
    plain = clusterpost.infer_table(mocks[:2], model="stochastic", n_samples=200, prior="training")
    out = clusterpost.infer_table(tbl, model="stochastic", n_samples=200, prior="training")
    width, wide = (np.ptp(quantiles(each, "mass"), axis=1) for each in (plain, out))
    assert wide[0] > width[0] + 0.01
    assert wide[1] == pytest.approx(width[1], rel=0.15)
    exact = clusterpost.exact_posterior(tbl[:1], model="stochastic", prior="training", n_simulations=6000)
    assert np.ptp(quantiles(exact, "mass"), axis=1)[0] > 0.2


def test_brightness_at_another_distance(mocks):
    """What the network is shown for a farther object is what its encoder makes of one."""
    flux = torch.rand(3, 5, generator=torch.Generator().manual_seed(1)) + 1
    seen, encoder = torch.ones(3, 5, dtype=torch.bool), SetConditions(5)
    near, far = (encoder(Observed(flux, 0.1 * flux, seen, ~seen, {"distance": torch.full((3,), mpc)}))
                 for mpc in (10.0, 15.0))
    torch.testing.assert_close(encoder.farther(near, np.log(1.5)), far)
