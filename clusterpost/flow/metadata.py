"""Metadata of model files: what a card holds, and the hash that identifies a model."""

from __future__ import annotations

import hashlib
import json

__all__ = ["FREE_ENTRIES", "certificate_of", "model_hash"]

#: Entries of a card that change no number which the model gives, or that name the hash themselves.
FREE_ENTRIES = ("format", "name", "sha256", "n_weights", "training", "certificate", "recalibration")


def model_hash(card: dict, weights: dict) -> str:
    """Hash the weights of a model and every entry of its card that changes what it computes.

    Parameters
    ----------
    card : dict
        Its entries but for `FREE_ENTRIES` are covered.
    weights : dict of Tensor
        By name; on the CPU.

    Returns
    -------
    str
        The sha256, in hexadecimal.  It is the same however the file lays out the weights, and for any golden
        vectors.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.flow.metadata import model_hash
    >>> weights = {"bias": torch.zeros(2)}
    >>> model_hash({"learned": ["x"], "name": "a"}, weights) == model_hash({"learned": ["x"]}, weights)
    True
    >>> model_hash({"learned": ["x"]}, weights) == model_hash({"learned": ["y"]}, weights)
    False
    """
    covered = {key: value for key, value in card.items() if key not in FREE_ENTRIES}
    digest = hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(weights):
        value = weights[name].contiguous()
        digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def certificate_of(card: dict) -> dict | None:
    """Return the certificate of calibration in a card, if it is one of this very model.

    Parameters
    ----------
    card : dict

    Returns
    -------
    dict or None

    Examples
    --------
    >>> from clusterpost.flow.metadata import certificate_of
    >>> certificate_of({"sha256": "b", "certificate": {"sha256": "a"}}) is None
    True
    """
    certificate = card.get("certificate")
    return certificate if isinstance(certificate, dict) and certificate.get("sha256") == card.get("sha256") else None
