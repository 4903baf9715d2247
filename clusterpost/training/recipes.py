"""Recipes of the bundled models, and training of a recipe to a model file."""

from __future__ import annotations

import datetime
import json
import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..bands import ACS_BANDS, WFC3_BANDS, band_slots
from ..errors import InputError
from ..families import get_family
from ..families.clusters.table import BandFluxTable, load_table
from ..families.encoders import (
    AbsoluteConditions,
    FluxConditions,
    RelativeConditions,
    SetConditions,
    Walter2025Conditions,
)
from ..families.galaxies.amplitude import FormedMass
from ..families.galaxies.encoder import ColorConditions
from ..families.galaxies.errors import MAGNITUDES, nsa_errors
from ..families.stochastic.table import StarTable, load_stars
from ..flow.affine import AffineSpec, choose_permutations
from ..flow.context import ContextSpec
from ..flow.maf import MafSpec
from ..flow.modelfile import load_model, save_model
from ..flow.network import build_flow
from ..flow.set_encoder import SetSpec
from ..flow.spline import SplineSpec
from .fit import TEST_STREAM, FitConfig, fit, mean_nll, set_scales
from .objectives import LogVariance, NegativeLogLikelihood
from .observing import AllBands, AnyBands, FlatErrors, LevelErrors, MixedErrors, UpperLimits
from .processes import join_processes
from .simulation import Simulator, cluster_simulator, seeded_generator, walter2025_simulator
from .surveys import survey_bands

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..families.base import ModelFamily, Prior
    from ..noise import Noise
    from ..typing import Coverage, Encoder, ErrorModel, PathLike
    from .simulation import Mocks

__all__ = ["RECIPES", "Recipe", "affine", "any_bands", "condition_range", "galaxies", "galaxies_maf", "maf",
           "recipe_sizes", "spline", "stochastic", "stochastic_field", "train_model", "walter2025"]

_N_TEST = 100_000
_BANDS = (*WFC3_BANDS, *ACS_BANDS)


@dataclass
class Recipe:
    """Definition of a model before training.

    Attributes
    ----------
    name : str
    simulator : Simulator
    encoder : object
        Encoder of :mod:`clusterpost.families.encoders`.
    spec : AffineSpec, SplineSpec or MafSpec
    objective : object
        Objective of :mod:`clusterpost.training.objectives`.
    config : FitConfig
    learned : tuple of str
        Parameters that the flow learns; by default all of the family.  The amplitude of a likelihood, such as the mass
        of a cluster, may be left out because its conditional density has a closed form.
    n_samples : int
        Default number of draws per posterior in inference.
    """

    name: str
    simulator: Simulator
    encoder: object
    spec: object
    objective: object
    config: FitConfig
    learned: tuple | None = None
    n_samples: int = 1000

    def __post_init__(self) -> None:
        if self.learned is None:
            self.learned = self.simulator.family.parameter_names

    def learned_part(self, mocks: Mocks) -> Mocks:
        """Return the same mocks with the learned parameters only."""
        index = [self.simulator.prior.names.index(name) for name in self.learned]
        return replace(mocks, theta=mocks.theta[:, index])


def walter2025(*, n_blocks: int = 12, width: int = 256, **config: Any) -> Recipe:
    """Make the recipe of the network of Walter et al. (2025), Sect. 2 and Table A.1.

    Parameters
    ----------
    n_blocks, width : int
        Coupling blocks and neurons per layer; by default as in the paper.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`.

    Returns
    -------
    Recipe
    """
    simulator, encoder = walter2025_simulator(), Walter2025Conditions()
    spec = AffineSpec(**recipe_sizes(simulator, encoder), width=width,
                      permutations=choose_permutations(len(simulator.family.parameters), n_blocks, seed=2025))
    return Recipe("walter2025", simulator, encoder, spec, NegativeLogLikelihood(), FitConfig(**config),
                  n_samples=10_000)


def any_bands(*, bands: Sequence[str] = _BANDS, table: PathLike | BandFluxTable | None = None,
              prior: Prior | None = None, errors: ErrorModel | None = None, width: tuple[int, int] = (64, 32),
              depth: tuple[int, int] = (3, 2), bins: tuple[int, int] = (12, 7), splines: tuple[int, int] = (1, 1),
              knots: int = 256, draws: int = 13, **config: Any) -> Recipe:
    """Make the recipe of a network for any two or more bands, any brightness and any distance.

    A spline flow of age and reddening, conditioned only on colors and relative
    errors.  The mass has a closed form under log-normal noise.

    Parameters
    ----------
    bands : sequence of str
        Bands of the network.
    table : str, path or BandFluxTable, optional
        SSP models; see `~clusterpost.families.clusters.table.load_table`.
    prior : BoxPrior, optional
        Prior; by default `~clusterpost.priors.cluster_prior`.
    errors : object, optional
        Errors of :mod:`clusterpost.training.observing`; by default a mixture of many kinds.
    width, depth, bins, splines, knots
        Fields of `~clusterpost.flow.spline.SplineSpec` for the blocks of age and reddening.
    draws : int
        Draws of `~clusterpost.training.objectives.LogVariance`.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`.

    Returns
    -------
    Recipe

    Notes
    -----
    Architecture and objective come from `clusterpost.training.search`, with a third of its learning rate
    and twice its batch size because longer runs were otherwise unstable.

    Examples
    --------
    >>> from clusterpost.training.recipes import any_bands
    >>> any_bands(bands=("F336W", "F555W", "F814W")).simulator.family.band_names
    ('F336W', 'F555W', 'F814W')
    """
    simulator, slots = _any_simulator(bands, table, prior, errors, "lognormal")
    encoder, learned = RelativeConditions(slots), ("log_age", "ebv")
    spec = SplineSpec(**recipe_sizes(simulator, encoder, learned), order=(0, 1), width=tuple(width), depth=tuple(depth),
                      bins=tuple(bins), splines=tuple(splines), knots=knots)
    settings = _COSINE | {"learning_rate": 2e-3, "batch_size": 356, "spike": 5.0} | config
    return Recipe("any_bands", simulator, encoder, spec, LogVariance(draws=draws), FitConfig(**settings), learned)


def spline(*, noise: str = "normal", bands: Sequence[str] = _BANDS, table: PathLike | BandFluxTable | None = None,
           prior: Prior | None = None, errors: ErrorModel | None = None, width: tuple[int, ...] = (256, 128, 128),
           depth: tuple[int, ...] = (2, 1, 1), bins: tuple[int, ...] = (32, 10, 16),
           splines: tuple[int, ...] = (2, 1, 1), knots: int = 256, **config: Any) -> Recipe:
    """Make the recipe of a network that also learns the mass, for noise without a closed form.

    A spline flow of age, reddening and mass, conditioned on any two or more
    bands, their errors, and the brightness at 10 Mpc; trained by the NLL.

    Parameters
    ----------
    noise : str
        ``normal``, which allows negative fluxes, or ``lognormal``.
    bands, table, prior, errors
        As for `any_bands`.
    width, depth, bins, splines, knots
        Fields of `~clusterpost.flow.spline.SplineSpec` for the blocks of age, reddening and mass.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`.

    Returns
    -------
    Recipe

    Notes
    -----
    A mock's error is its relative error times its true flux.  Under normal noise,
    it therefore carries information about that flux, which the likelihood in the
    refinement does not use; refinement corrects for the difference.
    """
    simulator, slots = _any_simulator(bands, table, prior, errors, noise)
    encoder = AbsoluteConditions(slots)
    spec = SplineSpec(**recipe_sizes(simulator, encoder), order=(0, 2, 1), width=tuple(width),
                      depth=tuple(depth), bins=tuple(bins), splines=tuple(splines), knots=knots)
    return Recipe("spline", simulator, encoder, spec, NegativeLogLikelihood(), FitConfig(**(_MUON | config)))


def maf(*, noise: str = "normal", bands: Sequence[str] = _BANDS, table: PathLike | BandFluxTable | None = None,
        prior: Prior | None = None, errors: ErrorModel | None = None, blocks: int = 15, width: int = 500,
        depth: int = 2, **config: Any) -> Recipe:
    """Make the recipe of the flow of SEDflow (Hahn & Melchior 2022): masked autoregressive blocks, built with zuko.

    Other settings are as in `spline`.  For their noise recipe, give
    `~clusterpost.training.observing.EmpiricalErrors` as ``errors``.

    Parameters
    ----------
    noise, bands, table, prior, errors
        As for `spline`.
    blocks, width, depth : int
        Fields of `~clusterpost.flow.maf.MafSpec`; by default as in the paper.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`.

    Returns
    -------
    Recipe
    """
    simulator, slots = _any_simulator(bands, table, prior, errors, noise)
    encoder = AbsoluteConditions(slots)
    spec = MafSpec(**recipe_sizes(simulator, encoder), blocks=blocks, width=width, depth=depth)
    settings = {"schedule": "cosine", "learning_rate": 5e-4, "l2": 0.0, "patience": 1000} | config
    return Recipe("maf", simulator, encoder, spec, NegativeLogLikelihood(), FitConfig(**settings))


_COSINE = {"schedule": "cosine", "betas": (0.9, 0.99), "l2": 0.0, "max_gradient_norm": 5.0, "patience": 1000}
_MUON = _COSINE | {"optimizer": "muon", "learning_rate": 2e-3}


def _any_simulator(bands, table, prior, errors, noise):
    """Return a simulator of any of the bands, and the slots that they fill."""
    bands = tuple(bands)
    slots = band_slots(bands)
    if len(slots) < 2:
        raise InputError(f"{', '.join(bands)} fill {len(slots)} slot of the spectrum; a network needs at least two")
    table = table if isinstance(table, BandFluxTable | None) else load_table(table)
    return cluster_simulator(bands=bands, noise=noise, prior=prior, table=table,
                     errors=errors or MixedErrors(), coverage=AnyBands(slots)), slots


def recipe_sizes(simulator: Simulator, encoder: Any, learned: tuple[str, ...] | None = None) -> dict:
    """Return the fields common to the specs of all flows.

    Parameters
    ----------
    simulator : Simulator
    encoder : object
        Encoder of :mod:`clusterpost.families.encoders`.
    learned : tuple of str, optional
        Parameters that the flow learns; by default all of the family.

    Returns
    -------
    dict
        Numbers of parameters and conditions, and the bounds.
    """
    prior, learned = simulator.prior, learned or simulator.family.parameter_names
    index = [prior.names.index(name) for name in learned]
    return {"n_parameters": len(learned), "n_conditions": encoder.size(len(simulator.bands)),
            "low": tuple(prior.low[index].tolist()), "high": tuple(prior.high[index].tolist())}


def affine(family: ModelFamily, *, name: str, errors: ErrorModel | None = None, coverage: Coverage | None = None,
           noise: str | Noise | None = None, encoder: Encoder | None = None, n_blocks: int = 8, width: int = 128,
           **config: Any) -> Recipe:
    """Make a recipe of a network for any model family, with affine coupling blocks trained by the NLL.

    Parameters
    ----------
    family : ModelFamily
    name : str
        Name of the model.
    errors, coverage, noise
        Options of the `~clusterpost.training.simulation.Simulator`.
    encoder : object, optional
        Encoder; by default `~clusterpost.families.encoders.FluxConditions` of the family's bands and covariates.
    n_blocks, width : int
        Coupling blocks and neurons per layer.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`.

    Returns
    -------
    Recipe

    Examples
    --------
    >>> from clusterpost.families.clusters import FullySampledClusters
    >>> from clusterpost.training.recipes import affine
    >>> affine(FullySampledClusters(), name="mine", epochs=1).learned
    ('log_age', 'log_mass', 'ebv')
    """
    simulator = Simulator(family, noise, errors or FlatErrors(0.05, 0.5), coverage or AllBands())
    encoder = encoder or FluxConditions(len(family.bands), [covariate.name for covariate in family.covariates])
    spec = AffineSpec(**recipe_sizes(simulator, encoder), width=width,
                      permutations=choose_permutations(len(family.parameters), n_blocks, seed=2025))
    return Recipe(name, simulator, encoder, spec, NegativeLogLikelihood(), FitConfig(**_COSINE | config))


#: Blocks of the flow of galaxies, well-constrained parameters first, and nonlinear coordinates, which resolve the thin
#: edge where the first component of the star formation history, and thus the star formation rate, is zero.
_GALAXY_ORDER = ("tau_ism", "stick1", "dust_index", "tau_bc", "log_gamma1", "log_gamma2", "stick2", "stick3")
_GALAXY_COORDINATES = {"stick1": "log1m:0.01"}


def galaxies(*, family: str = "galaxies", errors: ErrorModel | None = None,
             width: tuple[int, ...] = (192, 160, 64, 48, 48, 32, 32), depth: tuple[int, ...] = (3, 3, 1, 1, 1, 1, 1),
             bins: int = 7, knots: int = 64, context: int = 192, context_depth: int = 3, **config: Any) -> Recipe:
    """Make a recipe of a network for galaxies in SDSS ugriz, a spline flow that does not see the brightness.

    It learns all parameters except the mass, which has a closed form under log-normal noise.

    Parameters
    ----------
    family : str or ModelFamily
        ``galaxies``, or ``galaxies_young`` with an additional parameter.
    errors : object, optional
        Errors; by default those of the NASA-Sloan Atlas with 30 % more scatter, for galaxies of 11.5 to 20.5 mag in r.
    width, depth : tuple of int
        Sizes of the blocks, as in `~clusterpost.flow.spline.SplineSpec`; the last also applies to further blocks.  The
        first two blocks are fast because they are not evaluated for every draw.
    bins, knots, context, context_depth : int
        Fields of `~clusterpost.flow.context.ContextSpec`.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`.

    Returns
    -------
    Recipe

    Examples
    --------
    >>> from clusterpost.training.recipes import galaxies
    >>> galaxies(epochs=1).learned[:3]
    ('stick1', 'stick2', 'stick3')
    """
    simulator, encoder, learned = _galaxy_parts(family, errors)
    order = sorted(learned, key=lambda name: (*_GALAXY_ORDER, name).index(name))
    width, depth = ((*sizes, *[sizes[-1]] * (len(learned) - len(sizes))) for sizes in (width, depth))
    spec = ContextSpec(**recipe_sizes(simulator, encoder, learned), order=tuple(map(learned.index, order)),
                       width=width, depth=depth, bins=(bins,) * len(learned), splines=(1,) * len(learned), knots=knots,
                       context=context, context_depth=context_depth,
                       coordinates=tuple(_GALAXY_COORDINATES.get(name, "linear") for name in learned))
    settings = _MUON | {"betas": (0.9, 0.999), "batch_size": 1024, "batches_at_once": 32, "epochs": 1,
                        "average": 0.999, "mocks_per_epoch": 16_384_000, "validations_per_epoch": 8,
                        "n_validation": 50_000, "checkpoint_every": 500} | config
    name = simulator.family.name
    return Recipe(name, simulator, encoder, spec, NegativeLogLikelihood(), FitConfig(**settings), learned)


def galaxies_maf(*, family: str = "galaxies", errors: ErrorModel | None = None, blocks: int = 15, width: int = 500,
                 depth: int = 2, **config: Any) -> Recipe:
    """Make the recipe of the network of Hahn & Melchior (2022): masked autoregressive blocks, built with zuko.

    Other settings are as in `galaxies`.

    Parameters
    ----------
    family, errors
        As for `galaxies`.
    blocks, width, depth : int
        Fields of `~clusterpost.flow.maf.MafSpec`; by default as in the paper.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`; by default training stops after 20 validations without
        improvement, one per 50,000 mocks.

    Returns
    -------
    Recipe
    """
    simulator, encoder, learned = _galaxy_parts(family, errors)
    spec = MafSpec(**recipe_sizes(simulator, encoder, learned), blocks=blocks, width=width, depth=depth)
    settings = {"learning_rate": 5e-4, "learning_rate_decay": 1.0, "l2": 0.0, "mocks_per_epoch": 1_000_000,
                "epochs": 100, "validations_per_epoch": 20, "n_validation": 10_000, "patience": 20} | config
    return Recipe(f"{simulator.family.name}_maf", simulator, encoder, spec, NegativeLogLikelihood(),
                  FitConfig(**settings), learned)


def _galaxy_parts(family, errors):
    """Return simulator, encoder and names of the learned parameters of galaxies."""
    family = get_family(family)() if isinstance(family, str) else family
    errors = errors or replace(nsa_errors(), widen=1.3, magnitude=MAGNITUDES)
    learned = tuple(name for name in family.parameter_names if name != FormedMass.parameter)
    return Simulator(family, errors=errors), ColorConditions(len(family.bands), family.covariates[0].high), learned


def stochastic(*, family: str = "stochastic", bands: Sequence[str] | None = None, table: PathLike | None = None,
               errors: ErrorModel | None = None, coverage: Coverage | None = None, limits: UpperLimits | None = None,
               token: int = 128, context: int = 128, context_depth: int = 6,
               width: tuple[int, ...] = (128, 128, 64, 64, 32, 32), depth: tuple[int, ...] = (4, 3, 2, 1, 1, 1),
               bins: tuple[int, ...] = (24, 24, 12, 10, 6, 6), knots: int = 64, **config: Any) -> Recipe:
    """Make the recipe of a network for clusters drawn star by star, in any two or more of 31 bands.

    A spline flow of all six parameters that sees the measurements as a set, including upper limits.  It is trained by
    the NLL on mocks from the training density; weights give the family's other priors.

    Parameters
    ----------
    family : str
        ``stochastic``, or ``stochastic_field`` with field stars in the apertures.
    bands : sequence of str, optional
        Bands of the network; by default all bands of the table of stars.
    table : path or StarTable, optional
        Table of stars; by default the packaged one.
    errors, coverage, limits : object, optional
        Objects of :mod:`clusterpost.training.observing`; by default relative errors from 0.01 to 1.5, the sets of bands
        of surveys and random sets (`clusterpost.training.surveys`), and some upper limits.
    token, context, context_depth, width, depth, bins, knots
        Fields of `~clusterpost.flow.set_encoder.SetSpec`, with blocks of log age, E(B-V), log mass, [M/H], R_V
        and covering fraction.  The context and the first two blocks are deep because they are not evaluated for every
        draw.
    **config
        Fields of `~clusterpost.training.fit.FitConfig`.

    Returns
    -------
    Recipe

    Notes
    -----
    Many batches are drawn together because drawing the stars of many clusters at once is ten times as fast.  For the
    same number of mocks, the NLL with Muon is half a nat lower than with Adam.  A batch whose gradient is five times
    longer than recent ones is skipped, about one in 3000: in a training that skipped none, the NLL rose by 0.7 nat
    within 2000 steps. One that started from trained weights with a learning rate of 6e-4 lost half a nat in spite of
    that, so a training whose validation NLL rises by 0.02 returns to its best weights and halves the learning rate.

    Examples
    --------
    >>> from clusterpost.training.recipes import stochastic
    >>> recipe = stochastic(bands=["F275W", "F336W", "F438W", "F555W", "F814W"])
    >>> recipe.learned
    ('log_age', 'log_mass', 'ebv', 'metallicity', 'rv', 'nebular_covering')
    """
    table = table if isinstance(table, StarTable | None) else load_stars(table)
    family = get_family(family)(bands=bands, prior="training", table=table)
    simulator = Simulator(family, errors=errors or LevelErrors(), coverage=coverage or survey_bands(family.band_names),
                          limits=limits or UpperLimits())
    encoder = SetConditions(len(family.bands))
    names = ("log_age", "ebv", "log_mass", "metallicity", "rv", "nebular_covering")
    spec = SetSpec(**recipe_sizes(simulator, encoder), order=tuple(map(family.parameter_names.index, names)),
                   width=tuple(width), depth=tuple(depth), bins=tuple(bins), splines=(1,) * len(names), knots=knots,
                   coordinates=("linear", "amplitude", "log1p:0.1", "linear", "normal:3.1:0.3", "linear"),
                   token=token, context=context, context_depth=context_depth)
    settings = _MUON | {"learning_rate": 1.5e-3, "muon_factor": 4.0, "batch_size": 2048, "batches_at_once": 64,
                        "epochs": 8, "average": 0.999, "spike": 5.0, "worst_rise": 0.02,
                        "n_validation": 50_000} | config
    return Recipe(family.name, simulator, encoder, spec, NegativeLogLikelihood(), FitConfig(**settings))


def stochastic_field(**options: Any) -> Recipe:
    """Make the recipe of a network for clusters drawn star by star with field stars in their apertures.

    This is a short training that starts from the weights of ``stochastic``.

    Parameters
    ----------
    **options
        Options of `stochastic`.

    Returns
    -------
    Recipe

    Examples
    --------
    >>> from clusterpost.training.recipes import stochastic_field
    >>> stochastic_field(bands=["F475W_ACS", "F814W_ACS"]).name
    'stochastic_field'
    """
    return stochastic(**{"family": "stochastic_field", "epochs": 2, "learning_rate": 5e-4} | options)


#: Recipes by model name.
RECIPES = {"any_bands": any_bands, "spline": spline, "maf": maf, "walter2025": walter2025, "galaxies": galaxies,
           "galaxies_maf": galaxies_maf, "stochastic": stochastic, "stochastic_field": stochastic_field}


def train_model(recipe: Recipe, folder: PathLike, *, start: PathLike | None = None, device: str = "cpu",
                compile: bool = False, record: bool | None = None, n_test: int | None = None,
                progress: bool | None = None) -> dict:
    """Train a recipe and write its model file.

    Parameters
    ----------
    recipe : Recipe
    folder : path
        Folder of the checkpoint, from which a second call continues, and of the model
        file, ``<recipe.name>.safetensors`` and ``.json``.
    start : str or path, optional
        Model with initial weights, used if names and shapes agree; the card records their number.
    device : str
    compile, record, progress : bool
        See `~clusterpost.training.fit.fit`.
    n_test : int, optional
        Number of mocks for the test NLL; 100 000 by default.

    Returns
    -------
    dict
        The model's card.

    Examples
    --------
    >>> import tempfile
    >>> from clusterpost.training.recipes import train_model, walter2025
    >>> small = walter2025(n_blocks=2, width=16, mocks_per_epoch=2048, epochs=1,
    ...                    n_validation=512)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     card = train_model(small, folder, n_test=1000)
    >>> card["training"]["mocks_seen"]
    2048
    """
    torch.manual_seed(recipe.config.seed)
    flow = build_flow(recipe.spec)
    first = {}
    if start is not None:
        set_scales(flow, recipe)  # those of the earlier model replace them if it has as many conditions
        model = load_model(start, device="cpu")
        taken = _take_what_fits(flow, model.flow.export(), start)
        earlier = {key: value for key, value in model.metadata.training.items() if key != "history"}
        first = {"started_from": {"sha256": model.metadata.sha256, "weights_taken": taken, **earlier}}
    result = fit(flow, recipe, folder, device=device, compile=compile, record=record, progress=progress,
                 scaled=start is not None)
    flow, processes = flow.cpu().eval(), join_processes()
    if not processes.is_first:
        processes.wait()
        return json.loads((Path(folder) / f"{recipe.name}.json").read_text())
    n_test = _N_TEST if n_test is None else n_test
    test = recipe.learned_part(recipe.simulator.draw(n_test, seeded_generator(recipe.config.seed, TEST_STREAM)))
    record = {
        "mocks_seen": result.mocks_seen,
        "weights_after_mocks": result.best["mocks_seen"],  # weights of the best validation
        "fresh_mocks_every_batch": recipe.config.passes == 1,
        "hours": round(result.seconds / 3600, 3),
        "hardware": _hardware(device) if processes.number == 1 else f"{processes.number} x {_hardware(device)}",
        "stopped_early": result.stopped_early,
        "batches_passed_over": result.passed_over,
        "returns_to_best": result.returns,
        "validation_nll": result.best_nll,
        "test_nll": mean_nll(flow, recipe.encoder, test),
        "n_test": n_test,
        "nll_unit": f"nat, density in ({', '.join(recipe.learned)})",
        "finished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("torch", "FrEIA", "numpy")},
        "objective": recipe.objective.to_dict(),
        "settings": asdict(recipe.config),
        "history": result.history,
        **first,
    }
    card = {"conditions": recipe.encoder.to_dict(), "learned": list(recipe.learned), "n_samples": recipe.n_samples,
            "simulator": recipe.simulator.to_dict(), "training": record}
    if recipe.encoder.bounded:
        card["condition_range"] = condition_range(recipe.simulator, recipe.encoder)
    card = save_model(Path(folder) / recipe.name, flow, card)
    processes.wait()
    return card


def _take_what_fits(flow, weights, start):
    """Copy weights with the same names and shapes from another flow; return their number."""
    own = flow.export()
    fitting = {name: values for name, values in weights.items()
               if name in own and own[name].shape == values.shape}
    if not fitting:
        raise InputError(f"no weights of {start} fit this recipe's architecture")
    flow.load_export(own | fitting)
    return sum(values.numel() for values in fitting.values())


def condition_range(simulator: Simulator, encoder: Encoder, n: int = 1_000_000, tail: float = 1e-5) -> dict:
    """Find the range of the conditions in training.

    Parameters
    ----------
    simulator : Simulator
    encoder : object
        Encoder of :mod:`clusterpost.families.encoders`.
    n : int
        Number of mocks.
    tail : float
        Fraction of mocks excluded at each end of each condition, before one
        percent of the range is added.

    Returns
    -------
    dict
        ``low`` and ``high``, one number per condition.
    """
    values = torch.cat([encoder(simulator.draw(len(rows), seeded_generator(0, TEST_STREAM + 1 + stream)))
                        for stream, rows in enumerate(torch.arange(n).split(100_000))])
    low, high = (values.topk(int(tail * n) + 1, dim=0, largest=largest).values[-1] for largest in (False, True))
    margin = 0.01 * (high - low)  # includes values at the edge of a uniform range
    return {"low": (low - margin).tolist(), "high": (high + margin).tolist()}


def _hardware(device):
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines()
             if line.startswith("model name")] if cpuinfo.exists() else []
    name = names[0] if names else platform.processor() or platform.machine()
    return f"CPU: {name}, {torch.get_num_threads()} thread(s)"
