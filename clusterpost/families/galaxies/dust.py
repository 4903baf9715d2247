"""Dust attenuation of PROVABGS: a diffuse screen, and birth clouds around the youngest stars.

The diffuse curve follows Kriek & Conroy (2013, ApJ 775, L16): Calzetti et al. (2000, ApJ 533, 682) times a power law
of slope ``n``, with a bump at 2175 A that is weaker for shallower slopes.  The curve of the clouds is a power law of
slope -1 (Charlot & Fall 2000, ApJ 539, 718).  As in the emulator, they surround stars younger than 10 Myr, not 100 Myr
as Hahn & Melchior (2022) write.
"""

from __future__ import annotations

import torch

__all__ = ["PIVOT", "birth_cloud_curve", "calzetti_curve", "diffuse_curve", "drude_profile"]

#: Wavelength of unit optical depth in both laws, Angstrom.
PIVOT = 5500.0
_RV = 4.05
_BUMP, _BUMP_WIDTH = 2175.0, 350.0
_JOIN = 0.63  # micron, the junction of the two branches of the Calzetti curve


def calzetti_curve(wavelength: torch.Tensor) -> torch.Tensor:
    """Evaluate k(lambda) of Calzetti et al. (2000), their equation 4.

    Parameters
    ----------
    wavelength : Tensor (...)
        Rest frame, Angstrom.

    Returns
    -------
    Tensor (...)
        A(lambda) / E(B-V) for R_V = 4.05.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.galaxies.dust import calzetti_curve
    >>> print(f"{calzetti_curve(torch.tensor(5500.0)).item():.3f}")
    4.048
    """
    wave_number = 1e4 / wavelength
    blue = -2.156 + wave_number * (1.509 + wave_number * (-0.198 + wave_number * 0.011))
    red = -1.857 + 1.040 * wave_number
    return 2.659 * torch.where(wavelength < 1e4 * _JOIN, blue, red) + _RV


def drude_profile(wavelength: torch.Tensor) -> torch.Tensor:
    """Evaluate the 2175 A bump at unit strength.

    Parameters
    ----------
    wavelength : Tensor (...)
        Rest frame, Angstrom.

    Returns
    -------
    Tensor (...)
    """
    wide = (_BUMP_WIDTH * wavelength) ** 2
    return wide / ((wavelength**2 - _BUMP**2) ** 2 + wide)


def diffuse_curve(wavelength: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Compute the optical depth of the diffuse dust relative to 5500 A.

    Parameters
    ----------
    wavelength : Tensor (...)
        Rest frame, Angstrom.
    slope : Tensor (...)
        Offset of the slope from Calzetti et al.; negative is steeper.

    Returns
    -------
    Tensor (...)
        Broadcast.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.families.galaxies.dust import diffuse_curve
    >>> steep, calzetti = diffuse_curve(torch.tensor(3500.0), torch.tensor([-0.7, 0.0]))
    >>> bool(steep > calzetti)
    True
    """
    bump = 0.85 - 1.9 * slope
    curve = calzetti_curve(wavelength) + bump * drude_profile(wavelength)
    return curve / _RV * torch.exp(slope * torch.log(wavelength / PIVOT))


def birth_cloud_curve(wavelength: torch.Tensor) -> torch.Tensor:
    """Compute the optical depth of the birth clouds relative to 5500 A.

    Parameters
    ----------
    wavelength : Tensor (...)
        Rest frame, Angstrom.

    Returns
    -------
    Tensor (...)
    """
    return PIVOT / wavelength
