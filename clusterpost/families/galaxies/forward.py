"""Forward model: SDSS band fluxes of a galaxy from star formation history, metallicity history, and dust.

The model is PROVABGS (Hahn et al. 2023, ApJ 945, 16) without its burst, as in Hahn & Melchior (2022, ApJ 938, 11):

    f_b = M sum_j exp(-tau_ism k_n(l_j)) [p1 (O1_j + Y1_j exp(-tau_bc 5500 A / l_j)) + p2 T2_j + p3 T3_j + p4 T4_j]

over the sub-bands j of a band, with mass fractions p of the four components of the star formation history, and O1 and
Y1 the stars of the first component older and younger than 10 Myr.
"""

from __future__ import annotations

import math

import torch

from .components import Components, load_components
from .dust import birth_cloud_curve, diffuse_curve
from .history import YOUNG_AGE

__all__ = ["NANOMAGGY_MJY", "GalaxyModel"]

#: Nanomaggy, the flux of AB magnitude 22.5, in mJy.
NANOMAGGY_MJY = 3.631e-3
_LN10 = math.log(10.0)
_POINTS_PER_PASS = 4096  # keeps intermediate results in the processor cache


class GalaxyModel:
    """Band fluxes and derived quantities of galaxies.

    Parameters
    ----------
    components : Components, optional
        Components; by default the packaged ones.

    Notes
    -----
    Batched, differentiable, and in the precision and on the device of the components.  ``theta`` has the nine columns
    of ``clusterpost.families.galaxies.parameters.PARAMETERS``: log10 of the stellar mass formed in solar masses, three
    sticks of the star formation history, log10 of the two coefficients of the metallicity history, optical depths
    of birth clouds and diffuse dust at 5500 A, and the slope of the diffuse curve.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.galaxies.forward import GalaxyModel
    >>> theta = torch.tensor([10.5, 0.5, 0.5, 0.5, -2.5, -2.5, 1.0, 0.5, -0.7])
    >>> GalaxyModel().ln_flux(theta, torch.tensor(0.05)).shape
    torch.Size([5])
    """

    def __init__(self, components: Components | None = None):
        self.components = load_components() if components is None else components
        self.bands = self.components.bands
        # Each part of a band has two wavelengths with half of the light each; all the lower ones come first.
        self._wavelength = self.components.tensors["wavelength"].T.flatten()
        self._membership = self.components.membership / 2

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> GalaxyModel:
        """Move to another device or precision.

        Parameters
        ----------
        device : torch.device or str, optional
        dtype : torch.dtype, optional

        Returns
        -------
        GalaxyModel
        """
        return GalaxyModel(self.components.to(device, dtype))

    def ln_flux_per_mass(self, shape: torch.Tensor, redshift: torch.Tensor,
                         log_f_young: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the natural log of the flux of a galaxy of one solar mass formed.

        Parameters
        ----------
        shape : Tensor (..., 8)
            All parameters except the mass.
        redshift : Tensor (...)
            Positive redshift, which broadcasts with ``shape[..., 0]``.
        log_f_young : Tensor (...), optional
            log10 of the mass fraction of young stars in addition to the history.

        Returns
        -------
        Tensor (..., n_band)
            ln of the flux in mJy.
        """
        sticks, log_gamma, tau_bc, tau_ism, dust_index = shape.split((3, 2, 1, 1, 1), -1)
        components = self.components
        age = components.age(redshift)
        light = torch.exp(components.ln_light(log_gamma, redshift))
        fractions = components.histories.mass_fractions(sticks, age)
        first_young = first_old = fractions[..., 0]
        later = fractions[..., 1:]
        if log_f_young is not None:
            f_young = 10**log_f_young
            first_old, later = (1 - f_young) * first_old, (1 - f_young)[..., None] * later
            first_young = first_old + f_young / components.histories.young_share(age)
        young = first_young[..., None] * light[..., 1, :]
        others = first_old[..., None] * light[..., 0, :] + sum(later[..., k, None] * light[..., 2 + k, :]
                                                               for k in range(3))
        wavelength = self._wavelength / (1 + redshift[..., None])
        diffuse = tau_ism * diffuse_curve(wavelength, dust_index)
        through = torch.exp(-diffuse).unflatten(-1, (2, -1)).sum(-2)
        young_through = torch.exp(-tau_bc * birth_cloud_curve(wavelength) - diffuse).unflatten(-1, (2, -1)).sum(-2)
        flux = (others * through + young * young_through) @ self._membership
        return torch.log(flux) - 2 * components.ln_distance(redshift)[..., None]

    def ln_flux(self, theta: torch.Tensor, redshift: torch.Tensor,
                log_f_young: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the natural log of the flux.

        Parameters
        ----------
        theta : Tensor (..., 9)
        redshift : Tensor (...)
            Positive redshift, which broadcasts with ``theta[..., 0]``.
        log_f_young : Tensor (...), optional
            As for `ln_flux_per_mass`.

        Returns
        -------
        Tensor (..., n_band)
            ln of the flux in mJy.
        """
        size = max(1, _POINTS_PER_PASS // max(1, theta[:1, ..., 0].numel())) if theta.ndim > 1 else 1
        if theta.ndim > 1 and len(theta) > size and redshift.ndim == theta.ndim - 1 and theta.device.type == "cpu":
            young = [None] * len(theta) if log_f_young is None else log_f_young.split(size)
            parts = zip(theta.split(size), redshift.expand(len(theta), *redshift.shape[1:]).split(size), young,
                        strict=False)
            return torch.cat([self.ln_flux(*part) for part in parts])
        return self.ln_flux_per_mass(theta[..., 1:], redshift, log_f_young) + _LN10 * theta[..., :1]

    def log_surviving_mass(self, theta: torch.Tensor, redshift: torch.Tensor,
                           log_f_young: torch.Tensor | None = None) -> torch.Tensor:
        """Compute log10 of the surviving stellar mass, including remnants; young stars survive completely.

        Parameters
        ----------
        theta, redshift, log_f_young
            As for `ln_flux`.

        Returns
        -------
        Tensor (...)
            log10 of solar masses.
        """
        surviving = self.components.surviving_mass(theta[..., 4:6], redshift)
        fractions = self.components.histories.mass_fractions(theta[..., 1:4], self.components.age(redshift))
        left = _with_young((fractions * surviving).sum(-1), 1.0, log_f_young)
        return theta[..., 0] + torch.log10(left)

    def log_star_formation_rate(self, theta: torch.Tensor, redshift: torch.Tensor, duration: float,
                                log_f_young: torch.Tensor | None = None) -> torch.Tensor:
        """Compute log10 of the mean star formation rate over the last ``duration``.

        Parameters
        ----------
        theta, redshift, log_f_young
            As for `ln_flux`.
        duration : float
            Duration in Gyr, at least 0.01.

        Returns
        -------
        Tensor (...)
            log10 of solar masses per year.
        """
        rate = self.components.histories.specific_rate(theta[..., 1:4], self.components.age(redshift), duration)
        return theta[..., 0] + torch.log10(_with_young(rate, 1 / (1e9 * duration), log_f_young))

    def mean_age(self, theta: torch.Tensor, redshift: torch.Tensor,
                 log_f_young: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the mass-weighted mean age of the stars formed.

        Parameters
        ----------
        theta, redshift, log_f_young
            As for `ln_flux`.

        Returns
        -------
        Tensor (...)
            Gyr.
        """
        mean = self.components.histories.mean_age(theta[..., 1:4], self.components.age(redshift))
        return _with_young(mean, YOUNG_AGE / 2, log_f_young)

    def log_mean_metallicity(self, theta: torch.Tensor, redshift: torch.Tensor,
                             log_f_young: torch.Tensor | None = None) -> torch.Tensor:
        """Compute log10 of the mass-weighted mean metallicity of the stars formed.

        Parameters
        ----------
        theta, redshift, log_f_young
            As for `ln_flux`.

        Returns
        -------
        Tensor (...)
            log10 of the mass fraction of metals.
        """
        histories, age = self.components.histories, self.components.age(redshift)
        mean = histories.mean_metallicity(theta[..., 1:4], theta[..., 4:6], age)
        return torch.log10(_with_young(mean, histories.present_metallicity(theta[..., 4:6]), log_f_young))


def _with_young(mean, of_young, log_f_young):
    """Average per mass over all stars, including the additional young stars."""
    if log_f_young is None:
        return mean
    f_young = 10**log_f_young
    return (1 - f_young) * mean + f_young * of_young
