"""The noise models: how a flux is observed, and how likely an observation is.

Each model draws (`sample`) an observed flux and error from a true flux and a
relative error, and gives the log likelihood of detections (`log_prob` of each,
`log_likelihood` of all) and of upper limits (`log_limit`), their standardized
residuals (`pull`), and a log-normal stand-in for a detection (`as_lognormal`), by
which a network that knows log-normal noise alone can propose where to look.
Fluxes are linear, in mJy; f is a true flux, f* an observed one, s* its error.
"""

from __future__ import annotations

import math

import torch

from .errors import InputError

__all__ = ["NOISE_MODELS", "LogNormalNoise", "Noise", "NormalNoise", "Walter2025Noise", "get_noise"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# A normal detection's stand-in: width r (1 + 3 r^2), by trial the one whose posteriors best cover the true ones; more
# than about 1 is more than networks have seen.
_WIDENED, _WIDEST = 3.0, 1.05
# The same of the mass, and the signal-to-noise ratio of all bands from which on it is nearly log-normal.
_SKEWED, _CLEAR = 2.0, 8.0


def _normal_log_prob(x, mean, sigma):
    return -0.5 * ((x - mean) / sigma) ** 2 - torch.log(sigma) - _HALF_LOG_2PI


def _normal_log_likelihood(x, mean, sigma, counts):
    """Sum over those bands (n, n_band) that count, for means (n, k, n_band): a matrix product over the bands."""
    weight = torch.where(counts, sigma**-2, 0.0)
    constant = torch.where(counts, torch.log(sigma) + _HALF_LOG_2PI, 0.0).sum(-1, keepdim=True)
    return -0.5 * ((x[:, None] - mean).square() @ weight[..., None])[..., 0] - constant


def _normal_like(x, generator):
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


class Noise:
    """Common base of the noise models."""

    def usable(self, flux: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Tell whether the likelihood of a detection exists.

        Parameters
        ----------
        flux, error : Tensor (..., n_band)

        Returns
        -------
        Tensor (..., n_band) of bool
        """
        return torch.isfinite(flux) & torch.isfinite(error) & (error > 0) & (flux > 0)

    def log_limit(self, limit: torch.Tensor, sigma: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Log probability that a flux stays below an upper limit.

        Parameters
        ----------
        limit, sigma : Tensor (..., n_band)
            The limit and its scale, mJy.
        ln_flux : Tensor (..., n_band)
            ln of the true flux.

        Returns
        -------
        Tensor (..., n_band)
            ln Phi((limit - f) / sigma), for every noise model.
        """
        return torch.special.log_ndtr((limit - torch.exp(ln_flux)) / sigma)

    def log_likelihood(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor,
                       ln_flux: torch.Tensor) -> torch.Tensor:
        """Log likelihood of all detections of an object.

        Parameters
        ----------
        flux, error, measured : Tensor (n, n_band)
        ln_flux : Tensor (n, k, n_band)
            ln of the true flux.

        Returns
        -------
        Tensor (n, k)
        """
        density = self.log_prob(flux[:, None], error[:, None], ln_flux)
        return torch.where(measured[:, None], density, 0.0).sum(-1)

    def amplitude(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor,
                  ln_flux: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the peak of the detections' likelihood in ln mass, and its width.

        Given everything else, fluxes are proportional to the mass, so that ln m
        has the weighted mean of ln f* - ln f over the bands, f being the flux of one
        solar mass, and the variance 1 / sum of weights: of log-normal
        stand-ins, unless the noise model knows better.

        Parameters
        ----------
        flux, error, measured : Tensor (n, n_band)
        ln_flux : Tensor (n, k, n_band)
            ln of the flux of one solar mass.

        Returns
        -------
        mean, sigma : Tensor (n, k)
        """
        value, width, usable = self.as_lognormal(flux, error)
        weight = torch.where(usable & measured, width**-2, 0.0)
        total = weight.sum(-1, keepdim=True).clamp(min=1e-4)  # of no detection: any mass
        # The mean over the bands is a matrix product: no array (n, k, n_band) of residuals is made.
        share = weight / total
        mean = (share * value).sum(-1, keepdim=True) - (ln_flux @ share[..., None])[..., 0]
        return mean, total.rsqrt().expand_as(mean)

    def clear(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
        """Tell whether a normal density with the moments of `amplitude` stands for the likelihood in ln mass, (n,)."""
        return torch.ones_like(flux[:, 0], dtype=torch.bool)

    def along_mass(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor, ln_flux: torch.Tensor,
                   ln_mass: torch.Tensor) -> torch.Tensor:
        """Log likelihood of the detections as a function of mass, but for a constant.

        Parameters
        ----------
        flux, error, measured : Tensor (n, n_band)
        ln_flux : Tensor (n, k, n_band)
            ln of the flux of one solar mass.
        ln_mass : Tensor (n, k, n_mass)

        Returns
        -------
        Tensor (n, k, n_mass)
        """
        total = torch.zeros_like(ln_mass)
        for band in measured.any(0).nonzero()[:, 0].tolist():
            f, e, there = (x[:, band, None, None] for x in (flux, error, measured))
            total += torch.where(there, self.log_prob(f, e, ln_flux[..., band, None] + ln_mass), 0.0)
        return total


class LogNormalNoise(Noise):
    """Log-normal scatter of mean f whose relative width is the reported one.

    ln f* ~ N(ln f - s^2/2, s^2) with s^2 = ln(1 + r^2) and s* = r f*, so that
    only ratios of fluxes matter.
    """

    name = "lognormal"

    def sample(self, ln_flux: torch.Tensor, relative_error: torch.Tensor,
               generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Observe true fluxes.

        Parameters
        ----------
        ln_flux : Tensor (..., n_band)
            ln of the true flux in mJy.
        relative_error : Tensor (..., n_band)
        generator : torch.Generator

        Returns
        -------
        flux, error : Tensor (..., n_band)
            mJy.
        """
        variance = torch.log1p(relative_error**2)
        flux = torch.exp(ln_flux - variance / 2 + variance.sqrt() * _normal_like(ln_flux, generator))
        return flux, relative_error * flux

    def log_prob(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Log density of ln f* given the true flux, per band.

        Parameters
        ----------
        flux, error : Tensor (..., n_band)
            Observed, mJy; positive.
        ln_flux : Tensor (..., n_band)
            ln of the true flux.

        Returns
        -------
        Tensor (..., n_band)
        """
        ln_value, width, _ = self.as_lognormal(flux, error)
        return _normal_log_prob(ln_value, ln_flux, width)

    def log_likelihood(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor,
                       ln_flux: torch.Tensor) -> torch.Tensor:
        """Log likelihood of all detections; see `Walter2025Noise.log_likelihood`."""
        ln_value, width, _ = self.as_lognormal(flux, error)
        return _normal_log_likelihood(ln_value, ln_flux, width, measured)

    def pull(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Residual that is standard normal for data made by this model.

        Parameters
        ----------
        flux, error : Tensor (..., n_band)
            Observed, mJy.
        ln_flux : Tensor (..., n_band)
            ln of the true flux.

        Returns
        -------
        Tensor (..., n_band)
        """
        ln_value, width, _ = self.as_lognormal(flux, error)
        return (ln_value - ln_flux) / width

    def along_mass(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor, ln_flux: torch.Tensor,
                   ln_mass: torch.Tensor) -> torch.Tensor:
        """Return a parabola in ln mass; see `Walter2025Noise.along_mass`."""
        best, width = self.amplitude(flux, error, measured, ln_flux)
        return -0.5 * ((ln_mass - best[..., None]) / width[..., None]) ** 2

    def as_lognormal(self, flux: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the normal density of ln f that stands for a detection.

        Parameters
        ----------
        flux, error : Tensor (..., n_band)
            Observed, mJy.

        Returns
        -------
        ln_value, width : Tensor (..., n_band)
            Mean and standard deviation; the relative error of such a detection
            is sqrt(exp(width^2) - 1).  Under log-normal noise this is exact.
        usable : Tensor (..., n_band) of bool
            Whether there is a stand-in; elsewhere the numbers mean nothing.
        """
        usable = self.usable(flux, error)
        positive = torch.where(usable, flux, 1.0)
        variance = torch.log1p((torch.where(usable, error, 1.0) / positive) ** 2)
        return torch.log(positive) + variance / 2, variance.sqrt(), usable


class NormalNoise(Noise):
    """Normal scatter about f, as CIGALE has it (Turner et al. 2021).

    f* ~ N(f, s*); a mock's s* is its relative error times the true flux.
    """

    name = "normal"

    def sample(self, ln_flux: torch.Tensor, relative_error: torch.Tensor,
               generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Observe true fluxes; see `LogNormalNoise.sample`."""
        truth = torch.exp(ln_flux)
        error = relative_error * truth
        return truth + error * _normal_like(truth, generator), error

    def log_prob(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Log density of f* in 1/mJy given the true flux, per band."""
        return _normal_log_prob(flux, torch.exp(ln_flux), error)

    def log_likelihood(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor,
                       ln_flux: torch.Tensor) -> torch.Tensor:
        """Log likelihood of all detections; see `Walter2025Noise.log_likelihood`."""
        return _normal_log_likelihood(flux, torch.exp(ln_flux), error, measured)

    def usable(self, flux: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Tell whether the likelihood exists: also for fluxes of zero and below."""
        return torch.isfinite(flux) & torch.isfinite(error) & (error > 0)

    def pull(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """(f* - f) / s*; see `LogNormalNoise.pull`."""
        return (flux - torch.exp(ln_flux)) / error

    def along_mass(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor, ln_flux: torch.Tensor,
                   ln_mass: torch.Tensor) -> torch.Tensor:
        """Return a parabola in mass; see `Walter2025Noise.along_mass`."""
        scale, best, total = self._linear(flux, error, measured, ln_flux)
        return -0.5 * total * (torch.exp(ln_mass + scale) - best) ** 2

    def amplitude(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor,
                  ln_flux: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Peak and width of the likelihood in ln mass; see `Walter2025Noise.amplitude`.

        A normal density of the mass is skewed in its logarithm, the more the
        noisier it is; the width allows for that.
        """
        scale, best, total = (x[..., 0] for x in self._linear(flux, error, measured, ln_flux))
        # Where the best mass is negative, one about as large as its error stands for it.
        best = 0.5 * (best + torch.sqrt(best**2 + 4 / total))
        relative = (best * total.sqrt()).reciprocal()
        return torch.log(best) - scale, relative * (1 + _SKEWED * relative**2)

    def clear(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
        """Tell whether the mass is a log-normal one, nearly; see `Walter2025Noise.clear`."""
        return torch.where(measured, (flux / error).square(), 0.0).sum(-1) > _CLEAR**2

    @staticmethod
    def _linear(flux, error, measured, ln_flux):
        """ln scale, best mass and its weight, (n, k, 1): least squares of fluxes that are proportional to the mass.

        In units of each point's clearest band, so that no float overflows.
        """
        clear = torch.where(measured[:, None], ln_flux - torch.log(error)[:, None], -torch.inf)
        scale = clear.amax(-1, keepdim=True).nan_to_num(neginf=0.0)
        model = torch.exp(clear - scale)
        total = (model**2).sum(-1, keepdim=True).clamp(min=1e-30)
        best = (model * torch.where(measured, flux / error, 0.0)[:, None]).sum(-1, keepdim=True) / total
        return scale, best, total

    def as_lognormal(self, flux: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return a stand-in, wider than the detection the noisier it is; see `LogNormalNoise.as_lognormal`.

        There is none below a signal-to-noise ratio of one.
        """
        usable = self.usable(flux, error) & (flux > error)
        positive = torch.where(usable, flux, 1.0)
        relative = torch.where(usable, error / positive, 1.0)
        return torch.log(positive), (relative * (1 + _WIDENED * relative**2)).clamp(max=_WIDEST), usable


class Walter2025Noise(Noise):
    """The noise of Walter et al. (2025), Sect. 2.2.

    The relative error r belongs to the *true* flux: f* is log-normal with mean
    f and standard deviation s* = r f, and the reported relative error is
    s*/f*.
    """

    name = "walter2025"

    def sample(self, ln_flux: torch.Tensor, relative_error: torch.Tensor,
               generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Observe true fluxes; see `LogNormalNoise.sample`."""
        variance = torch.log1p(relative_error**2)
        flux = torch.exp(ln_flux - variance / 2 + variance.sqrt() * _normal_like(ln_flux, generator))
        return flux, relative_error * torch.exp(ln_flux)

    def log_prob(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Log density of (ln f*, s*/f*) given the true flux, per band.

        r follows from s* = r f; its change to the reported s*/f* at given f*
        brings the Jacobian f*/f.  The density of r itself is uniform in
        [0, 0.5] and left out but for its support.
        """
        log_ratio = torch.log(flux) - ln_flux
        relative = error / torch.exp(ln_flux)
        variance = torch.log1p(relative**2)
        density = _normal_log_prob(torch.log(flux), ln_flux - variance / 2, variance.sqrt()) + log_ratio
        return torch.where(relative <= 0.5, density, -torch.inf)

    def pull(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Residual of ln f*, with the width that this true flux gives; see `LogNormalNoise.pull`."""
        # Infinite for a true flux so faint that the square is no number.
        variance = torch.log1p((error / torch.exp(ln_flux)).square().clamp(max=1e30))
        return (torch.log(flux) + variance / 2 - ln_flux) / variance.sqrt()

    def as_lognormal(self, flux: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return a stand-in with the reported relative error; see `LogNormalNoise.as_lognormal`."""
        return NOISE_MODELS["lognormal"].as_lognormal(flux, error)


NOISE_MODELS = {noise.name: noise for noise in (LogNormalNoise(), NormalNoise(), Walter2025Noise())}


def get_noise(name: str) -> Noise:
    """Look up the noise model of that name.

    Parameters
    ----------
    name : str
        ``lognormal``, ``normal`` or ``walter2025``.

    Returns
    -------
    object
        With ``sample`` and ``log_prob``.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    try:
        return NOISE_MODELS[name]
    except KeyError:
        raise InputError(f"unknown noise model {name!r}; choose from {', '.join(NOISE_MODELS)}") from None
