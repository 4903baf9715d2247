"""Metadata of model files: the schema of a card, and the hash that identifies a model."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..errors import ModelError

__all__ = ["FREE_ENTRIES", "ModelMetadata", "certificate_of", "model_hash", "read_metadata"]

#: Entries of a card that do not change the results of the model, or that contain the hash.
FREE_ENTRIES = ("format", "name", "sha256", "n_weights", "training", "certificate", "recalibration")


def model_hash(card: dict, weights: dict) -> str:
    """Hash the weights of a model and all card entries that change its results.

    Parameters
    ----------
    card : dict
        Card; all entries except ``FREE_ENTRIES`` are covered.
    weights : dict of Tensor
        Weights by name, on the CPU.

    Returns
    -------
    str
        The sha256 in hexadecimal.  It does not depend on the layout of the weights in the file or on golden
        vectors.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.flow.metadata import model_hash
    >>> weights = {"bias": torch.zeros(2)}
    >>> reference = model_hash({"learned": ["x"]}, weights)
    >>> model_hash({"learned": ["x"], "name": "a"}, weights) == reference
    True
    >>> model_hash({"learned": ["y"]}, weights) == reference
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
    """Return the certificate of calibration in a card if it is for this model.

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


# Bounds of values in a card, far beyond any sensible model.  Memory is limited by the size of the weights file, with
# which `read_spec` and `load_model` compare sizes before they allocate memory.
_Name = Annotated[str, Meta(min_length=1, max_length=100)]
_Hash = Annotated[str, Meta(max_length=64)]
_Number = Annotated[float, Meta(ge=-1e30, le=1e30)]
_Count = Annotated[int, Meta(ge=0, le=2**40)]
_Index = Annotated[int, Meta(ge=0, lt=1000)]
_Slots = tuple[Annotated[tuple[_Index, ...], Meta(min_length=1, max_length=2)], ...]


class RangeMetadata(msgspec.Struct, frozen=True):
    """Lower and upper bounds of each condition.

    Attributes
    ----------
    low, high : tuple of float
    """

    low: tuple[_Number, ...]
    high: tuple[_Number, ...]


class ErrorsMetadata(msgspec.Struct, frozen=True):
    """Kind of relative errors in training, and their range.

    Attributes
    ----------
    kind : str
    low, high : float
    """

    kind: _Name
    low: Annotated[float, Meta(ge=0, le=1e6)]
    high: Annotated[float, Meta(ge=0, le=1e6)]


class CoverageMetadata(msgspec.Struct, frozen=True):
    """Choice of measured bands in training.

    Attributes
    ----------
    kind : str
    slots : tuple of tuple of int or None
        Indices of the bands in each slot, if not every band is always measured.
    sets : tuple or None
        Sets of bands of surveys; checked by the coverage.
    """

    kind: _Name
    slots: _Slots | None = None
    sets: tuple[Any, ...] | None = None


class FamilyMetadata(msgspec.Struct, frozen=True):
    """Model family and its options.

    Attributes
    ----------
    name : str
    version : int
    options : dict
        Checked by the family.
    """

    name: _Name
    version: Annotated[int, Meta(ge=1, le=10**6)]
    options: dict[str, Any]


class SimulatorMetadata(msgspec.Struct, frozen=True):
    """Simulator that a model was trained with.

    Attributes
    ----------
    noise : str
    errors : ErrorsMetadata
    coverage : CoverageMetadata
    family : FamilyMetadata or None
        None in files of version 0.1, whose simulator contains the options of fully sampled clusters.
    """

    noise: _Name
    errors: ErrorsMetadata
    coverage: CoverageMetadata
    family: FamilyMetadata | None = None


class StampMetadata(msgspec.Struct, frozen=True):
    """Hash of the model of a certificate or a recalibration.

    Attributes
    ----------
    sha256 : str
    """

    sha256: _Hash


class RecalibrationMetadata(msgspec.Struct, frozen=True):
    """Correction of quantiles; see `clusterpost.validation.recalibrate`.

    Attributes
    ----------
    sha256 : str
        Hash of the corrected model.
    refine : bool
        Whether it is for refined posteriors.
    levels : tuple of float
    shares : tuple of tuple of float
        Fraction of true values below the quantile of each level, for each parameter.
    """

    sha256: _Hash
    refine: bool
    levels: tuple[Annotated[float, Meta(ge=0, le=1)], ...]
    shares: tuple[tuple[Annotated[float, Meta(ge=0, le=1)], ...], ...]


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of the JSON of a model file, those used in computations checked.

    Attributes
    ----------
    format : int
        2, or 1 for files of version 0.1.
    name : str
    sha256 : str
        `model_hash`; in format 1 the hash of the weights file.
    architecture : dict
        Checked by `~clusterpost.flow.network.read_spec`.
    n_weights : int
    conditions : str or dict
        Encoder; checked by the family.
    learned : tuple of str
        Parameters drawn by the flow, in order.
    simulator : SimulatorMetadata
    training : dict
        Record of the training.
    n_samples : int
        Default number of draws.
    condition_range : RangeMetadata or None
        Range of the conditions in training; None for encoders with their own bounds.
    certificate : StampMetadata or None
    recalibration : RecalibrationMetadata or None
    card : dict
        All entries, as plain values.
    """

    format: Annotated[int, Meta(ge=1, le=2)]
    name: Annotated[str, Meta(max_length=255)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    architecture: dict[str, Any]
    n_weights: _Count
    conditions: _Name | dict[str, Any]
    learned: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=1000)]
    simulator: SimulatorMetadata
    training: dict[str, Any]
    n_samples: Annotated[int, Meta(ge=10, le=10**7)] = 1000
    condition_range: RangeMetadata | None = None
    certificate: StampMetadata | None = None
    recalibration: RecalibrationMetadata | None = None
    card: dict[str, Any] = {}


def read_metadata(text: bytes, where: str) -> ModelMetadata:
    """Parse a card and check it against the schema.

    Parameters
    ----------
    text : bytes
        JSON.
    where : str
        Name of the file, for messages.

    Returns
    -------
    ModelMetadata

    Raises
    ------
    ModelError
        If the text is not JSON, or an entry is missing, of the wrong type, or out of bounds.

    Examples
    --------
    >>> from clusterpost.flow.metadata import read_metadata
    >>> read_metadata(b'{"format": 3}', "mine.json")
    Traceback (most recent call last):
        ...
    clusterpost.errors.ModelError: mine.json has format 3; this version ...
    """
    try:
        card = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # malformed, not text, or nested too deeply
        raise ModelError(f"{where} is not valid JSON ({error}); get the file again") from None
    found = card.get("format") if isinstance(card, dict) else None
    if type(found) is not int or found not in (1, 2):
        raise ModelError(f"{where} has format {str(found)[:20]}; this version of clusterpost reads 1 and 2")
    try:
        return msgspec.structs.replace(msgspec.convert(card, ModelMetadata), card=card)
    except msgspec.ValidationError as error:
        raise ModelError(f"{where} is not a valid model card ({error}); get both files again") from None
