"""Model files: weights as safetensors, everything else as JSON, nothing pickled.

``<name>.safetensors`` holds the weights under names of our own and the golden
vectors; ``<name>.json``, the card, holds architecture, conditions, simulator,
training record and the model's hash, which covers the weights and all in the card
that changes numbers.  A certificate of calibration is added to the card later
(`clusterpost.validation.certificate`); it names the hash of the model that it is of.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import warnings
from pathlib import Path

import msgspec
import torch
from astropy.table import Table
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..errors import InputError, ModelError, UncertifiedModelWarning
from ..families import family_names, family_of_simulator, get_family
from ..typing import ModelLike
from ..utils import write_whole
from .golden import check_golden_vectors, golden_vectors
from .metadata import certificate_of, model_hash, read_metadata
from .network import build_flow, read_spec

__all__ = ["MODELS_PATH", "Model", "bundled_models", "find_family", "halve_model", "list_models", "load_model",
           "model_stem", "rewrite_model", "save_certificate", "save_model", "torch_device", "update_card"]

#: Folder of the bundled models.
MODELS_PATH = Path(__file__).parent.parent / "models"
_FORMAT = 2
_WITHOUT_COVERED_CARD = 1  # version 0.1: the hash is one of the weights' file alone
_LARGEST_CARD, _LARGEST_WEIGHTS = 2**24, 2**31  # bytes
_LARGE_TENSOR = 1024  # numbers
_LONGEST = 300  # letters of a message about what a file holds
_warned = set()  # files that were loaded without a certificate


class Model:
    """A flow that is ready to use, with its card.

    Attributes
    ----------
    name : str
    flow : Flow
        In evaluation mode, on its device.
    card : dict
        All entries of the JSON file, with the model's hash as ``sha256``.
    metadata : ModelMetadata
        The entries that numbers are computed from, checked against the schema.
    """

    def __init__(self, name, flow, card, metadata):
        self.name, self.flow, self.card, self.metadata = name, flow, card, metadata

    def __repr__(self):
        return (f"<Model {self.name!r}: {', '.join(self.parameters)} from {len(self.bands)} bands, "
                f"{self.metadata.n_weights:,} weights, {self.card['sha256'][:12]}, on {self.device}>")

    def check(self):
        """Check that network, encoder and family belong together.

        Raises
        ------
        ModelError
            If they do not.
        """
        spec, prior, n_bands = self.flow.spec, self.family.prior, len(self.bands)
        size = self.encoder.size(n_bands)
        if size != spec.n_conditions:
            raise ModelError(f"the encoder gives {size} conditions and the network takes {spec.n_conditions}")
        if len(set(self.learned)) != spec.n_parameters or not set(self.learned) <= set(self.parameters):
            raise ModelError(f"the network draws {spec.n_parameters} parameters, and the card states "
                             f"{', '.join(self.learned)} of {', '.join(self.parameters)}")
        if tuple(prior.names) != self.parameters:
            raise ModelError("the prior is not one of the family's parameters")
        at = [self.parameters.index(name) for name in self.learned]
        for mine, other in ((spec.low, prior.low), (spec.high, prior.high)):
            if not torch.equal(torch.tensor(mine), other[at].cpu().float()):
                raise ModelError("the bounds of the network are not those of the prior")
        if len(set(self.bands)) < n_bands:
            raise ModelError(f"a band is named twice: {', '.join(self.bands)}")
        slots = [*(self.metadata.simulator.coverage.slots or ()), *getattr(self.encoder, "slots", ())]
        if not all(isinstance(index, int) and 0 <= index < n_bands for slot in slots for index in slot):
            raise ModelError(f"a slot holds a band that is none of the {n_bands}")
        for known in self.family.covariates:
            if not all(isinstance(end, int | float) for end in (known.low, known.high)) or known.low > known.high:
                raise ModelError(f"the range of the {known.name} is none")
        limits = self.metadata.condition_range
        if limits is not None and not len(limits.low) == len(limits.high) == size:
            raise ModelError(f"the range of the conditions has not {size} lower and upper ends")

    @functools.cached_property
    def family(self):
        """Model family that it was trained for, on its device."""
        return family_of_simulator(self.card["simulator"]).to(self.device)

    @functools.cached_property
    def encoder(self):
        """Encoder that makes conditions of observations."""
        return self.family.read_encoder(self.card["conditions"])

    @property
    def bands(self):
        """The bands that the model takes, in order."""
        return self.family.band_names

    @property
    def filter_groups(self):
        """Bands that stand in for each other, by index: one of each group is enough."""
        return tuple(tuple(group) for group in self.card["simulator"]["coverage"].get(
            "slots", [[i] for i in range(len(self.bands))]))

    @property
    def min_bands(self):
        """Groups of bands that must be measured: the family's, or all for a network trained with every band."""
        return self.family.min_bands if "slots" in self.card["simulator"]["coverage"] else len(self.filter_groups)

    @property
    def takes_sets(self):
        """Whether it was trained with several sets of bands, so that a table need not have every band."""
        return "sets" in self.card["simulator"]["coverage"]

    @property
    def parameters(self):
        """Names of the parameters, in order."""
        return self.family.parameter_names

    @property
    def device(self):
        """Where the weights are."""
        return self.flow.box.low.device

    def to(self, device):
        """Return the model on a device: itself if it is there.

        Parameters
        ----------
        device : str or torch.device

        Returns
        -------
        Model

        Raises
        ------
        ModelError
            If torch knows no such device, or sees none.
        """
        device = torch.empty(0, device=torch_device(device)).device  # with its number
        if device == self.device:
            return self
        flow = build_flow(self.flow.spec)
        flow.load_export(self.flow.export())
        return Model(self.name, flow.requires_grad_(False).eval().to(device), self.card, self.metadata)

    @property
    def learned(self):
        """Names of the parameters that the flow draws, in order."""
        return tuple(self.card["learned"])

    def encode(self, observed):
        """Compute the conditions of the network.

        Parameters
        ----------
        observed : Observed

        Returns
        -------
        Tensor (n, n_condition)
        """
        return self.encoder(observed)


def save_model(stem, flow, card):
    """Write a model file pair.

    Parameters
    ----------
    stem : path
        Path without suffix; its last part is the model's name.
    flow : Flow
    card : dict
        With ``conditions`` (the encoder), ``learned``, ``simulator`` and
        ``training``; architecture, hash and golden vectors are added.

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
    card = msgspec.json.decode(msgspec.json.encode(card))  # as it will be read: lists for tuples, null for NaN
    card["sha256"] = model_hash(card, weights)
    write_whole(stem.parent / f"{stem.name}.safetensors", save_tensors(tensors))
    write_whole(stem.parent / f"{stem.name}.json", json.dumps(card, indent=1, allow_nan=False).encode())
    return card


def _as_small(values):
    """Store large tensors in half precision where that loses nothing."""
    half = values.half()
    return half if values.numel() >= _LARGE_TENSOR and torch.equal(half.to(values), values) else values


def halve_model(name):
    """Round a model's weights to half precision and write it anew, half as large.

    Parameters
    ----------
    name : str or path
        As for `load_model`.

    Returns
    -------
    dict
        The card as written, without a certificate: it is another model.

    Notes
    -----
    Weights change by 0.05 percent at most.  Draws that are refined remain exact; the network's own are to be tested.
    """
    stem = model_stem(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncertifiedModelWarning)
        model = load_model(stem, device="cpu")
    for weights in model.flow.parameters():
        weights.copy_(weights.half())
    return save_model(stem, model.flow, {key: value for key, value in _read_card(stem).items()
                                         if key not in ("format", "name", "sha256", "certificate", "recalibration")})


def rewrite_model(name):
    """Write a model file anew in the current format, with the same weights and fresh golden vectors.

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
    A certificate and a recalibration of the file's own weights stay valid.  In files of version 0.1 they do not
    cover the card: whoever rewrites such a file vouches for it.
    """
    stem = model_stem(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncertifiedModelWarning)
        model = load_model(stem, device="cpu")
    written = _read_card(stem)
    own = {key for key in ("certificate", "recalibration") if written.get(key, {}).get("sha256") == written["sha256"]}
    save_model(stem, model.flow, {key: value for key, value in written.items()
                                  if key not in ("format", "name", "sha256", "certificate", "recalibration")})
    new = _read_card(stem)
    return update_card(stem, **{key: {**written[key], "sha256": new["sha256"]} for key in sorted(own)})


def update_card(name, **entries):
    """Put entries into a model's card that name the model's hash; all else in it stays as it is.

    Parameters
    ----------
    name : str or path
        As for `load_model`.
    **entries : dict
        ``certificate`` or ``recalibration``, with the ``sha256`` of the model that each is of.

    Returns
    -------
    dict
        The card as written.

    Raises
    ------
    ModelError
        If one is of another model than the file's.
    """
    stem = model_stem(name)
    if _read_card(stem)["format"] == _WITHOUT_COVERED_CARD:
        rewrite_model(stem)
    card = _read_card(stem)
    for key, entry in entries.items():
        if entry["sha256"] != card["sha256"]:
            raise ModelError(f"the {key} is of another model (sha256 {entry['sha256'][:12]}) than {stem}.json is "
                             f"({card['sha256'][:12]}): other weights, or another card; make it anew")
    card |= entries
    write_whole(stem.parent / f"{stem.name}.json", json.dumps(card, indent=1).encode())
    return card


def save_certificate(name, certificate):
    """Put a certificate of calibration into a model's card; all else in it stays as it is.

    Parameters
    ----------
    name : str or path
        As for `load_model`.
    certificate : dict
        From `clusterpost.validation.certificate.certify`.

    Raises
    ------
    ModelError
        If it is of another model than the file's.
    """
    update_card(name, certificate=certificate)


def _warn_uncertified(stem, card):
    key = (stem.resolve(), card["sha256"])
    if certificate_of(card) is not None or key in _warned:
        return
    _warned.add(key)
    what = "has no certificate"
    if "certificate" in card:
        what = ("has a certificate of its weights alone, as files of version 0.1 do"
                if card["format"] == _WITHOUT_COVERED_CARD else "has a certificate of another model")
    warnings.warn(f"model {stem.name} {what}: how well its posteriors are calibrated was never measured; do it with: "
                  f"clusterpost validate {stem.name if stem.parent == MODELS_PATH else stem} -o certificate --certify",
                  UncertifiedModelWarning, stacklevel=3)


def load_model(name: ModelLike = "default", *, device: str | None = None) -> Model:
    """Load a bundled model or a user's own.

    Parameters
    ----------
    name : str, path or Model
        Name of a bundled model, ``default``, or the path of a model file
        (either file of the pair, or without suffix).  A model is returned as it is, or moved to ``device``.
    device : str, optional
        ``cpu`` or ``cuda``; by default `clusterpost.conf.device`.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If it is absent or damaged, or gives other numbers than it did when written.

    Warns
    -----
    PlatformWarning
        If single precision gives slightly other numbers on this processor, or with this torch, than is usual.
    UncertifiedModelWarning
        If its card has no certificate of calibration, or one of another model; once for each file and process.

    Examples
    --------
    >>> import clusterpost
    >>> clusterpost.load_model("walter2025").bands
    ('F275W', 'F336W', 'F438W', 'F555W', 'F814W')
    """
    if isinstance(name, Model):
        return name if device is None else name.to(device)
    stem = model_stem(name)
    card, metadata = read_metadata(_bounded_bytes(f"{stem}.json", _LARGEST_CARD), f"{stem}.json")
    data = _bounded_bytes(f"{stem}.safetensors", _LARGEST_WEIGHTS)
    device = torch_device(device)
    try:
        tensors = load_tensors(data)
        weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
        found = model_hash(card, weights)
        stated = hashlib.sha256(data).hexdigest() if metadata.format == _WITHOUT_COVERED_CARD else found
        if stated != metadata.sha256:
            raise ModelError("the files do not have the sha256 that the card states: the weights or the card are not "
                             "as they were written; get both files anew")
        spec = read_spec(metadata.architecture)
        _check_sizes(spec, weights, metadata)
        flow = build_flow(spec)
        flow.load_export(weights)
        model = Model(stem.name, flow.requires_grad_(False).eval().to(device), {**card, "sha256": found},
                      msgspec.structs.replace(metadata, sha256=found))
        model.check()
        check_golden_vectors(flow, tensors, str(stem))
    except InputError as error:
        raise ModelError(f"{stem}: {error.unworded[:_LONGEST]}") from error
    except ImportError:  # of an optional package that this kind of flow needs
        raise
    except Exception as error:  # whatever a file from elsewhere holds, it is one kind of error that it stops with
        raise ModelError(f"{stem} is no model that this version of clusterpost can run "
                         f"({type(error).__name__}: {str(error)[:_LONGEST]}); get both files anew") from error
    _warn_uncertified(stem, model.card)
    return model


def _bounded_bytes(path, largest):
    with open(path, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ModelError(f"{path} is larger than {largest:,} bytes, more than a model of clusterpost takes")
    return data


def _check_sizes(spec, weights, metadata):
    """Compare the sizes that a card states with the weights, before anything of these sizes is allocated."""
    wanted, there = spec.count_weights(), sum(value.numel() for value in weights.values())
    if not wanted == metadata.n_weights <= there:
        raise ModelError(f"the architecture has {wanted:,} weights, the card states {metadata.n_weights:,} and the "
                         f"file holds {there:,} numbers; get both files anew")


def _read_card(stem):
    return read_metadata(_bounded_bytes(f"{stem}.json", _LARGEST_CARD), f"{stem}.json")[0]


def find_family(name="default"):
    """Return the family of a model, or one that is named itself.

    Parameters
    ----------
    name : str, path or Model
        As for `load_model`, or the name of a family, which is then made with its default options.

    Returns
    -------
    ModelFamily

    Raises
    ------
    ModelError
        If there is neither.

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


def torch_device(name=None):
    """Where to compute.

    Parameters
    ----------
    name : str, optional
        ``cpu``, ``cuda`` or ``auto``; by default `clusterpost.conf.device`.

    Returns
    -------
    str or `torch.device`

    Raises
    ------
    ModelError
        If torch knows no such device, or sees none.
    """
    from ..config import conf

    name = name or conf.device
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if str(name).startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device {name!r} was asked for, and torch sees no GPU; use option:device='cpu'")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ModelError(f"torch knows no device {name!r}; use 'cpu' or 'cuda'") from None


def model_stem(name="default"):
    """Path of a model's files without suffix.

    Parameters
    ----------
    name : str or path
        As for `load_model`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ModelError
        If there are no such files.

    Examples
    --------
    >>> from clusterpost.flow.modelfile import model_stem
    >>> model_stem("walter2025").name
    'walter2025'
    """
    from ..config import conf

    name = str(conf.default_model if str(name) == "default" else name)
    for stem in (MODELS_PATH / name, Path(name.removesuffix(".json").removesuffix(".safetensors"))):
        with contextlib.suppress(OSError, ValueError):  # names that no file can have
            if all((stem.parent / f"{stem.name}.{suffix}").is_file() for suffix in ("json", "safetensors")):
                return stem
    raise ModelError(f"no model {name[:200]!r}: bundled models are {', '.join(bundled_models())}; "
                     "a path names a .safetensors file that has its .json beside it")


def bundled_models():
    """Names of the bundled models.

    Returns
    -------
    list of str
    """
    return sorted(path.stem for path in MODELS_PATH.glob("*.json"))


def list_models() -> Table:
    """List the bundled models.

    Returns
    -------
    `~astropy.table.Table`
        ``name``, ``bands``, ``noise`` model, ``learned`` parameters, ``n_weights``, ``mocks_seen`` in training,
        ``test_nll`` (nat, on held-out mocks of the model's own simulator), ``certificate`` (mocks and date of the
        calibration test, ``none``, or ``of another model``), ``max_difference`` (largest difference of the rank ECDF
        from uniform in that test, of the posteriors that `~clusterpost.infer_table` gives; NaN without one) and the
        hash.  Test NLLs of models that learned other parameters, or from another simulator, do not compare.

    Examples
    --------
    >>> import clusterpost
    >>> "walter2025" in clusterpost.list_models()["name"]
    True
    """
    from astropy.table import Table

    rows = []
    for name in bundled_models():
        card = json.loads((MODELS_PATH / f"{name}.json").read_text())
        rows.append({
            "name": name,
            "bands": " ".join(family_of_simulator(card["simulator"]).band_names),
            "noise": card["simulator"]["noise"],
            "learned": " ".join(card["learned"]),
            "n_weights": card["n_weights"],
            "mocks_seen": card["training"]["mocks_seen"],
            "test_nll": card["training"]["test_nll"],
            **_certified(card),
            "sha256": card["sha256"][:12],
        })
    table = Table(rows=rows)
    table["test_nll"].description = ("nat; compares only between models of the same learned parameters and the same "
                                     "simulator")
    table["max_difference"].description = "largest |rank ECDF - uniform| of T1 to T6"
    for column in ("test_nll", "max_difference"):
        table[column].info.format = ".4f"
    return table


def _certified(card):
    certificate = certificate_of(card)
    if certificate is None:
        return {"certificate": "of another model" if "certificate" in card else "none", "max_difference": float("nan")}
    tested = certificate["posteriors"]
    sizes = " and ".join(dict.fromkeys(f"{record['n_mocks']:,}" for record in tested.values()))
    return {"certificate": f"{sizes} mocks, {certificate['date']}",
            "max_difference": tested.get("refined", tested.get("network"))["max_difference"]}
