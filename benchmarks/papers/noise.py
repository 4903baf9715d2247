"""What the noise model does to noisy clusters: log-normal and normal noise side by side.

Walter et al. (2025), Sect. 3.2.4, trace the clusters whose posteriors exclude the catalog's fit to the noise model:
theirs is log-normal, the catalog's normal, and the two differ where a relative error is large.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import astropy.units as u
import numpy as np
import torch
from astropy.table import Table

from clusterpost.errors import InputError
from clusterpost.families.clusters.parameters import PARAMETERS
from clusterpost.infer import infer_table, log_prob, sample_posterior
from clusterpost.photometry import Photometry
from clusterpost.posterior.summary import quantiles
from clusterpost.posterior.weights import effective_sample_size
from clusterpost.validation.fits import drawn_parameters

#: The noise model of the network and that of the catalog's fits.
NOISES = ("lognormal", "normal")
_LEVELS = (0.16, 0.5, 0.84)


def noisy_rows(tbl: Table, *, bands: Sequence[str] | None = ("F275W", "F336W"), least_error: float = 0.4,
               columns: Mapping | None = None) -> Any:
    """Select the rows with a large relative flux error in the ultraviolet.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry.
    bands : sequence of str
        Any of them.
    least_error : float
        As reported, without a floor.
    columns : dict, optional
        As for `~clusterpost.infer_table`.

    Returns
    -------
    noisy : ndarray of bool (n,)
    error : ndarray (n,)
        The largest relative error in these bands; NaN where none is measured.

    Notes
    -----
    Walter et al. (2025) mark the clusters above 40 % in blue in their Fig. 6.  Upper limits do not count.
    """
    # The error alone counts: without a floor, and the distance is of no matter.
    photometry = Photometry.from_table(tbl, columns=columns, covariates=(), error_floor=None).select(bands)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(photometry.limit, np.nan, photometry.error / np.abs(photometry.flux))
    largest = np.nanmax(np.where(np.isnan(relative), -np.inf, relative), axis=1)
    return largest > least_error, np.where(np.isinf(largest) & (largest < 0), np.nan, largest)


def compare_noise(tbl: Table, *, bands: Sequence[str] | None = ("F275W", "F336W"), least_error: float = 0.4,
                  n_draws: int = 1000, model: Any = "any_bands", error_floor: float | str | None = 0.05,
                  distance: Any = None, columns: Mapping | None = None, seed: int = 0, device: str | None = None,
                  progress: bool | None = None) -> Table:
    """Infer the noisy rows of a table under log-normal and under normal noise, and weigh one set of draws for both.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry, with or without published fits.
    bands, least_error
        Which rows: as for `noisy_rows`.
    n_draws : int
        From either posterior.
    model, error_floor, distance, columns, seed, device, progress
        As for `~clusterpost.infer_table`.

    Returns
    -------
    `~astropy.table.Table`
        The noisy rows of ``tbl`` that either inference could use, with the columns of `~clusterpost.infer_table`
        twice, after ``lognormal_`` and ``normal_``, so that `~clusterpost.compare_with_catalog` and
        `~clusterpost.plotting.plot_comparison` take them with ``prefix=``, and

        - ``row`` in ``tbl``, and ``noisy_error``, the largest relative error in ``bands``;
        - ``draws`` (2 n_draws, 3): log10 age/Myr, log10 mass/Msun, E(B-V)/mag, half of them from either posterior,
          with the weights ``weight_lognormal`` and ``weight_normal``, by which they follow one or the other;
        - ``reweighted_age_q16`` and so on: the posterior under normal noise from those draws (in the unit of the
          others), which must agree with ``normal_age_q16``: nothing but the weights tells the two apart;
        - ``overlap``: the effective share of the log-normal draws after weighting them for normal noise, 0 to 1;
        - ``divergence``: the Jensen-Shannon divergence of the two posteriors in all three parameters, 0 (the same)
          to 1 bit (nothing in common).

    Raises
    ------
    InputError
        If no row is noisy, or none of those can be inferred.

    Notes
    -----
    Walter et al. (2025), Sect. 3.2.4.  With the normalized densities p and p' of the two posteriors, draws from their
    even mixture q = (p + p') / 2 have the weights p / q and p' / q, none of which is above two.  A flux of zero or
    below has no log-normal likelihood: that inference leaves the band out, and the other takes it.
    """
    noisy, error = noisy_rows(tbl, bands=bands, least_error=least_error, columns=columns)
    if not noisy.any():
        raise InputError(f"no row has a relative error above {least_error:g} in {' or '.join(bands)}; "
                         "a lower option:least-error takes more rows")
    options = {"model": model, "error_floor": error_floor, "columns": columns, "seed": seed, "device": device}
    out = tbl[noisy]
    distance = _of_rows(distance, noisy)
    bare = out.copy()
    out["row"], out["noisy_error"] = np.flatnonzero(noisy), error[noisy]
    theta = []
    for noise in NOISES:
        out = infer_table(out, noise=noise, prefix=f"{noise}_", distance=distance, progress=progress, **options)
        drawn = sample_posterior(bare, n_samples=n_draws, noise=noise, distance=distance, progress=False, **options)
        theta.append(drawn_parameters(drawn))
    draws = np.concatenate(theta, axis=1)
    densities = {noise: log_prob(bare, draws, noise=noise, distance=distance, **options) for noise in NOISES}
    known = np.isfinite(draws).all((1, 2))
    if not known.any():
        raise InputError("none of the noisy rows can be inferred under both noise models; their flag columns say why")
    for name, values in _weighed(draws[known], {k: v[known] for k, v in densities.items()}, n_draws).items():
        column = np.full((len(out), *values.shape[1:]), np.nan)
        column[known] = values
        stem = name.split("_")[1] if name.startswith("reweighted_") else None
        units = {p.column: u.Unit(p.unit) for p in PARAMETERS}
        out[name] = column * units[stem] if stem else column
    return out[known]


def _of_rows(distance, rows):
    return distance[rows] if np.ndim(distance) else distance


def _weighed(draws, log_density, n_draws):
    """Return the columns that rest on one set of draws and two densities."""
    one, other = (log_density[noise] for noise in NOISES)
    log_mixture = np.logaddexp(one, other) - np.log(2)
    columns = {"draws": draws}
    weights = {}
    for noise in NOISES:
        weight = np.exp(log_density[noise] - log_mixture)
        weights[noise] = columns[f"weight_{noise}"] = weight / weight.sum(1, keepdims=True)
    for i, parameter in enumerate(PARAMETERS):
        found = quantiles(torch.as_tensor(draws[..., i]), _LEVELS, torch.as_tensor(weights["normal"])).numpy()
        for level, column in zip(_LEVELS, found.T, strict=True):
            columns[f"reweighted_{parameter.column}_q{round(100 * level)}"] = parameter.to_column(column)
    ratio = other[:, :n_draws] - one[:, :n_draws]
    moved = np.exp(ratio - ratio.max(1, keepdims=True))
    columns["overlap"] = effective_sample_size(torch.as_tensor(moved)).numpy() / n_draws
    gains = [(log_density[noise] - log_mixture)[:, part] for noise, part in
             zip(NOISES, (slice(n_draws), slice(n_draws, None)), strict=True)]
    columns["divergence"] = np.clip(sum(gain.mean(1) for gain in gains) / 2 / np.log(2), 0, 1)
    return columns
