"""Model files: weights as safetensors, everything else as JSON, nothing pickled.

``<name>.safetensors`` contains the weights under our own names and the golden
vectors; ``<name>.json``, the card, contains architecture, conditions, simulator,
training record, and the model's hash, which covers the weights and all card entries
that change results.  A certificate of calibration is added to the card later
(`clusterpost.validation.certificate`); it contains the hash of its model.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..errors import InputError, ModelError, UncertifiedModelWarning
from ..families import family_names, family_of_simulator, get_family
from ..typing import ModelLike
from ..utils import write_whole
from .bundled import MODELS_PATH, model_stem
from .golden import check_golden_vectors, golden_vectors
from .metadata import certificate_of, model_hash, read_metadata
from .model import Model, torch_device
from .network import build_flow, read_spec

if TYPE_CHECKING:
    from typing import Any

    from ..families.base import ModelFamily
    from ..typing import PathLike
    from .base import Flow

__all__ = ["find_family", "halve_model", "load_model", "rewrite_model", "save_certificate", "save_model", "update_card"]

_FORMAT = 2
_WITHOUT_COVERED_CARD = 1  # version 0.1: the hash covers only the weights file
_LARGEST_CARD, _LARGEST_WEIGHTS = 2**24, 2**31  # bytes
_LARGE_TENSOR = 1024  # numbers
_LONGEST = 300  # characters of a message about the content of a file
_warned = set()  # files that were loaded without a certificate


def save_model(stem: PathLike, flow: Flow, card: dict) -> dict:
    """Write a model file pair.

    Parameters
    ----------
    stem : path
        Path without suffix; its last part is the model's name.
    flow : Flow
    card : dict
        Card with ``conditions`` (the encoder), ``learned``, ``simulator``, and
        ``training``; architecture, hash, and golden vectors are added.

    Returns
    -------
    dict
        The card as written.
    """
    stem = Path(stem)
    flow = flow.cpu().eval()
    weights = {name: _as_small(value) for name, value in flow.export().items()}
    tensors = {f"weights.{name}": value for name, value in weights.items()} | golden_vectors(flow)
    card = {
        "format": _FORMAT,
        "name": stem.name,
        "sha256": "",
        "architecture": flow.spec.to_dict(),
        "n_weights": sum(p.numel() for p in flow.parameters()),
        **card,
    }
    card = msgspec.json.decode(msgspec.json.encode(card))  # as in the file: lists for tuples, null for NaN
    card["sha256"] = model_hash(card, weights)
    write_whole(stem.parent / f"{stem.name}.safetensors", save_tensors(tensors))
    write_whole(stem.parent / f"{stem.name}.json", json.dumps(card, indent=1, allow_nan=False).encode())
    return card


def _as_small(values):
    """Store large tensors in half precision if this is lossless."""
    half = values.half()
    return half if values.numel() >= _LARGE_TENSOR and torch.equal(half.to(values), values) else values


def halve_model(name: Path) -> dict:
    """Round a model's weights to half precision and rewrite its file, at half the size.

    Parameters
    ----------
    name : str or path
        As for `load_model`.

    Returns
    -------
    dict
        The card as written, without a certificate because the model has changed.

    Notes
    -----
    Weights change by at most 0.05 percent.  Refined draws remain exact; test the calibration of the network.
    """
    return _write_anew(model_stem(name), torch.Tensor.half)


def _write_anew(stem, change=None):
    """Rewrite a file with given weights and its card, without entries for the old model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncertifiedModelWarning)
        model = load_model(stem, device="cpu")
    for weights in model.flow.parameters() if change else ():
        weights.copy_(change(weights))
    return save_model(stem, model.flow, {key: value for key, value in _read_card(stem).items()
                                         if key not in ("format", "name", "sha256", "certificate", "recalibration")})


def rewrite_model(name: Path) -> dict:
    """Rewrite a model file in the current format, with the same weights and new golden vectors.

    Parameters
    ----------
    name : str or path
        As for `load_model`.

    Returns
    -------
    dict
        The card as written.

    Notes
    -----
    A certificate and a recalibration of the file's own weights remain valid.  In files of version 0.1 they do not
    cover the card; the user who rewrites such a file is responsible for it.
    """
    stem = model_stem(name)
    written = _read_card(stem)
    own = {key for key in ("certificate", "recalibration") if written.get(key, {}).get("sha256") == written["sha256"]}
    sha256 = _write_anew(stem)["sha256"]
    return update_card(stem, **{key: {**written[key], "sha256": sha256} for key in sorted(own)})


def update_card(name: Path, **entries: Any) -> dict:
    """Add entries with the model's hash to its card, and keep everything else.

    Parameters
    ----------
    name : str or path
        As for `load_model`.
    **entries : dict
        ``certificate`` or ``recalibration``, each with the ``sha256`` of its model.

    Returns
    -------
    dict
        The card as written.

    Raises
    ------
    ModelError
        If an entry is for another model.
    """
    stem = model_stem(name)
    if _read_card(stem)["format"] == _WITHOUT_COVERED_CARD:
        rewrite_model(stem)
    card = _read_card(stem)
    for key, entry in entries.items():
        if entry["sha256"] != card["sha256"]:
            raise ModelError(f"the {key} is for another model (sha256 {entry['sha256'][:12]}) than {stem}.json "
                             f"({card['sha256'][:12]}), with other weights or another card; make a new one")
    card |= entries
    write_whole(stem.parent / f"{stem.name}.json", json.dumps(card, indent=1).encode())
    return card


def save_certificate(name: Path, certificate: dict) -> None:
    """Write a certificate of calibration into a model's card, and keep everything else.

    Parameters
    ----------
    name : str or path
        As for `load_model`.
    certificate : dict
        Output of `clusterpost.validation.certificate.certify`.

    Raises
    ------
    ModelError
        If the certificate is for another model.
    """
    update_card(name, certificate=certificate)


def _warn_uncertified(stem, card):
    key = (stem.resolve(), card["sha256"])
    if certificate_of(card) is not None or key in _warned:
        return
    _warned.add(key)
    what = "has no certificate"
    if "certificate" in card:
        what = ("has a certificate that covers only its weights, as in files of version 0.1"
                if card["format"] == _WITHOUT_COVERED_CARD else "has a certificate of another model")
    warnings.warn(f"model {stem.name} {what}: the calibration of its posteriors was not measured; measure it with: "
                  f"clusterpost validate {stem.name if stem.parent == MODELS_PATH else stem} -o certificate --certify",
                  UncertifiedModelWarning, stacklevel=3)


def load_model(name: ModelLike = "default", *, device: str | None = None) -> Model:
    """Load a bundled model or a model file.

    Parameters
    ----------
    name : str, path or Model
        Name of a bundled model, ``default``, or the path of a model file
        (either file of the pair, or without suffix).  A loaded model is returned, moved to ``device`` if given.
    device : str, optional
        ``cpu`` or ``cuda``; by default `clusterpost.conf.device`.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If the file is missing or damaged, or gives different results than when it was written.

    Warns
    -----
    PlatformWarning
        If single-precision results on this processor or torch version differ more than usual.
    UncertifiedModelWarning
        If the card has no certificate of calibration for this model; issued once per file and process.

    Examples
    --------
    >>> import clusterpost
    >>> clusterpost.load_model("walter2025").bands
    ('F275W', 'F336W', 'F438W', 'F555W', 'F814W')
    """
    if isinstance(name, Model):
        return name if device is None else name.to(device)
    stem = model_stem(name)
    metadata = read_metadata(_bounded_bytes(f"{stem}.json", _LARGEST_CARD), f"{stem}.json")
    data = _bounded_bytes(f"{stem}.safetensors", _LARGEST_WEIGHTS)
    device = torch_device(device)
    try:
        tensors = load_tensors(data)
        weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
        found = model_hash(metadata.card, weights)
        stated = hashlib.sha256(data).hexdigest() if metadata.format == _WITHOUT_COVERED_CARD else found
        if stated != metadata.sha256:
            raise ModelError("the sha256 of the files does not match the card: the weights or the card were "
                             "modified; get both files again")
        spec = read_spec(metadata.architecture)
        _check_sizes(spec, weights, metadata)
        flow = build_flow(spec)
        flow.load_export(weights)
        model = Model(stem.name, flow.requires_grad_(False).eval().to(device),
                      msgspec.structs.replace(metadata, sha256=found, card={**metadata.card, "sha256": found}))
        model.check()
        check_golden_vectors(flow, tensors, str(stem))
    except InputError as error:
        raise ModelError(f"{stem}: {error.unworded[:_LONGEST]}") from error
    except ImportError:  # an optional package for this kind of flow is missing
        raise
    except Exception as error:  # convert any error from the content of a foreign file to one type
        raise ModelError(f"{stem} is not a model that this version of clusterpost can run "
                         f"({type(error).__name__}: {str(error)[:_LONGEST]}); get both files again") from error
    _warn_uncertified(stem, model.card)
    return model


def _bounded_bytes(path, largest):
    with open(path, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ModelError(f"{path} is larger than {largest:,} bytes, the maximum for a clusterpost model")
    return data


def _check_sizes(spec, weights, metadata):
    """Compare the sizes in a card with the weights before allocating memory."""
    wanted, there = spec.count_weights(), sum(value.numel() for value in weights.values())
    if not wanted == metadata.n_weights <= there:
        raise ModelError(f"the architecture has {wanted:,} weights, but the card states {metadata.n_weights:,} and the "
                         f"file contains {there:,} numbers; get both files again")


def _read_card(stem):
    return read_metadata(_bounded_bytes(f"{stem}.json", _LARGEST_CARD), f"{stem}.json").card


def find_family(name: PathLike = "default") -> ModelFamily:
    """Return the family of a model, or a family by name.

    Parameters
    ----------
    name : str, path or Model
        As for `load_model`, or the name of a family, which has default options.

    Returns
    -------
    ModelFamily

    Raises
    ------
    ModelError
        If there is no such model or family.

    Examples
    --------
    >>> from clusterpost.flow.modelfile import find_family
    >>> find_family("clusters").name
    'clusters'
    """
    if isinstance(name, Model):
        return name.family
    if str(name) in family_names():
        return get_family(str(name))()
    return family_of_simulator(_read_card(model_stem(name))["simulator"])
