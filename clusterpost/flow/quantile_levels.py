"""Levels at which a recalibrated model's quantiles are taken, from its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["corrected_levels"]


def corrected_levels(card: dict, levels: np.ndarray | Sequence[float], *, refine: bool | None = None) -> np.ndarray:
    """Return the levels at which a posterior's quantiles are the wanted ones after correction.

    Parameters
    ----------
    card : dict
        Of a model, with a recalibration that `Recalibration.save` wrote.
    levels : sequence of float
        Of the wanted quantiles, from 0 to 1.
    refine : bool, optional
        Whether the posteriors are refined; checked against what the correction was learned for, if given.

    Returns
    -------
    ndarray (n_parameter, n_level)
        In the order of the parameters; increasing wherever ``levels`` are.

    Raises
    ------
    ModelError
        If the card has no recalibration, or one of another model, or of the other kind of posterior.
    InputError
        If a level is not between 0 and 1.

    Examples
    --------
    A posterior that is too narrow, of a model of one parameter:

    >>> from clusterpost.flow.quantile_levels import corrected_levels
    >>> record = {"parameters": ["x"], "levels": [0, 0.16, 0.5, 0.84, 1], "shares": [[0, 0.25, 0.5, 0.75, 1]],
    ...           "sha256": "c0ffee", "refine": True}
    >>> corrected_levels({"sha256": "c0ffee", "recalibration": record}, [0.25, 0.5, 0.75])
    array([[0.16, 0.5 , 0.84]])
    """
    record = card.get("recalibration")
    if record is None:
        raise ModelError(f"model {card.get('name')} has no recalibration; learn and save one with "
                         "clusterpost.validation.recalibrate")
    if record["sha256"] != card["sha256"]:
        raise ModelError(f"the recalibration is of another model (sha256 {record['sha256'][:12]}) than "
                         f"{card.get('name')} is ({card['sha256'][:12]}); learn it anew")
    if refine is not None and refine != record["refine"]:
        of, other = ("refined posteriors", "the network alone")[:: 1 if record["refine"] else -1]
        raise ModelError(f"the recalibration of model {card.get('name')} is one of {of} and does not hold for {other}; "
                         f"use option:refine={record['refine']}, or learn another")
    levels = np.asarray(levels, dtype=float)
    if not ((levels >= 0) & (levels <= 1)).all():
        raise InputError(f"levels of quantiles lie between 0 and 1, not {levels.tolist()}")
    return np.stack([np.interp(levels, shares, record["levels"]) for shares in record["shares"]])
