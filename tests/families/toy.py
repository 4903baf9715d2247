"""Family of the tests: five parameters, a redshift, bands of no telescope, a prior on a simplex, no likelihood."""

import torch

from clusterpost.bands import Band
from clusterpost.errors import InputError
from clusterpost.families import Covariate, Derived, ModelFamily, Parameter

PIVOTS = {"toy_g": 4800.0, "toy_r": 6200.0, "toy_i": 7600.0, "toy_z": 9000.0, "toy_J": 12500.0, "toy_K": 21500.0}
PARAMETERS = (
    Parameter(name="young", column="fraction_young", low=0.0, high=1.0, label="$f_1$",
              description="share of young stars"),
    Parameter(name="middle", column="fraction_middle", low=0.0, high=1.0, label="$f_2$",
              description="share of stars of middle age"),
    Parameter(name="log_luminosity", column="luminosity", unit="solLum", ucd="phys.luminosity", log10=True, low=8.0,
              high=11.0, label=r"$\log_{10}(L/L_\odot)$", description="luminosity"),
    Parameter(name="tau", column="tau", low=0.0, high=2.0, label=r"$\tau$", description="optical depth"),
    Parameter(name="slope", column="slope", low=-1.0, high=1.0, label=r"$\delta$",
              description="slope of the dust curve"),
)


class SimplexPrior:
    """Flat over the simplex of the three shares, and uniform in the others."""

    names = tuple(p.name for p in PARAMETERS)
    low = torch.tensor([p.low for p in PARAMETERS])
    high = torch.tensor([p.high for p in PARAMETERS])
    log_volume = torch.log((high - low)[2:].prod() / 2).item()

    def inside(self, theta):
        within = ((theta >= self.low.to(theta)) & (theta <= self.high.to(theta))).all(-1)
        return within & (theta[..., 0] + theta[..., 1] <= 1)

    def log_prob(self, theta):
        return torch.where(self.inside(theta), -self.log_volume, -torch.inf)

    def sample(self, n, generator):
        exponential = torch.empty(n, 3).exponential_(generator=generator)
        shares = (exponential / exponential.sum(-1, keepdim=True))[:, :2]
        rest = torch.lerp(self.low[2:], self.high[2:], torch.rand(n, 3, generator=generator))
        return torch.cat([shares, rest], -1)

    def describe(self):
        return "flat over the simplex"


class ToyGalaxies(ModelFamily):
    """Three populations behind dust, with stars counted one by one, so that fluxes scatter."""

    name = "toy"
    version = 1
    parameters = PARAMETERS
    covariates = (Covariate(name="redshift", low=0.01, high=0.2, description="redshift"),)
    bands = tuple(Band(name=name, instrument="toy", pivot=pivot, ab_minus_vega=0.0) for name, pivot in PIVOTS.items())
    prior = SimplexPrior()

    def __init__(self):
        self.derived = (
            Derived(name="old", column="fraction_old", label="$f_3$", description="share of old stars",
                    function=lambda theta, covariates: 1 - theta[..., 0] - theta[..., 1]),
            Derived(name="log_distant", column="luminosity_over_z2", log10=True, label="l",
                    description="luminosity over the squared redshift",
                    function=lambda theta, covariates: theta[..., 2] - 2 * torch.log10(covariates["redshift"])),
        )

    def simulate(self, theta, covariates, generator=None):
        young, middle, log_luminosity, tau, slope = (x[:, None] for x in theta.unbind(-1))
        wave = torch.tensor(list(PIVOTS.values())).to(theta) / 6000 / (1 + covariates["redshift"][:, None].to(theta))
        shares = torch.stack([young, middle, (1 - young - middle).clamp(min=0)], -1)
        spectrum = (shares * wave[..., None] ** torch.tensor([-2.0, 0.0, 1.5]).to(theta)).sum(-1)
        stars = torch.poisson((10 ** (log_luminosity - 7)).clamp(max=1e6), generator=generator).clamp(min=1)
        ln_flux = torch.log(spectrum) + torch.log(stars) - tau * wave ** (-0.7 + slope)
        return ln_flux - 2 * torch.log(covariates["redshift"][:, None].to(theta) / 0.05) - 7

    def to_dict(self):
        return {}

    @classmethod
    def from_dict(cls, options):
        if options:
            raise InputError(f"the toy family has no options, but {options}")
        return cls()
