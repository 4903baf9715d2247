"""Values that mean "no measurement" in catalogs of unknown origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Column

__all__ = ["is_sentinel", "no_measurement"]

#: Magnitudes and magnitude errors beyond this are not measurements.
_FAINTEST = 40.0
#: Magnitude errors of missing measurements in DAOPHOT, DOLPHOT and photometric redshift codes.
_MAGNITUDE_ERRORS = (9.9, 9.99, 9.999, 9.9999)
_NINES = (99.0, 99.9, 99.99, 99.999, 99.9999, 999.0, 999.9, 999.99, 999.999, 9999.0, 9999.9, 9999.99, 99999.0, 999999.0,
          66.666, 44.444)
#: Always missing in a flux: no measurement has these values by chance.
_NEVER = (-999.0, -9999.0, -99999.0, 1e20, 1e30, 1e33, 1e35, 1e36, 1e37, 1e38, -1e20, -1e30,
          float(np.finfo(np.float32).max), -float(np.finfo(np.float32).max), float(np.finfo(np.float64).max),
          -float(np.finfo(np.float64).max))
#: Plausible relative errors of a measurement.
_PLAUSIBLE = (1e-3, 10.0)


def is_sentinel(values: Column | np.ndarray, sentinels: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Compare values with sentinels.

    Parameters
    ----------
    values : ndarray (n,)
    sentinels : sequence of float

    Returns
    -------
    ndarray of bool (n,)
    """
    if not len(sentinels):
        return np.zeros(len(values), bool)
    known = np.sort(np.asarray(sentinels, float))
    after = np.searchsorted(known, values)
    neighbors = known[np.stack([after - 1, after]).clip(0, len(known) - 1)]
    with np.errstate(over="ignore"):
        return np.isclose(values, neighbors, rtol=1e-6, atol=0).any(axis=0)


def no_measurement(flux: np.ndarray, error: np.ndarray, *, magnitudes: bool) -> np.ndarray:
    """Recognize customary sentinels by value.

    Magnitudes and magnitude errors beyond 40 are missing.  A flux of 99, 999,
    66.666 and similar values could be a measurement.  It is missing unless its
    error is plausible: positive, not a sentinel itself, and between 0.1 % and ten
    times the flux.

    Parameters
    ----------
    flux, error : ndarray (n,)
        Values of the columns, NaN for missing.
    magnitudes : bool
        Whether these are magnitudes.

    Returns
    -------
    ndarray of bool (n,)

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.catalogs.sentinels import no_measurement
    >>> no_measurement(np.array([99.0, 99.0, 1e20]), np.array([99.0, 8.0, 1.0]),
    ...                magnitudes=False)
    array([ True, False,  True])
    """
    if magnitudes:
        return (np.abs(flux) > _FAINTEST) | (np.abs(error) > _FAINTEST) | is_sentinel(error, _MAGNITUDE_ERRORS)
    nines = np.array([*_NINES, *(-n for n in _NINES)])
    with np.errstate(all="ignore"):
        relative = np.abs(error / flux)
    plausible = (relative > _PLAUSIBLE[0]) & (relative < _PLAUSIBLE[1])
    doubtful = is_sentinel(error, (*nines, *_MAGNITUDE_ERRORS)) | (error <= 0) | ~plausible
    return (is_sentinel(flux, _NEVER) | is_sentinel(error, _NEVER) | (is_sentinel(flux, nines) & doubtful)
            | is_sentinel(error, -nines[nines > 0]))
