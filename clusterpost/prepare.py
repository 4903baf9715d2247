"""Preparation of a table for inference: tensors of the usable rows, and flags of all rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from . import flags
from .bands import BANDS
from .catalogs.messages import Fault
from .families.clusters.parameters import DISTANCE
from .findings import Findings
from .observations import Observed
from .photometry import Photometry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import Table

    from .families.base import ModelFamily
    from .flow.model import Model
    from .noise import Noise

__all__ = ["PreparedTable", "check_reach", "encode_observations", "prepare"]

_ROWS_AT_ONCE = 65_536  # limits the memory of intermediate arrays
# Scale of an upper limit without one, as a fraction of the limit.
_SHARPEST_LIMIT = 1e-3
# Squares of fluxes and errors (mJy), and of their ratio, must be finite in single precision.
_LARGEST = 1e15
_NEAREST, _FARTHEST = 1e-6, 1e6  # in Mpc, and for covariates in other units


@dataclass
class PreparedTable:
    """A table prepared for inference.

    Attributes
    ----------
    error_floor, covariates, sources, layout
        As in the `~clusterpost.photometry.Photometry` that was read.
    flag : ndarray of int32 (n_row,)
    n_bands : ndarray of int (n_row,)
        Number of usable measurements.
    rows : ndarray of int (n,)
        Rows that can be inferred.
    observed : Observed
        Photometry of these rows, in double precision.
    findings : Findings
        Faults that are errors if all rows have them.
    recorded : dict
        Entries for a table's meta with which it is read the same way again.
    description : str
        One-line description: bands, distance, error floor.
    known : dict of str
        Sources of the optional covariates in the table.
    """

    error_floor: float
    covariates: dict
    sources: dict
    layout: str
    flag: np.ndarray
    n_bands: np.ndarray
    rows: np.ndarray
    observed: Observed
    findings: Findings
    recorded: dict = field(default_factory=dict)
    description: str = ""
    known: dict = field(default_factory=dict)

    def add_doubts(self, family: ModelFamily) -> None:
        """Flag rows that the family marks as doubtful."""
        if len(self.rows):
            self.flag[self.rows] |= family.doubts(self.observed)

    def keep(self, good: np.ndarray) -> None:
        """Drop rows that cannot be inferred.

        Parameters
        ----------
        good : ndarray of bool (n,)
        """
        self.flag[self.rows[~good]] |= flags.NOT_INFERRED
        self.rows, self.observed = self.rows[good], self.observed[torch.as_tensor(good)]


def prepare(tbl: Table, bands: Sequence[str], noise: Noise, *, slots: Sequence, at_least: int, whole: bool = True,
            covariates: Sequence = (DISTANCE,), optional: Sequence = (), **reading: Any) -> PreparedTable:
    """Read the photometry of a table and classify its rows.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    bands : sequence of str
        Bands to use.
    noise : object of :mod:`clusterpost.noise`
        Noise model, which determines the usable measurements.
    slots : sequence of sequence of int
        Groups of interchangeable bands, by index.
    at_least : int
        Number of slots that must be measured for a row to be inferred.
    whole : bool
        Whether a table is expected to have all slots, unless it has photometry in other bands.
    covariates : sequence of Covariate
        Covariates of the model family; a row without one of them cannot be inferred.
    optional : sequence of Covariate
        Covariates that may be unknown.
    **reading
        ``columns``, ``unit``, ``missing``, ``distance``, and ``error_floor``, as for `~clusterpost.infer_table`.

    Returns
    -------
    PreparedTable
    """
    photometry = Photometry.of_rows(tbl, covariates=covariates, optional=optional, **reading)
    in_table, other = _taken_and_other(photometry, bands)
    findings = replace(photometry.findings, unused=other, known=tuple(bands))
    used = [band for band in photometry.bands if {band, BANDS[band].wfc3} & in_table]
    recorded, description = photometry.recorded, photometry.describe(used)
    photometry, flag = _to_bands(photometry, bands)
    there = ~photometry.missing
    photometry.error = np.where(photometry.limit, np.fmax(photometry.error, _SHARPEST_LIMIT * photometry.flux),
                                photometry.error)
    possible = noise.usable(*(torch.as_tensor(np.where(there, values, 1.0))
                              for values in (photometry.flux, photometry.error))).numpy()
    computable = _computable(photometry.flux, photometry.error, noise) | ~there
    known = {covariate.name: photometry.covariates[covariate.name] for covariate in covariates}
    unknown = np.any([np.isnan(values) for values in known.values()], axis=0) if known else np.zeros(len(flag), bool)
    extreme = np.any([np.abs(values) > _FARTHEST for values in known.values()]
                     + [known[c.name] < _NEAREST for c in covariates if c.log], axis=0) if known else unknown
    measured = there & ~photometry.limit & possible & computable
    limit = there & photometry.limit & (photometry.flux > 0) & computable
    filled = np.stack([there[:, list(slot)].any(axis=1) for slot in slots], axis=1)
    usable = np.stack([measured[:, list(slot)].any(axis=1) for slot in slots], axis=1)
    # If a table has photometry in other bands, absent bands are not flagged as missing.
    expected = [any(bands[i] in in_table for i in slot) or (whole and not other) for slot in slots]
    flag[~filled[:, expected].all(axis=1)] |= flags.MISSING_BAND
    flag[photometry.limit.any(axis=1)] |= flags.UPPER_LIMIT
    flag[(there & ~photometry.limit & ~possible).any(axis=1)] |= flags.NOT_POSITIVE
    flag[~computable.all(axis=1) | extreme] |= flags.NUMBER_RANGE
    flag[usable.sum(axis=1) < at_least] |= flags.TOO_FEW_BANDS
    flag[unknown] |= flags.NO_DISTANCE
    bad = ((flag & (flags.TOO_FEW_BANDS | flags.NO_DISTANCE)) != 0) | extreme
    flag[bad] |= flags.NOT_INFERRED
    rows = np.flatnonzero(~bad)
    n_bands = measured.sum(axis=1)
    flux, error, measured, limit = (values[rows] for values in (photometry.flux, photometry.error, measured, limit))
    unused = ~(measured | limit)
    flux[unused] = error[unused] = 1.0
    observed = Observed(*(torch.as_tensor(values) for values in (flux, error, measured, limit)),
                        {name: torch.as_tensor(values[rows]) for name, values in photometry.covariates.items()})
    return PreparedTable(photometry.error_floor, photometry.covariates, photometry.sources, photometry.layout,
                         flag, n_bands, rows, observed, findings, recorded, description,
                         {c.name: photometry.sources[c.name] for c in optional if c.name in photometry.sources})


def _computable(flux, error, noise):
    """Return whether fluxes and errors (n, n_band), in mJy, can be processed in single precision."""
    with np.errstate(all="ignore"):
        size, ratio = np.abs(flux), np.abs(flux) / error
    # Errors of zero are rejected by the noise model.
    good = (size < _LARGEST) & (error < _LARGEST) & ((error == 0) | ((error > 1 / _LARGEST) & (ratio < _LARGEST)))
    if not noise.usable(torch.zeros(()), torch.ones(())):  # only the ratio to its error bounds a flux from below
        good &= (ratio > 1 / _LARGEST) | (flux <= 0)
    return good


def _taken_and_other(photometry, bands):
    """Return the model's bands that are in the table, and flux columns of other bands."""
    in_table, other = set(), list(photometry.unused)
    for band, column in zip(photometry.bands, photometry.columns, strict=True):
        taken = next((b for b in (band, BANDS[band].wfc3) if b in bands), None)
        if taken is None:
            other.append(column)
        else:
            in_table.add(taken)
    return in_table, tuple(dict.fromkeys(other))


def _to_bands(photometry, bands):
    """Return these bands, with ACS fluxes in place of missing WFC3 ones if the model has only the latter."""
    chosen = photometry.select(bands)
    flag = np.zeros(len(photometry), np.int32)
    for band in photometry.bands:
        slot = BANDS[band].wfc3
        if band in bands or slot not in bands:
            continue
        i, j = bands.index(slot), photometry.bands.index(band)
        take = chosen.missing[:, i] & ~photometry.missing[:, j]
        for into, source in ((chosen.flux, photometry.flux), (chosen.error, photometry.error),
                             (chosen.limit, photometry.limit)):
            into[take, i] = source[take, j]
        flag[take] |= flags.ACS_AS_WFC3
    return chosen, flag


def encode_observations(observed: Observed, model: Model, noise: Noise) -> torch.Tensor:
    """Compute the network input for observed objects.

    Parameters
    ----------
    observed : Observed
        Photometry in double precision.
    model : Model
    noise : object of :mod:`clusterpost.noise`
        Noise model; if it is not the model's own, the network receives log-normal
        approximations of the measurements.

    Returns
    -------
    Tensor (n, n_condition)
        Conditions on the model's device.
    """
    flux, error, measured = observed.flux, observed.error, observed.measured
    if noise.name != model.metadata.simulator.noise:
        value, width, usable = noise.as_lognormal(flux, error)
        measured = measured & usable
        flux = torch.where(measured, torch.exp(value - width**2 / 2), 1.0)
        error = torch.where(measured, flux * torch.sqrt(torch.expm1(width**2)), 1.0)
    # Round last, so a change of unit, brightness, or distance changes the conditions only by rounding.
    return model.encode(replace(observed, flux=flux, error=error, measured=measured)).float().to(model.device)


def check_reach(ready: PreparedTable, model: Model, noise: Noise) -> None:
    """Flag rows outside the training range; drop those the network cannot process.

    Parameters
    ----------
    ready : PreparedTable
        Prepared table, modified in place.
    model, noise
        As for `encode_observations`.
    """
    errors, shown = model.metadata.simulator.errors, model.metadata.condition_range
    covered, computed = np.ones(len(ready.rows), bool), np.ones(len(ready.rows), bool)
    for at in torch.arange(len(ready.rows)).split(_ROWS_AT_ONCE):
        observed = ready.observed[at]
        relative = observed.error / observed.flux
        outside = (observed.measured & ((relative < errors.low) | (relative > errors.high))).any(dim=1).numpy()
        ready.flag[ready.rows[at.numpy()[outside]]] |= flags.ERROR_RANGE
        conditions = encode_observations(observed, model, noise).cpu()
        computed[at] = torch.isfinite(conditions).all(dim=1).numpy()
        if shown is not None:
            least, most = torch.tensor(shown.low), torch.tensor(shown.high)
            covered[at] = ((conditions >= least) & (conditions <= most)).all(dim=1).numpy()
    ready.flag[ready.rows[~computed]] |= flags.NUMBER_RANGE
    far = _outside_training(ready, model)
    ready.flag[ready.rows[far]] |= flags.DISTANCE_RANGE
    ready.flag[ready.rows[~covered & ~far]] |= flags.TRAINING_RANGE
    ready.keep(computed & covered & ~far)


def _outside_training(ready, model):
    """Find rows with a covariate that is a direct input of the network and outside its training range."""
    far = np.zeros(len(ready.rows), bool)
    for covariate in model.family.covariates:
        if covariate.name not in model.encoder.covariates:
            continue
        values = ready.observed.covariates[covariate.name].numpy()
        beyond = (values < covariate.low) | (values > covariate.high)
        fault = Fault(len(values))
        if beyond.any():
            first, unit = np.argmax(beyond), f" {covariate.unit}".rstrip()
            fault = Fault(len(values), int(beyond.sum()), int(ready.rows[first]), (
                f"{ready.sources[covariate.name]} gives {values[first]:g}{unit} in row {{row}}; the model {model.name} "
                f"supports {covariate.low:g} to {covariate.high:g}{unit}"), f"Check the unit of the {covariate.name}")
        faults = {**ready.findings.faults, f"{covariate.name} outside range": fault}
        ready.findings = replace(ready.findings, faults=faults)
        far |= beyond
    return far
