"""The forward model: SDSS band fluxes of a galaxy from its star formation history, metallicity history and dust.

This is PROVABGS (Hahn et al. 2023, ApJ 945, 16) without its burst, as Hahn & Melchior (2022, ApJ 938, 11) infer it:

    f_b = M sum_j exp(-tau_ism k_n(l_j)) [p1 (O1_j + Y1_j exp(-tau_bc 5500 A / l_j)) + p2 T2_j + p3 T3_j + p4 T4_j]

over the parts j of a band, with p the mass fractions of the four components of the star formation history, O1 and Y1
the stars of the first component older and younger than 10 Myr.
"""

from __future__ import annotations

import math

import torch

from .components import Components, load_components
from .dust import birth_cloud_curve, diffuse_curve

__all__ = ["NANOMAGGY_MJY", "PARAMETERS", "GalaxyModel"]

#: The parameters, in the order used everywhere.
PARAMETERS = ("log_mstar", "stick1", "stick2", "stick3", "log_gamma1", "log_gamma2", "tau_bc", "tau_ism", "dust_index")
#: A nanomaggy, the flux of an AB magnitude of 22.5, in mJy.
NANOMAGGY_MJY = 3.631e-3
_LN10 = math.log(10.0)


class GalaxyModel:
    """Band fluxes and derived quantities of galaxies.

    Parameters
    ----------
    components : Components, optional
        The packaged ones by default.

    Notes
    -----
    Batched, differentiable, and in the precision and on the device of the components.  ``theta`` has the nine columns
    of `PARAMETERS`: log10 of the stellar mass formed in solar masses, three sticks of the star formation history, log10
    of the two coefficients of the metallicity history, the optical depths of birth clouds and of diffuse dust at
    5500 A, and the slope of the latter's curve.

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
        # Two wavelengths stand for each part of a band, with half of its light at each: first all the lower ones.
        self._wavelength = self.components.tensors["wavelength"].T.flatten()
        self._membership = self.components.membership / 2

    def to(self, device=None, dtype=None) -> GalaxyModel:
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

    def ln_flux_per_mass(self, shape, redshift):
        """Natural log of the flux of a galaxy of one solar mass formed.

        Parameters
        ----------
        shape : Tensor (..., 8)
            The parameters but the mass.
        redshift : Tensor (...)
            Positive; broadcasts with ``shape[..., 0]``.

        Returns
        -------
        Tensor (..., n_band)
            ln of mJy.
        """
        sticks, log_gamma, tau_bc, tau_ism, dust_index = shape.split((3, 2, 1, 1, 1), -1)
        components = self.components
        ln_light, _ = components.spectra(log_gamma, redshift)
        light = torch.exp(ln_light)
        fractions = components.histories.mass_fractions(sticks, components.age(redshift))
        first, *later = fractions[..., None].unbind(-2)
        young = first * light[..., 1, :]
        others = first * light[..., 0, :] + sum(p * light[..., k, :] for k, p in enumerate(later, 2))
        wavelength = self._wavelength / (1 + redshift[..., None])
        diffuse = tau_ism * diffuse_curve(wavelength, dust_index)
        through = torch.exp(-diffuse).unflatten(-1, (2, -1)).sum(-2)
        young_through = torch.exp(-tau_bc * birth_cloud_curve(wavelength) - diffuse).unflatten(-1, (2, -1)).sum(-2)
        flux = (others * through + young * young_through) @ self._membership
        return torch.log(flux) - 2 * components.ln_distance(redshift)[..., None]

    def ln_flux(self, theta, redshift):
        """Natural log of the flux.

        Parameters
        ----------
        theta : Tensor (..., 9)
        redshift : Tensor (...)
            Positive; broadcasts with ``theta[..., 0]``.

        Returns
        -------
        Tensor (..., n_band)
            ln of mJy.
        """
        return self.ln_flux_per_mass(theta[..., 1:], redshift) + _LN10 * theta[..., :1]

    def derived(self, theta, redshift):
        """Compute what follows from the parameters.

        Parameters
        ----------
        theta : Tensor (..., 9)
        redshift : Tensor (...)

        Returns
        -------
        dict of str to Tensor (...)
            ``log_mstar_surviving``, log10 of the stellar mass that is left, solar masses; ``log_sfr_100myr`` and
            ``log_sfr_1gyr``, log10 of the mean star formation rate, solar masses per year; ``age_mw``, mass-weighted
            mean age, Gyr; ``log_metallicity_mw``, log10 of the mass-weighted mean mass fraction of metals.
        """
        log_mass, sticks, log_gamma = theta[..., 0], theta[..., 1:4], theta[..., 4:6]
        components, histories = self.components, self.components.histories
        age = components.age(redshift).expand(log_mass.shape)
        _, surviving = components.spectra(log_gamma, redshift)
        left = (histories.mass_fractions(sticks, age) * surviving).sum(-1)
        return {
            "log_mstar_surviving": log_mass + torch.log10(left),
            "log_sfr_100myr": log_mass + torch.log10(histories.specific_rate(sticks, age, 0.1)),
            "log_sfr_1gyr": log_mass + torch.log10(histories.specific_rate(sticks, age, 1.0)),
            "age_mw": histories.mean_age(sticks, age),
            "log_metallicity_mw": torch.log10(histories.mean_metallicity(sticks, log_gamma, age)),
        }
