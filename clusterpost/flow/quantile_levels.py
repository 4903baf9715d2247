"""Corrected quantile levels of a recalibrated model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["corrected_levels"]


def corrected_levels(card: dict, levels: np.ndarray | Sequence[float], *, refine: bool | None = None) -> np.ndarray:
    """Return the levels of a posterior's quantiles that are the requested ones after correction.

    Parameters
    ----------
    card : dict
        Card of a model with a recalibration from `Recalibration.save`.
    levels : sequence of float
        Requested quantiles, from 0 to 1.
    refine : bool, optional
        Whether the posteriors are refined; if given, it must match the correction.

    Returns
    -------
    ndarray (n_parameter, n_level)
        Levels in the order of the parameters; increasing if ``levels`` are.

    Raises
    ------
    ModelError
        If the card has no recalibration, or one for another model or kind of posterior.
    InputError
        If a level is not between 0 and 1.

    Examples
    --------
    A posterior that is too narrow, of a model of one parameter:

    >>> from clusterpost.flow.quantile_levels import corrected_levels
    >>> record = {"parameters": ["x"], "levels": [0, 0.16, 0.5, 0.84, 1],
    ...           "shares": [[0, 0.25, 0.5, 0.75, 1]],
    ...           "sha256": "c0ffee", "refine": True}
    >>> corrected_levels({"sha256": "c0ffee", "recalibration": record},
    ...                  [0.25, 0.5, 0.75])
    array([[0.16, 0.5 , 0.84]])
    """
    record = card.get("recalibration")
    if record is None:
        raise ModelError(f"model {card.get('name')} has no recalibration; make and save one with "
                         "clusterpost.validation.recalibrate")
    if record["sha256"] != card["sha256"]:
        raise ModelError(f"the recalibration is for another model (sha256 {record['sha256'][:12]}) than "
                         f"{card.get('name')} ({card['sha256'][:12]}); make a new one")
    if refine is not None and refine != record["refine"]:
        of, other = ("refined posteriors", "the network alone")[:: 1 if record["refine"] else -1]
        raise ModelError(f"the recalibration of model {card.get('name')} is for {of}, not for {other}; "
                         f"use option:refine={record['refine']}, or make another")
    levels = np.asarray(levels, dtype=float)
    if not ((levels >= 0) & (levels <= 1)).all():
        raise InputError(f"quantile levels must be between 0 and 1, not {levels.tolist()}")
    return np.stack([np.interp(levels, shares, record["levels"]) for shares in record["shares"]])
