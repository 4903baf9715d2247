"""Locations of model files: bundled models by name, others by path."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.table import Table

from ..config import conf
from ..errors import ModelError
from ..families import family_of_simulator
from .metadata import certificate_of

if TYPE_CHECKING:
    from ..typing import PathLike

__all__ = ["MODELS_PATH", "bundled_models", "list_models", "model_stem"]

#: Folder of the bundled models.
MODELS_PATH = Path(__file__).parent.parent / "models"


def model_stem(name: PathLike | None = "default") -> PathLike:
    """Return the path of a model's files without suffix.

    Parameters
    ----------
    name : str or path
        As for `~clusterpost.load_model`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ModelError
        If the files do not exist.

    Examples
    --------
    >>> from clusterpost.flow.bundled import model_stem
    >>> model_stem("walter2025").name
    'walter2025'
    """
    name = str(conf.default_model if str(name) == "default" else name)
    for stem in (MODELS_PATH / name, Path(name.removesuffix(".json").removesuffix(".safetensors"))):
        with contextlib.suppress(OSError, ValueError):  # names that are not valid for files
            if all((stem.parent / f"{stem.name}.{suffix}").is_file() for suffix in ("json", "safetensors")):
                return stem
    raise ModelError(f"no model {name[:200]!r}: bundled models are {', '.join(bundled_models())}; "
                     "a path must be a .safetensors file with its .json next to it")


def bundled_models() -> list[str]:
    """Return the names of the bundled models.

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
        from uniform in that test, for posteriors from `~clusterpost.infer_table`; NaN without one), and the
        hash.  Test NLLs of models with other learned parameters or another simulator are not comparable.

    Examples
    --------
    >>> import clusterpost
    >>> "walter2025" in clusterpost.list_models()["name"]
    True
    """
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
