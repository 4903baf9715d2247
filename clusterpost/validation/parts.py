"""Ensembles drawn in blocks, which are kept on disk until all are complete."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table, vstack

from ..utils import progress_bar, whole_file
from .ensemble import Ensemble, draw_ensemble

if TYPE_CHECKING:
    from ..training.simulation import Simulator
    from ..typing import PathLike
    from .samplers import PosteriorSampler

__all__ = ["draw_in_parts", "remove_parts"]

_BLOCK = 1000  # mocks; about ten seconds of refined posteriors
_NAME = "part-{}-{:05d}-{}.npz"
_ARRAYS = ("truth", "draws", "log_q", "log_q_truth")


def draw_in_parts(sampler: PosteriorSampler | None, simulator: Simulator | None, n_mocks: int, n_draws: int = 100,
                  seed: int = 0, *, folder: PathLike | None = None, progress: bool | None = None) -> Ensemble:
    """Draw an ensemble in blocks, so that an interrupted run can be resumed.

    Parameters
    ----------
    sampler : PosteriorSampler
    simulator, n_mocks, n_draws, seed
        As for `~clusterpost.validation.draw_ensemble`.  Every block of a thousand mocks has its own seed, derived from
        ``seed``, so the draws differ from those of that function.
    folder : path, optional
        Folder of the blocks, created if missing.  Existing blocks of the same model, posterior, seed and number of
        draws are reused, and missing blocks are drawn and stored.
    progress : bool, optional

    Returns
    -------
    Ensemble
        Ensemble without the mocks.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler
    >>> from clusterpost.validation.parts import draw_in_parts
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> sampler = PosteriorSampler(model, refine=False)
    >>> len(draw_in_parts(sampler, simulator, n_mocks=20, n_draws=10))
    20
    """
    if n_mocks < 1 or n_draws < 1:
        raise ValueError(f"n_mocks and n_draws must be at least 1, not {n_mocks} and {n_draws}")
    if folder is not None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
    key, parts, family = _key(sampler, n_draws, seed), [], getattr(simulator, "family", None)
    what = "refined" if sampler.refine else "network"
    with progress_bar(n_mocks, show=progress, desc=what, unit="mock") as bar:
        for block, start in enumerate(range(0, n_mocks, _BLOCK)):
            size = min(_BLOCK, n_mocks - start)
            path = folder and folder / _NAME.format(key, block, size)
            if path and path.is_file():
                parts.append(_read(path, family))
                if not bar.disable:
                    bar.initial += size  # so that the rate only counts blocks drawn now
            else:
                own = int(np.random.SeedSequence([int(seed), block]).generate_state(1)[0])
                parts.append(draw_ensemble(sampler, simulator, size, n_draws, own, progress=False))
                if path:
                    _write(parts[-1], path)
            bar.update(size)
    return Ensemble(*(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS),
                    vstack([part.about for part in parts]), family=family)


def remove_parts(folder: PathLike) -> None:
    """Remove the blocks of `draw_in_parts` from a folder, and the folder if it is then empty.

    Parameters
    ----------
    folder : path
    """
    folder = Path(folder)
    for path in folder.glob(_NAME.replace("{:05d}", "{}").format("*", "*", "*")):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _key(sampler, n_draws, seed):
    """Return a short key that the blocks of one ensemble share."""
    card = sampler.model.card
    what = [card["sha256"], card["simulator"], card["conditions"], bool(sampler.refine), n_draws, int(seed), _BLOCK]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]


def _write(ensemble, path):
    with whole_file(path) as temporary:
        np.savez(temporary, **{name: getattr(ensemble, name) for name in _ARRAYS},
                 **{f"about.{name}": ensemble.about[name] for name in ensemble.about.colnames})


def _read(path, family):
    with np.load(path, allow_pickle=False) as file:
        about = Table({name.removeprefix("about."): file[name] for name in file.files if name.startswith("about.")})
        return Ensemble(*(file[name] for name in _ARRAYS), about, family=family)
