"""Model files: weights as safetensors, everything else as JSON, nothing pickled.

``<name>.safetensors`` holds the weights under names of our own and the golden
vectors; ``<name>.json``, the card, holds architecture, conditions, simulator,
training record and the weights' sha256.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..errors import ModelError
from ..utils import write_whole
from .conditions import read_encoder
from .network import build_flow, read_spec

__all__ = ["MODELS_PATH", "Model", "bundled_models", "list_models", "load_model", "save_model", "torch_device"]

#: Folder of the bundled models.
MODELS_PATH = Path(__file__).parent.parent / "models"
_FORMAT = 1
_N_GOLDEN = 8
# Another build of torch rounds sums elsewhere; twelve blocks of float32 stay well below this.
_GOLDEN_TOLERANCE = 2e-4


class Model:
    """A flow that is ready to use, with its card.

    Attributes
    ----------
    name : str
    flow : Flow
        In evaluation mode, on its device.
    card : dict
        What the JSON file says.
    """

    def __init__(self, name, flow, card):
        self.name, self.flow, self.card = name, flow, card
        self._encoder = read_encoder(card["conditions"])

    @property
    def bands(self):
        """The bands that the model takes, in order."""
        return tuple(self.card["simulator"]["bands"])

    @property
    def parameters(self):
        """Names of the parameters, in order."""
        return tuple(self.card["simulator"]["prior"]["names"])

    @property
    def device(self):
        """Where the weights are."""
        return self.flow.box.low.device

    @property
    def learned(self):
        """Names of the parameters that the flow draws, in order."""
        return tuple(self.card["learned"])

    def encode(self, flux, error, measured, distance):
        """Conditions of the network from fluxes and errors (mJy) and distances (Mpc).

        Parameters
        ----------
        flux, error : Tensor (n, n_band)
        measured : Tensor of bool (n, n_band)
        distance : Tensor (n,)

        Returns
        -------
        Tensor (n, n_condition)
        """
        return self._encoder(flux, error, measured, distance)


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
    tensors = {f"weights.{name}": value for name, value in flow.export().items()}
    tensors |= _golden_vectors(flow)
    data = save_tensors(tensors)
    card = {
        "format": _FORMAT,
        "name": stem.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "architecture": flow.spec.to_dict(),
        "n_weights": sum(p.numel() for p in flow.parameters()),
        **card,
    }
    write_whole(stem.parent / f"{stem.name}.safetensors", data)
    write_whole(stem.parent / f"{stem.name}.json", json.dumps(card, indent=1).encode())
    return card


def _golden_vectors(flow):
    generator = torch.Generator().manual_seed(20250801)
    z = flow.base(torch.rand(_N_GOLDEN, flow.spec.n_parameters, generator=generator))
    standard = torch.randn(_N_GOLDEN, flow.spec.n_conditions, generator=generator)
    conditions = standard * flow.standardize.scale.cpu() + flow.standardize.shift.cpu()
    with torch.inference_mode():
        theta, log_prob = flow.transform(z, conditions)
    return {"golden.z": z, "golden.conditions": conditions, "golden.theta": theta, "golden.log_prob": log_prob}


def load_model(name="default", *, device=None):
    """Load a bundled model or a user's own.

    Parameters
    ----------
    name : str or path
        Name of a bundled model, ``default``, or the path of a model file
        (either file of the pair, or without suffix).
    device : str, optional
        ``cpu`` or ``cuda``; by default `clusterpost.conf.device`.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If it is absent or damaged, or gives other numbers than it did when written.

    Examples
    --------
    >>> import clusterpost
    >>> clusterpost.load_model("walter2025").bands
    ('F275W', 'F336W', 'F438W', 'F555W', 'F814W')
    """
    from ..config import conf

    if isinstance(name, Model):
        return name
    if str(name) == "default":
        name = conf.default_model
    stem = _stem(name)
    try:
        card = json.loads((stem.parent / f"{stem.name}.json").read_text())
        data = (stem.parent / f"{stem.name}.safetensors").read_bytes()
    except ValueError as error:  # no JSON, or no text at all
        raise ModelError(f"{stem}.json is not valid JSON ({error}); get the file anew") from None
    if not isinstance(card, dict) or card.get("format") != _FORMAT:
        found = card.get("format") if isinstance(card, dict) else None
        raise ModelError(f"{stem}.json has format {found}; this version of clusterpost reads {_FORMAT}")
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise ModelError(f"{stem}.safetensors does not have the sha256 that its card states; get both files anew")
    device = torch_device(device)
    try:
        tensors = load_tensors(data)
        flow = build_flow(read_spec(card["architecture"]))
        flow.load_export({k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")})
        model = Model(stem.name, flow.requires_grad_(False).eval().to(device), card)
        worst = _golden_difference(flow, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{stem} is no model that this version of clusterpost can run "
                         f"({type(error).__name__}: {error}); get both files anew") from error
    if not worst < _GOLDEN_TOLERANCE:
        raise ModelError(f"{stem} gives other numbers here than when it was written (by {worst:.2g}, allowed "
                         f"{_GOLDEN_TOLERANCE:g}); the installed torch or FrEIA may be at fault: clusterpost check")
    return model


def _golden_difference(flow, tensors):
    """The largest one, in units of each parameter's range and of ten nats."""
    device = flow.box.low.device
    with torch.inference_mode():
        theta, log_prob = flow.transform(tensors["golden.z"].to(device), tensors["golden.conditions"].to(device))
    span = (flow.box.high - flow.box.low)
    differences = torch.cat([((theta - tensors["golden.theta"].to(device)) / span).flatten(),
                             (log_prob - tensors["golden.log_prob"].to(device)) / 10])
    return differences.abs().max().item()  # NaN where any of them is


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
        raise ModelError(f"device {name!r} was asked for, and torch sees no GPU; use device='cpu'")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ModelError(f"torch knows no device {name!r}; use 'cpu' or 'cuda'") from None


def _stem(name):
    bundled = MODELS_PATH / str(name)
    for stem in (bundled, Path(str(name).removesuffix(".json").removesuffix(".safetensors"))):
        if (stem.parent / f"{stem.name}.json").is_file() and (stem.parent / f"{stem.name}.safetensors").is_file():
            return stem
    raise ModelError(f"no model {str(name)!r}: bundled models are {', '.join(bundled_models())}; "
                     "a path names a .safetensors file that has its .json beside it")


def bundled_models():
    """Names of the bundled models.

    Returns
    -------
    list of str
    """
    return sorted(path.stem for path in MODELS_PATH.glob("*.json"))


def list_models():
    """The bundled models.

    Returns
    -------
    `~astropy.table.Table`
        Name, bands, noise model, weights, mocks seen in training, held-out
        NLL and hash.

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
            "bands": " ".join(card["simulator"]["bands"]),
            "noise": card["simulator"]["noise"],
            "n_weights": card["n_weights"],
            "mocks_seen": card["training"]["mocks_seen"],
            "test_nll": card["training"]["test_nll"],
            "sha256": card["sha256"][:12],
        })
    return Table(rows=rows, names=["name", "bands", "noise", "n_weights", "mocks_seen", "test_nll", "sha256"])
