import json

import numpy as np
import pytest
import torch
from scipy import stats

from clusterpost.errors import InputError
from clusterpost.families.stochastic.parameters import PARAMETERS
from clusterpost.families.stochastic.priors import FlatPrior, SurveyPrior, TrainingPrior, get_stochastic_prior
from clusterpost.priors import Exponential, Normal, PowerLaw, Uniform, prior_from_record

PRIORS = {"flat": FlatPrior(), "survey": SurveyPrior(), "poor": SurveyPrior(-0.8), "training": TrainingPrior()}
LOW, HIGH = (torch.tensor([getattr(p, end) for p in PARAMETERS], dtype=torch.float64) for end in ("low", "high"))


def theta_at(log_age, **values):
    theta = torch.tensor([0.0, 4.0, 0.2, -0.2, 3.1, 0.5], dtype=torch.float64).repeat(*np.shape(log_age), 1)
    theta[..., 0] = torch.as_tensor(log_age)
    for i, parameter in enumerate(PARAMETERS):
        if parameter.name in values:
            theta[..., i] = torch.as_tensor(values[parameter.name])
    return theta


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("log_age", [0.0, 1.5, 3.0, 3.3, 4.1])
def test_normalized_at_every_age(name, log_age):
    """Over reddening, metallicity and R_V: what is left is flat in age, mass and covering fraction."""
    grids = [torch.linspace(float(LOW[i]), float(HIGH[i]), n, dtype=torch.float64) for i, n in ((2, 1501), (3, 601))]
    ebv, metals = torch.meshgrid(*grids, indexing="ij")
    density = PRIORS[name].log_prob(theta_at(np.full(ebv.shape, log_age), ebv=ebv, metallicity=metals)).exp()
    density = torch.nan_to_num(density)
    mass = torch.trapezoid(torch.trapezoid(density, grids[1], dim=1), grids[0])
    rv = stats.truncnorm(-3, 1.9 / 0.3, 3.1, 0.3).pdf(3.1)
    expected = rv / float((HIGH - LOW)[[0, 1, 5]].prod())
    assert float(mass) == pytest.approx(expected, rel=4e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_draws_follow_the_density(name):
    """Probability of boxes: counted among draws, and by weights of flat ones."""
    prior, generator = PRIORS[name], torch.Generator().manual_seed(1)
    theta = prior.sample(200_000, generator)
    assert torch.isfinite(prior.log_prob(theta)).all()
    flat = LOW + torch.rand(400_000, 6, dtype=torch.float64, generator=generator) * (HIGH - LOW)
    weight = (prior.log_prob(flat) + torch.log(HIGH - LOW).sum()).exp()
    assert float(weight.mean()) == pytest.approx(1, abs=0.02)
    edges = [(0, 1.0), (0, 3.0), (0, 3.6), (2, 0.1), (2, 0.4), (3, -0.8), (3, -0.1), (4, 3.1)]
    for (i, first), (j, second) in [(a, b) for a in edges for b in edges if a[0] < b[0]]:
        counted = ((theta[:, i] < first) & (theta[:, j] < second)).double().mean()
        weighed = (weight * ((flat[:, i] < first) & (flat[:, j] < second))).mean()
        assert float(counted) == pytest.approx(float(weighed), abs=0.015), (i, first, j, second)


@pytest.mark.parametrize(("log_age", "scale"), [(0.2, 0.4), (1.0, 0.4), (2.0, 0.2), (3.0, 0.1), (4.0, 0.1)])
def test_dust_of_the_survey(log_age, scale):
    ratio = PRIORS["survey"].log_prob(theta_at([log_age] * 2, ebv=[0.1, 0.4])).diff()
    assert float(ratio) == pytest.approx(-0.3 / scale, rel=1e-6)


def test_metals_of_the_survey():
    def mean(log_age, prior="survey"):
        theta = PRIORS[prior].sample(200_000, torch.Generator().manual_seed(2))
        return float(theta[(theta[:, 0] - log_age).abs() < 0.1, 3].mean())

    assert mean(1.0) == pytest.approx(-0.067, abs=0.01)  # cut at Z = 0.03
    assert mean(1.0, "poor") == pytest.approx(-0.8, abs=0.02)
    assert mean(4.0) == pytest.approx(float(LOW[3]) / 2, abs=0.03)
    assert mean(4.0, "poor") == pytest.approx(float(LOW[3]) / 2, abs=0.03)
    assert -0.7 < mean(3.35) < -0.2


def test_weights_of_training_stay_low():
    training, generator = PRIORS["training"], torch.Generator().manual_seed(3)
    theta = training.sample(200_000, generator)
    for name, most, effective in (("flat", 2.5, 0.5), ("survey", 3.34, 0.45)):
        weight = (PRIORS[name].log_prob(theta) - training.log_prob(theta)).exp()
        assert float(weight.max()) <= most + 1e-4
        assert float(weight.mean()) == pytest.approx(1, abs=0.01)
        assert float(weight.sum() ** 2 / (weight**2).sum() / len(weight)) > effective
        # the other way round they do not: neither prior alone could be trained with
        own = PRIORS[name].sample(200_000, generator)
        other = PRIORS["flat" if name == "survey" else "survey"]
        assert float((other.log_prob(own) - PRIORS[name].log_prob(own)).exp().max()) > 10


def test_outside_is_impossible():
    for prior in PRIORS.values():
        for i in range(6):
            theta = theta_at([2.0, 2.0])
            theta[0, i], theta[1, i] = LOW[i] - 0.01, HIGH[i] + 0.01
            assert (prior.log_prob(theta) == -torch.inf).all()


@pytest.mark.parametrize("name", PRIORS)
def test_plain_values_make_it_again(name):
    theta = PRIORS["training"].sample(200, torch.Generator().manual_seed(4))
    again = prior_from_record(PRIORS[name].to_record())
    assert type(again) is type(PRIORS[name])
    assert torch.equal(again.log_prob(theta), PRIORS[name].log_prob(theta))
    assert prior_from_record(FlatPrior(distance_error=0.1).to_record()).distance_error == 0.1


def test_names():
    assert get_stochastic_prior("survey").describe() == "survey"
    assert PRIORS["poor"].describe() == "survey, [M/H] = -0.8"
    assert SurveyPrior(distance_error=0.05).describe() == "survey, distance error 0.05"
    with pytest.raises(InputError, match=r"unknown prior 'x'.*survey, flat, training"):
        get_stochastic_prior("x")
    with pytest.raises(InputError, match=r"from -2\.5 to 1"):
        SurveyPrior(12)


def test_densities_of_a_user_stand_in_the_place_of_the_priors_own():
    """The rest of the prior stays: dust and metals still follow the age where nothing is said of them."""
    generator = torch.Generator().manual_seed(7)
    survey = SurveyPrior()
    steep = survey.with_densities(log_mass=PowerLaw(-2))
    theta = survey.sample(2000, generator)
    difference = steep.log_prob(theta) - survey.log_prob(theta)
    torch.testing.assert_close(difference - difference[0], -np.log(10) * (theta[:, 1] - theta[0, 1]), rtol=0, atol=1e-4)
    drawn = steep.sample(20_000, generator)
    assert float((drawn[:, 1] > 3).float().mean()) == pytest.approx(0.1, abs=0.01)  # of m^-2 above ten times the least
    same = survey.sample(20_000, torch.Generator().manual_seed(7))
    young = drawn[:, 0] < 1
    assert float(drawn[young, 2].mean()) == pytest.approx(float(same[same[:, 0] < 1, 2].mean()), rel=0.05)

    clear = survey.with_densities(ebv=Exponential(0.05), metallicity=Normal(-1.0, 0.1))
    drawn = clear.sample(20_000, generator)
    assert float(drawn[drawn[:, 0] < 1, 2].mean()) == pytest.approx(0.05, rel=0.1)
    assert float(drawn[:, 3].std()) == pytest.approx(0.1, rel=0.1)
    assert torch.isneginf(survey.with_densities(ebv=Uniform(0, 0.1)).log_prob(same[same[:, 2] > 0.1])).all()


@pytest.mark.parametrize("densities", [{"log_mass": PowerLaw(-2)}, {"ebv": Exponential(0.1), "rv": Normal(3.2, 0.2)}])
def test_densities_of_a_user_are_normalized(densities):
    """Weights of draws from another prior have a mean of one, with what a row of the table says of metals too."""
    generator = torch.Generator().manual_seed(3)
    flat = FlatPrior()
    prior = flat.with_densities(**densities)
    theta = flat.sample(200_000, generator)
    assert float(torch.exp(prior.log_prob(theta) - flat.log_prob(theta)).mean()) == pytest.approx(1, abs=0.03)
    known = prior.given(torch.tensor([[-0.5]]), torch.tensor([[0.2]]))
    weights = torch.exp(known.log_prob(theta[None]) - flat.log_prob(theta[None]))
    assert float(weights.mean()) == pytest.approx(1, abs=0.03)


def test_densities_of_a_user_are_recorded():
    prior = SurveyPrior(-0.3, distance_error=0.05).with_densities(ebv=Exponential(0.1))
    again = prior_from_record(json.loads(json.dumps(prior.to_record())))
    assert again.describe() == prior.describe() == (
        "survey, [M/H] = -0.3 but ebv exponential 0.1 in 0..1.5, distance error 0.05")
    theta = prior.sample(100, torch.Generator().manual_seed(1))
    assert torch.equal(again.log_prob(theta), prior.log_prob(theta))
    further = again.with_densities(log_mass=PowerLaw(-2))
    assert set(further.replaced) == {"ebv", "log_mass"}
    with pytest.raises(InputError, match="unknown parameter 'dust'"):
        prior.with_densities(dust=Exponential(0.1))
