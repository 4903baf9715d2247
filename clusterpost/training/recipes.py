"""The recipes of the bundled models, and how one becomes a model file."""

from __future__ import annotations

import datetime
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from ..flow.conditions import Walter2025Conditions
from ..flow.modelfile import save_model
from ..flow.network import ConditionalFlow, FlowSpec, choose_permutations
from .fit import TEST_STREAM, FitConfig, fit, mean_nll
from .simulation import Simulator, seeded_generator, walter2025_simulator

__all__ = ["RECIPES", "Recipe", "condition_range", "train_model", "walter2025"]

_N_TEST = 100_000


@dataclass
class Recipe:
    """All that defines a model before training.

    Attributes
    ----------
    name : str
    simulator : Simulator
    encoder : object
        Of :mod:`clusterpost.flow.conditions`.
    spec : FlowSpec
    config : FitConfig
    """

    name: str
    simulator: Simulator
    encoder: object
    spec: FlowSpec
    config: FitConfig


def walter2025(*, n_blocks=12, width=256, **config) -> Recipe:
    """The network of Walter et al. (2025), Sect. 2 and Table A.1.

    Parameters
    ----------
    n_blocks, width : int
        Coupling blocks and neurons a layer; the paper's by default.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`.

    Returns
    -------
    Recipe
    """
    simulator, encoder = walter2025_simulator(), Walter2025Conditions()
    prior = simulator.prior
    spec = FlowSpec(
        n_parameters=len(prior.names),
        n_conditions=encoder.size(len(simulator.bands)),
        low=tuple(prior.low.tolist()),
        high=tuple(prior.high.tolist()),
        permutations=choose_permutations(len(prior.names), n_blocks, seed=2025),
        width=width,
    )
    return Recipe("walter2025", simulator, encoder, spec, FitConfig(**config))


RECIPES = {"walter2025": walter2025}


def train_model(recipe, folder, *, device="cpu", compile=False, progress=None):
    """Train a recipe and write its model file.

    Parameters
    ----------
    recipe : Recipe
    folder : path
        For the checkpoint, which a second call continues from, and the model
        file, ``<recipe.name>.safetensors`` and ``.json``.
    device : str
    compile, progress : bool
        See `~clusterpost.training.fit.fit`.

    Returns
    -------
    dict
        The model's card.

    Examples
    --------
    >>> import tempfile
    >>> from clusterpost.training.recipes import train_model, walter2025
    >>> small = walter2025(n_blocks=2, width=16, mocks_per_epoch=2048, epochs=1, n_validation=512)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     card = train_model(small, folder)
    >>> card["training"]["mocks_seen"]
    2048
    """
    torch.manual_seed(recipe.config.seed)
    flow = ConditionalFlow(recipe.spec)
    result = fit(flow, recipe.simulator, recipe.encoder, recipe.config, folder,
                 device=device, compile=compile, progress=progress)
    flow = flow.cpu().eval()
    test = recipe.simulator.draw(_N_TEST, seeded_generator(recipe.config.seed, TEST_STREAM))
    record = {
        "mocks_seen": result.mocks_seen,
        "weights_after_mocks": result.best["mocks_seen"],  # those of the best validation are kept
        "fresh_mocks_every_batch": True,
        "hours": round(result.seconds / 3600, 3),
        "hardware": _hardware(device),
        "stopped_early": result.stopped_early,
        "validation_nll": result.best_nll,
        "test_nll": mean_nll(flow, recipe.encoder, test),
        "n_test": _N_TEST,
        "nll_unit": "nat, density in (log10 age/Myr, log10 mass/Msun, E(B-V)/mag)",
        "finished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("torch", "FrEIA", "numpy")},
        "settings": asdict(recipe.config),
        "history": result.history,
    }
    return save_model(Path(folder) / recipe.name, flow, {
        "conditions": recipe.encoder.name,
        "condition_range": condition_range(recipe.simulator, recipe.encoder),
        "simulator": recipe.simulator.to_dict(),
        "training": record,
    })


def condition_range(simulator, encoder, n=1_000_000, tail=1e-5):
    """Where training has shown conditions to a network.

    Parameters
    ----------
    simulator : Simulator
    encoder : object
        Of :mod:`clusterpost.flow.conditions`.
    n : int
        Mocks drawn for it.
    tail : float
        Share of the mocks left out at each end of each condition, before one
        percent of the range is added.

    Returns
    -------
    dict
        ``low`` and ``high``, a number for each condition.
    """
    parts = []
    for stream, rows in enumerate(torch.arange(n).split(100_000)):
        mocks = simulator.draw(len(rows), seeded_generator(0, TEST_STREAM + 1 + stream))
        parts.append(encoder(mocks.flux, mocks.error, mocks.distance))
    ordered = torch.cat(parts).sort(dim=0).values
    skip = int(tail * n)
    low, high = ordered[skip], ordered[-1 - skip]
    margin = 0.01 * (high - low)  # so that a value on the very edge of a uniform range is inside
    return {"low": (low - margin).tolist(), "high": (high + margin).tolist()}


def _hardware(device):
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines()
             if line.startswith("model name")] if cpuinfo.exists() else []
    name = names[0] if names else platform.processor() or platform.machine()
    return f"CPU: {name}, {torch.get_num_threads()} thread(s)"
