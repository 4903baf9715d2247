"""Noise models: distributions of observed fluxes given true fluxes.

Each model draws (`~LogNormalNoise.sample`) an observed flux and error from a true
flux and a relative error. It computes the log likelihood of detections
(`~LogNormalNoise.log_prob` for each, `~Noise.log_likelihood` for all) and of upper limits
(`~Noise.log_limit`), standardized residuals (`~LogNormalNoise.pull`), and a log-normal
approximation of a detection (`~LogNormalNoise.as_lognormal`), with which a network
trained on log-normal noise proposes draws.
Fluxes are linear, in mJy; f is a true flux, f* an observed one, s* its error.
"""

from __future__ import annotations

import math

import torch

from .errors import InputError

__all__ = ["NOISE_MODELS", "LogNormalNoise", "Noise", "NormalNoise", "Walter2025Noise", "get_noise"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# Log-normal approximation of a normal detection: width r (1 + 3 r^2), chosen by trial to cover the exact posterior
# best; networks were not trained on widths above about 1.
_WIDENED, _WIDEST = 3.0, 1.05
# The same for the mass, and the total signal-to-noise ratio above which its likelihood is nearly log-normal.
_SKEWED, _CLEAR = 2.0, 8.0


def _normal_log_prob(x, mean, sigma):
    return -0.5 * ((x - mean) / sigma) ** 2 - torch.log(sigma) - _HALF_LOG_2PI


def _normal_log_likelihood(x, mean, sigma, counts):
    """Sum over the selected bands (n, n_band) for means (n, k, n_band), as a matrix product over the bands."""
    weight = torch.where(counts, sigma**-2, 0.0)
    constant = torch.where(counts, torch.log(sigma) + _HALF_LOG_2PI, 0.0).sum(-1, keepdim=True)
    return -0.5 * ((x[:, None] - mean).square() @ weight[..., None])[..., 0] - constant


def _normal_like(x, generator):
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


class Noise:
    """Base class of the noise models."""

    def usable(self, flux: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Return whether the likelihood of a detection exists.

        Parameters
        ----------
        flux, error : Tensor (..., n_band)

        Returns
        -------
        Tensor (..., n_band) of bool
        """
        return torch.isfinite(flux) & torch.isfinite(error) & (error > 0) & (flux > 0)

    def log_limit(self, limit: torch.Tensor, sigma: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Compute the log probability that a flux is below an upper limit.

        Parameters
        ----------
        limit, sigma : Tensor (..., n_band)
            Limit and its scale, mJy.
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
        """Compute the log likelihood of all detections of an object.

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

        Fluxes are proportional to the mass at fixed other parameters. The mean of ln m
        is therefore the weighted mean of ln f* - ln f over the bands, where f is the flux of one
        solar mass, and the variance is 1 / sum of weights. The weights come from the log-normal
        approximation unless the noise model overrides this.

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
        total = weight.sum(-1, keepdim=True).clamp(min=1e-4)  # without detections, any mass
        # The mean over the bands is a matrix product, which avoids an array (n, k, n_band) of residuals.
        share = weight / total
        mean = (share * value).sum(-1, keepdim=True) - (ln_flux @ share[..., None])[..., 0]
        return mean, total.rsqrt().expand_as(mean)

    def clear(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
        """Return whether the normal density from `amplitude` approximates the likelihood in ln mass, (n,)."""
        return torch.ones_like(flux[:, 0], dtype=torch.bool)

    def along_mass(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor, ln_flux: torch.Tensor,
                   ln_mass: torch.Tensor) -> torch.Tensor:
        """Compute the log likelihood of the detections as a function of mass, up to a constant.

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
    """Log-normal scatter with mean f and the reported relative width.

    ln f* ~ N(ln f - s^2/2, s^2) with s^2 = ln(1 + r^2) and s* = r f*, so
    only ratios of fluxes matter.
    """

    name = "lognormal"

    def sample(self, ln_flux: torch.Tensor, relative_error: torch.Tensor,
               generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw observed fluxes from true fluxes.

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
        """Compute the log density of ln f* given the true flux, per band.

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
        """Compute the log likelihood of all detections; see `Noise.log_likelihood`."""
        ln_value, width, _ = self.as_lognormal(flux, error)
        return _normal_log_likelihood(ln_value, ln_flux, width, measured)

    def pull(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Compute residuals that are standard normal for data from this model.

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
        """Return a parabola in ln mass; see `Noise.along_mass`."""
        best, width = self.amplitude(flux, error, measured, ln_flux)
        return -0.5 * ((ln_mass - best[..., None]) / width[..., None]) ** 2

    def as_lognormal(self, flux: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the normal density of ln f that approximates a detection.

        Parameters
        ----------
        flux, error : Tensor (..., n_band)
            Observed, mJy.

        Returns
        -------
        ln_value, width : Tensor (..., n_band)
            Mean and standard deviation; the relative error of such a detection
            is sqrt(exp(width^2) - 1).  This is exact under log-normal noise.
        usable : Tensor (..., n_band) of bool
            Whether the approximation exists; elsewhere the numbers have no meaning.
        """
        usable = self.usable(flux, error)
        positive = torch.where(usable, flux, 1.0)
        variance = torch.log1p((torch.where(usable, error, 1.0) / positive) ** 2)
        return torch.log(positive) + variance / 2, variance.sqrt(), usable


class NormalNoise(Noise):
    """Normal scatter about f, as in CIGALE (Turner et al. 2021).

    f* ~ N(f, s*); in mocks, s* is the relative error times the true flux.
    """

    name = "normal"

    def sample(self, ln_flux: torch.Tensor, relative_error: torch.Tensor,
               generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw observed fluxes from true fluxes; see `LogNormalNoise.sample`."""
        truth = torch.exp(ln_flux)
        error = relative_error * truth
        return truth + error * _normal_like(truth, generator), error

    def log_prob(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Compute the log density of f* in 1/mJy given the true flux, per band."""
        return _normal_log_prob(flux, torch.exp(ln_flux), error)

    def log_likelihood(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor,
                       ln_flux: torch.Tensor) -> torch.Tensor:
        """Compute the log likelihood of all detections; see `Noise.log_likelihood`."""
        return _normal_log_likelihood(flux, torch.exp(ln_flux), error, measured)

    def usable(self, flux: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Return whether the likelihood exists, including fluxes of zero and below."""
        return torch.isfinite(flux) & torch.isfinite(error) & (error > 0)

    def pull(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Compute (f* - f) / s*; see `LogNormalNoise.pull`."""
        return (flux - torch.exp(ln_flux)) / error

    def along_mass(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor, ln_flux: torch.Tensor,
                   ln_mass: torch.Tensor) -> torch.Tensor:
        """Return a parabola in mass; see `Noise.along_mass`."""
        scale, best, total = self._linear(flux, error, measured, ln_flux)
        return -0.5 * total * (torch.exp(ln_mass + scale) - best) ** 2

    def amplitude(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor,
                  ln_flux: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute peak and width of the likelihood in ln mass; see `Noise.amplitude`.

        A normal density of the mass is skewed in its logarithm, especially if it is
        noisy; the width allows for this.
        """
        scale, best, total = (x[..., 0] for x in self._linear(flux, error, measured, ln_flux))
        # A negative best mass is replaced by one about as large as its error.
        best = 0.5 * (best + torch.sqrt(best**2 + 4 / total))
        relative = (best * total.sqrt()).reciprocal()
        return torch.log(best) - scale, relative * (1 + _SKEWED * relative**2)

    def clear(self, flux: torch.Tensor, error: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
        """Return whether the likelihood of the mass is nearly log-normal; see `Noise.clear`."""
        return torch.where(measured, (flux / error).square(), 0.0).sum(-1) > _CLEAR**2

    @staticmethod
    def _linear(flux, error, measured, ln_flux):
        """Compute ln scale, best mass, and its weight, (n, k, 1), by least squares for fluxes proportional to the mass.

        The unit is that of the band with the highest signal-to-noise of each point, to avoid overflow.
        """
        clear = torch.where(measured[:, None], ln_flux - torch.log(error)[:, None], -torch.inf)
        scale = clear.amax(-1, keepdim=True).nan_to_num(neginf=0.0)
        model = torch.exp(clear - scale)
        total = (model**2).sum(-1, keepdim=True).clamp(min=1e-30)
        best = (model * torch.where(measured, flux / error, 0.0)[:, None]).sum(-1, keepdim=True) / total
        return scale, best, total

    def as_lognormal(self, flux: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the approximation, wider for noisier detections; see `LogNormalNoise.as_lognormal`.

        It does not exist below a signal-to-noise ratio of one.
        """
        usable = self.usable(flux, error) & (flux > error)
        positive = torch.where(usable, flux, 1.0)
        relative = torch.where(usable, error / positive, 1.0)
        return torch.log(positive), (relative * (1 + _WIDENED * relative**2)).clamp(max=_WIDEST), usable


class Walter2025Noise(Noise):
    """Noise model of Walter et al. (2025), Sect. 2.2.

    The relative error r belongs to the *true* flux: f* is log-normal with mean
    f and standard deviation s* = r f, and the reported relative error is
    s*/f*.
    """

    name = "walter2025"

    def sample(self, ln_flux: torch.Tensor, relative_error: torch.Tensor,
               generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw observed fluxes from true fluxes; see `LogNormalNoise.sample`."""
        variance = torch.log1p(relative_error**2)
        flux = torch.exp(ln_flux - variance / 2 + variance.sqrt() * _normal_like(ln_flux, generator))
        return flux, relative_error * torch.exp(ln_flux)

    def log_prob(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Compute the log density of (ln f*, s*/f*) given the true flux, per band.

        r follows from s* = r f; the change of variables to the reported s*/f* at given f*
        has the Jacobian f*/f.  The density of r is uniform in
        [0, 0.5]; only its support is included.
        """
        log_ratio = torch.log(flux) - ln_flux
        relative = error / torch.exp(ln_flux)
        variance = torch.log1p(relative**2)
        density = _normal_log_prob(torch.log(flux), ln_flux - variance / 2, variance.sqrt()) + log_ratio
        return torch.where(relative <= 0.5, density, -torch.inf)

    def pull(self, flux: torch.Tensor, error: torch.Tensor, ln_flux: torch.Tensor) -> torch.Tensor:
        """Compute the residual of ln f* with the width for this true flux; see `LogNormalNoise.pull`."""
        # The square overflows for very faint true fluxes.
        variance = torch.log1p((error / torch.exp(ln_flux)).square().clamp(max=1e30))
        return (torch.log(flux) + variance / 2 - ln_flux) / variance.sqrt()

    def as_lognormal(self, flux: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the approximation with the reported relative error; see `LogNormalNoise.as_lognormal`."""
        return NOISE_MODELS["lognormal"].as_lognormal(flux, error)


NOISE_MODELS = {noise.name: noise for noise in (LogNormalNoise(), NormalNoise(), Walter2025Noise())}


def get_noise(name: str) -> Noise:
    """Return the noise model of a given name.

    Parameters
    ----------
    name : str
        ``lognormal``, ``normal`` or ``walter2025``.

    Returns
    -------
    object
        Object with ``sample`` and ``log_prob``.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    try:
        return NOISE_MODELS[name]
    except KeyError:
        raise InputError(f"unknown noise model {name!r}; choose from {', '.join(NOISE_MODELS)}") from None
