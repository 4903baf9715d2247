"""The noise models: how a flux is observed, and how likely an observation is.

Each model draws (`sample`) an observed flux and error from a true flux and a
relative error, and gives the log likelihood (`log_prob`) of observations.
Fluxes are linear, in mJy; f is a true flux, f* an observed one, s* its error.
"""

from __future__ import annotations

import math

import torch

from .errors import InputError

__all__ = ["NOISE_MODELS", "LogNormalNoise", "NormalNoise", "Walter2025Noise", "get_noise"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _normal_log_prob(x, mean, sigma):
    return -0.5 * ((x - mean) / sigma) ** 2 - torch.log(sigma) - _HALF_LOG_2PI


def _normal_like(x, generator):
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


class LogNormalNoise:
    """Log-normal scatter of mean f whose relative width is the reported one.

    ln f* ~ N(ln f - s^2/2, s^2) with s^2 = ln(1 + r^2) and s* = r f*, so that
    only ratios of fluxes matter.
    """

    name = "lognormal"

    def sample(self, ln_flux, relative_error, generator):
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

    def log_prob(self, flux, error, ln_flux):
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
        variance = torch.log1p((error / flux) ** 2)
        return _normal_log_prob(torch.log(flux), ln_flux - variance / 2, variance.sqrt())


class NormalNoise:
    """Normal scatter about f, as CIGALE has it (Turner et al. 2021).

    f* ~ N(f, s*); a mock's s* is its relative error times the true flux.
    """

    name = "normal"

    def sample(self, ln_flux, relative_error, generator):
        """Observe true fluxes; see `LogNormalNoise.sample`."""
        truth = torch.exp(ln_flux)
        error = relative_error * truth
        return truth + error * _normal_like(truth, generator), error

    def log_prob(self, flux, error, ln_flux):
        """Log density of f* in 1/mJy given the true flux, per band."""
        return _normal_log_prob(flux, torch.exp(ln_flux), error)


class Walter2025Noise:
    """The noise of Walter et al. (2025), Sect. 2.2.

    The relative error r belongs to the *true* flux: f* is log-normal with mean
    f and standard deviation s* = r f, and the reported relative error is
    s*/f*.
    """

    name = "walter2025"

    def sample(self, ln_flux, relative_error, generator):
        """Observe true fluxes; see `LogNormalNoise.sample`."""
        variance = torch.log1p(relative_error**2)
        flux = torch.exp(ln_flux - variance / 2 + variance.sqrt() * _normal_like(ln_flux, generator))
        return flux, relative_error * torch.exp(ln_flux)

    def log_prob(self, flux, error, ln_flux):
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


NOISE_MODELS = {noise.name: noise for noise in (LogNormalNoise(), NormalNoise(), Walter2025Noise())}


def get_noise(name: str):
    """The noise model of that name.

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
