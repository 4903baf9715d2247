"""Hyperparameter search with Hyperband (Li et al. 2018) in optuna.

Every trial gets the same training time, which its measured step time converts to
a number of steps at the start, so architectures compete at equal cost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock, Timeout

from ..bands import band_slots
from ..errors import InputError
from ..families.encoders import AbsoluteConditions, RelativeConditions, Walter2025Conditions
from ..flow.affine import AffineSpec, choose_permutations
from ..flow.network import build_flow
from ..flow.spline import SplineSpec
from ..noise import get_noise
from ..posterior.draws import sobol_points
from ..posterior.proposal import AmplitudeProposal, FlowProposal
from ..posterior.target import Target
from ..posterior.trees import can_sample
from ..posterior.weights import effective_sample_size, log_weights, normalized
from ..utils import require, whole_file
from .fit import TEST_STREAM, VALIDATION_STREAM, FitConfig, fit, make_optimizers, mean_nll
from .objectives import LogVariance, NegativeLogLikelihood
from .observing import AllBands
from .recipes import Recipe, recipe_sizes
from .simulation import Simulator, cluster_simulator, seeded_generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from astropy.table import Table

    from ..typing import PathLike

__all__ = ["FAMILIES", "affine_family", "best_settings", "recipe_of", "search", "spline_family"]

log = logging.getLogger(__name__)

UNITS = 27  # parts of a trial's training; a trial can be pruned after each part
_EPOCHS = 9
_TIMED_STEPS = 10
_N_DRAWS = 1024
_OBJECTS_AT_ONCE = 5
_ATTEMPTS = 3  # a trial with this many interruptions may be too large for the machine


def affine_family(trial: optuna.trial.BaseTrial, simulator: Simulator) -> Recipe:
    """Suggest a network of Walter et al. (2025), over the ranges of their Table A.1.

    Parameters
    ----------
    trial : optuna.trial.BaseTrial
    simulator : Simulator
        Simulator; if bands can be missing, the network sees which bands are measured.

    Returns
    -------
    Recipe
    """
    everywhere = simulator.coverage == AllBands()
    encoder = Walter2025Conditions() if everywhere else AbsoluteConditions(band_slots(simulator.bands))
    betas = {"0.8, 0.8": (0.8, 0.8), "0.9, 0.999": (0.9, 0.999)}
    n_blocks = trial.suggest_int("blocks", 4, 21)
    spec = AffineSpec(**recipe_sizes(simulator, encoder),
                      permutations=choose_permutations(len(simulator.family.parameters), n_blocks, seed=2025),
                      width=trial.suggest_int("width", 128, 2048, log=True))
    config = FitConfig(learning_rate=trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
                       learning_rate_decay=trial.suggest_float("learning_rate_decay", 0.1, 0.9),
                       betas=betas[trial.suggest_categorical("betas", list(betas))],
                       batch_size=trial.suggest_int("batch_size", 64, 1024, log=True),
                       l2=trial.suggest_float("l2", 1e-7, 1e-4, log=True))
    return Recipe("affine", simulator, encoder, spec, NegativeLogLikelihood(), config)


def spline_family(trial: optuna.trial.BaseTrial, simulator: Simulator) -> Recipe:
    """Suggest a spline flow of age and reddening, with the mass in closed form.

    Parameters
    ----------
    trial : optuna.trial.BaseTrial
    simulator : Simulator
        Simulator with log-normal noise.

    Returns
    -------
    Recipe
    """
    encoder, learned = RelativeConditions(band_slots(simulator.bands)), ("log_age", "ebv")
    width = trial.suggest_categorical("spline_width", [64, 128, 256, 512])
    depth = trial.suggest_int("depth", 1, 4)
    spec = SplineSpec(**recipe_sizes(simulator, encoder, learned), order=(0, 1), width=(width, width // 2),
                      depth=(depth, max(1, depth - 1)),
                      bins=(trial.suggest_int("bins_age", 8, 48), trial.suggest_int("bins_ebv", 6, 24)),
                      splines=(trial.suggest_int("splines", 1, 3), 1),
                      knots=trial.suggest_categorical("knots", [32, 64, 128, 256]))
    config = FitConfig(learning_rate=trial.suggest_float("spline_learning_rate", 3e-4, 1e-2, log=True),
                       batch_size=trial.suggest_int("spline_batch_size", 128, 2048, log=True),
                       optimizer=trial.suggest_categorical("optimizer", ["adam", "muon"]),
                       schedule="cosine", betas=(0.9, 0.99), l2=0.0, max_gradient_norm=5.0)
    draws = trial.suggest_int("objective_draws", 0, 15)  # a variance needs two draws
    objective = LogVariance(draws=draws) if draws > 1 else NegativeLogLikelihood()
    return Recipe("spline", simulator, encoder, spec, objective, config, learned)


# First trials of each family: the network of Walter et al. (2025), and one found by hand.
_FIRST = {"affine": {"blocks": 12, "width": 256, "learning_rate": 0.001876, "learning_rate_decay": 0.6637,
                     "betas": "0.9, 0.999", "batch_size": 512, "l2": 1.353e-6},
          "spline": {"spline_width": 256, "depth": 3, "bins_age": 32, "bins_ebv": 12, "splines": 2, "knots": 256,
                     "spline_learning_rate": 2e-3, "spline_batch_size": 384, "optimizer": "muon",
                     "objective_draws": 7}}

#: Families of architectures in the search.
FAMILIES = {"affine": affine_family, "spline": spline_family}


def recipe_of(settings: dict, simulator: Simulator | None = None) -> Recipe:
    """Make the recipe of a trial for a full training.

    Parameters
    ----------
    settings : dict
        Settings of the trial, with ``family``: ``table.meta["best"]`` of the output of `search`.
    simulator : Simulator, optional
        As given to `search`.

    Returns
    -------
    Recipe
        Recipe, whose ``config`` has the trial's settings and the default length.

    Examples
    --------
    >>> from clusterpost.training.search import recipe_of
    >>> best = {"family": "spline", "spline_width": 64, "depth": 2, "bins_age": 12,
    ...         "bins_ebv": 7, "splines": 1,
    ...         "knots": 64, "spline_learning_rate": 2e-3, "spline_batch_size": 384,
    ...         "optimizer": "adam",
    ...         "objective_draws": 7}
    >>> recipe_of(best).config.batch_size
    384
    """
    optuna = require("optuna", "train")
    settings = dict(settings)
    return FAMILIES[settings["family"]](optuna.trial.FixedTrial(settings), simulator or cluster_simulator())


@dataclass
class _Problem:
    """Common settings of all trials."""

    simulator: Simulator
    folder: Path
    seconds: float
    n_validation: int
    n_objects: int
    seed: int
    device: str

    def run(self, trial, family):
        """Run one trial and return the held-out NLL; the trial's attributes get other results."""
        recipe = FAMILIES[family](trial, self.simulator)
        torch.manual_seed(self.seed)
        flow = build_flow(recipe.spec)
        trial.set_user_attr("n_weights", sum(p.numel() for p in flow.parameters()))
        unit = trial.user_attrs.get("steps_per_unit")
        if unit is None:
            unit = max(1, int(self.seconds / (UNITS * self.step_time(flow, recipe))))
            trial.set_user_attr("steps_per_unit", unit)
            trial.set_user_attr("folder", f"trial-{trial.number}")
        # Nine epochs of three validations each, so that both kinds of schedule are complete.
        each = UNITS // _EPOCHS
        mocks_per_epoch = each * unit * recipe.config.batch_size
        recipe.config = replace(recipe.config, epochs=_EPOCHS, mocks_per_epoch=mocks_per_epoch,
                                validations_per_epoch=each, n_validation=self.n_validation,
                                checkpoint_every=each * unit, patience=UNITS + 1, seed=self.seed)
        offset = self.mass_nll(recipe, self.mocks(self.n_validation, VALIDATION_STREAM))

        def report(entry):
            _prune_unless(math.isfinite(entry["validation_nll"]))
            trial.report(entry["validation_nll"] + offset, entry["step"] // unit)
            _prune_unless(not trial.should_prune())

        folder = self.folder / trial.user_attrs["folder"]
        try:
            result = fit(flow, recipe, folder, device=self.device, progress=False, report=report)
        except Exception:  # other interruptions keep the checkpoint for resuming
            shutil.rmtree(folder, ignore_errors=True)
            raise
        flow.eval()
        test = self.mocks(self.n_validation, TEST_STREAM)
        nll = mean_nll(flow, recipe.encoder, recipe.learned_part(test)) + self.mass_nll(recipe, test)
        _prune_unless(math.isfinite(nll))
        trial.set_user_attr("seconds", result.seconds)
        trial.set_user_attr("mocks_seen", result.mocks_seen)
        for name, value in self.sampling(flow, recipe).items():
            trial.set_user_attr(name, value)
        shutil.rmtree(folder)
        return nll

    def mocks(self, n, stream):
        return self.simulator.to(self.device).draw(n, seeded_generator(self.seed, stream, self.device))

    def step_time(self, flow, recipe):
        """Measure the mean time of a step over the whole training, in seconds."""
        simulator, generator = self.simulator.to(self.device), seeded_generator(self.seed, TEST_STREAM, self.device)
        flow.to(self.device)
        optimizers = make_optimizers(flow, recipe.config)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = 0.0  # keep the weights unchanged
        progress = [(k + 0.5) / _TIMED_STEPS for k in range(_TIMED_STEPS)]
        for k, done in enumerate([progress[-1], *progress]):
            if k == 1:  # the first step is a warm-up
                start = time.monotonic()
            mocks = recipe.learned_part(simulator.draw(recipe.config.batch_size, generator))
            conditions = recipe.encoder(mocks)
            recipe.objective(flow, mocks, conditions, simulator, generator, done).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            if self.device != "cpu":
                torch.cuda.synchronize()
        return (time.monotonic() - start) / _TIMED_STEPS

    def mass_nll(self, recipe, mocks):
        """Return the NLL of the mass given the other parameters, the same for all flows that do not learn it."""
        simulator = self.simulator.to(self.device)
        if recipe.learned == simulator.family.parameter_names:
            return 0.0
        mass = _likelihood(simulator).amplitude(simulator.prior)
        log_age, log_mass, ebv = mocks.theta[:, None].unbind(-1)
        return -mass.at(mocks, log_age, ebv).log_prob(log_mass).double().mean().item()

    def sampling(self, flow, recipe):
        """Measure importance efficiencies, and the speed of the draws."""
        simulator = self.simulator.to(self.device)
        kind = FlowProposal if recipe.learned == simulator.family.parameter_names else AmplitudeProposal
        likelihood = _likelihood(simulator)
        proposal = kind(flow, likelihood, simulator.prior, trained_noise=simulator.noise)
        mocks = self.mocks(self.n_objects, TEST_STREAM + 1)
        conditions = recipe.encoder(mocks)
        points = sobol_points(_N_DRAWS, len(simulator.family.parameters), self.seed).to(self.device)
        efficiency, seconds = [], 0.0
        with torch.inference_mode():
            for rows in torch.arange(self.n_objects).split(_OBJECTS_AT_ONCE):
                if seconds > self.seconds / 10:  # the largest networks would need longer than for their training
                    break
                start = time.monotonic()
                draws = proposal.draw(mocks[rows], conditions[rows], points.expand(len(rows), -1, -1))
                if self.device != "cpu":
                    torch.cuda.synchronize()
                seconds += time.monotonic() - start
                density = Target(mocks[rows], likelihood, simulator.prior).log_density(draws.theta)
                efficiency.append(effective_sample_size(normalized(log_weights(density, draws.log_q))) / _N_DRAWS)
        quantiles = torch.quantile(torch.cat(efficiency).cpu(), torch.tensor([0.01, 0.05, 0.5], dtype=torch.float64))
        names = ("efficiency_1", "efficiency_5", "efficiency_50")
        n = len(efficiency) * _OBJECTS_AT_ONCE
        return dict(zip(names, quantiles.tolist(), strict=True)) | {
            "n_efficiency": n, "draws_per_second": n * _N_DRAWS / seconds}


def _likelihood(simulator):
    return simulator.family.likelihood.with_noise(get_noise(simulator.noise))


def _prune_unless(good):
    if not good:
        raise require("optuna", "train").TrialPruned


def search(folder: PathLike, *, simulator: Simulator | None = None, families: Sequence[str] = tuple(FAMILIES),
           trials: int = 100, seconds: float = 600.0, budget: float | None = None, first: Sequence | None = None,
           seed: int = 0, device: str = "cpu", n_validation: int = 2_000, n_objects: int = 200) -> Table:
    """Search for an architecture and training settings, or continue a search.

    Parameters
    ----------
    folder : path
        Folder of the trials (``search.journal``, which a second call continues) and
        the table ``search.ecsv``.
    simulator : Simulator, optional
        Simulator; by default five bands of WFC3/UVIS, all measured, with log-normal noise.
    families : sequence of str
        ``affine``; ``spline``, which needs log-normal noise.
    trials : int
        Total number of trials.
    seconds : float
        Training time per trial, converted to steps at its start.  The 27
        validations per trial are not counted.
    budget : float, optional
        Time in seconds after which no new trial starts.
    first : sequence of dict, optional
        Settings to try first, such as the best of a shorter search, after the
        network of Walter et al. (2025) and one found by hand.
    seed : int
    device : str
    n_validation, n_objects : int
        Number of mocks for the NLL, and largest number for the importance efficiency.

    Returns
    -------
    `~astropy.table.Table`
        One row per trial, the best first: settings, held-out NLL of the full
        density in (log10 age/Myr, log10 mass/Msun, E(B-V)/mag), importance
        efficiency at 1, 5 and 50 % of the mocks, and draws per second.  Pruned
        trials have their last NLL.  ``meta["best"]`` is the input of `recipe_of`.

    Raises
    ------
    InputError
        If a family cannot learn from the simulator, the simulator's models have no likelihood with an amplitude
        and two more parameters, or the folder holds another search or one in progress.
    ImportError
        If optuna is not installed.

    Examples
    --------
    >>> from clusterpost.training.search import search
    >>> table = search("runs/search", trials=50, seconds=600)  # doctest: +SKIP
    """
    optuna = require("optuna", "train")
    simulator = simulator or cluster_simulator()
    _check(families, simulator)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    problem = _Problem(simulator, folder, float(seconds), int(n_validation), int(n_objects), int(seed), str(device))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _alone(folder):
        study = _study(optuna, problem, families, first or ())
        missing = trials - sum(t.state.is_finished() and t.state.name != "FAIL" for t in study.get_trials())
        if missing > 0:
            study.optimize(lambda trial: problem.run(trial, trial.suggest_categorical("family", list(families))),
                           n_trials=missing, timeout=budget, callbacks=[_say])
        table = _table(study)
        _write(table, folder)
    return table


def _check(families, simulator):
    unknown = set(families) - set(FAMILIES)
    if unknown or not families:
        raise InputError(f"no family {', '.join(sorted(unknown))}; choose from {', '.join(FAMILIES)}")
    if not can_sample(simulator.family.likelihood, simulator.prior):
        raise InputError(f"trials are compared by the full density and by importance weights, for which models of the "
                         f"family {simulator.family.name} have no likelihood with an amplitude and two more parameters")
    if "spline" in families and simulator.noise != "lognormal":
        raise InputError("the spline family needs the closed form of the mass, which exists only for log-normal noise; "
                         f"leave it out, or give a simulator without {simulator.noise} noise")


@contextlib.contextmanager
def _alone(folder):
    """Lock the folder: concurrent searches would mistake each other's running trials for interrupted ones."""
    try:
        with FileLock(folder / ".search.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"a search is going on in {folder}; wait for its end, or give another folder") from None


def _study(optuna, problem, families, first):
    """Open the study in the folder, with interrupted trials first."""
    identity = json.loads(json.dumps({"simulator": problem.simulator.to_dict(), "families": list(families),
                                      "seconds": problem.seconds, "seed": problem.seed,
                                      "n_validation": problem.n_validation, "n_objects": problem.n_objects}))
    study = optuna.create_study(study_name="search", storage=_storage(optuna, problem.folder),
                                load_if_exists=True, pruner=optuna.pruners.HyperbandPruner(1, UNITS, 3))
    if study.user_attrs.get("identity", identity) != identity:
        raise InputError(f"{problem.folder} holds another search (other simulator, families, seconds, seed or mocks); "
                         "give another folder")
    study.set_user_attr("identity", identity)
    known = study.get_trials()
    for settings in (*({"family": family, **values} for family, values in _FIRST.items()), *first):
        if not known and settings["family"] in families:
            study.enqueue_trial(settings)
    study.sampler = optuna.samplers.TPESampler(seed=problem.seed + len(known))
    for trial in known:
        if trial.state.name == "RUNNING":
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    waiting = {trial.user_attrs.get("folder") for trial in known if trial.state.name == "WAITING"}
    for folder in sorted(problem.folder.glob("trial-*")):  # a finished trial has no folder
        attempts = [trial for trial in known if trial.user_attrs.get("folder") == folder.name]
        if len(attempts) >= _ATTEMPTS:
            shutil.rmtree(folder)
        elif attempts and folder.name not in waiting:
            study.enqueue_trial(attempts[-1].params, user_attrs=attempts[-1].user_attrs)
    return study


def _say(study, trial):
    value = trial.value if trial.value is not None else math.nan
    log.info("trial %d (%s) %s: NLL %.4f", trial.number, trial.params.get("family"), trial.state.name.lower(), value)


def _table(study):
    from astropy.table import Table

    rows = []
    for trial in study.get_trials(deepcopy=False):
        if not trial.state.is_finished() or trial.state.name == "FAIL":
            continue
        attributes = {k: v for k, v in trial.user_attrs.items() if k not in ("folder", "steps_per_unit")}
        rows.append({"trial": trial.number, "state": trial.state.name.lower(),
                     "units": max(trial.intermediate_values, default=0),
                     "nll": math.nan if trial.value is None else trial.value, **trial.params, **attributes})
    if not rows:
        raise InputError("no trial finished; give the search more time")
    # Completed trials by NLL, then the others by progress.
    rows.sort(key=lambda row: (row["state"] != "complete", -row["units"], row["nll"]))
    table = Table(rows=rows)
    identity = study.user_attrs["identity"]
    table.meta.update({"seconds_per_trial": identity["seconds"], "units": UNITS, "simulator": identity["simulator"],
                       "best": study.get_trials()[rows[0]["trial"]].params})
    return table


def best_settings(folder: PathLike, n: int = 5) -> list[dict]:
    """Return the settings of a search's best trials, as a start for a longer search.

    Parameters
    ----------
    folder : path
        Folder of a finished or unfinished `search`.
    n : int

    Returns
    -------
    list of dict
    """
    optuna = require("optuna", "train")
    study = optuna.load_study(study_name="search", storage=_storage(optuna, folder))
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    return [trial.params for trial in sorted(done, key=lambda trial: trial.value)[:n]]


def _storage(optuna, folder):
    backend = optuna.storages.journal.JournalFileBackend(str(Path(folder) / "search.journal"))
    return optuna.storages.JournalStorage(backend)


def _write(table, folder):
    with whole_file(folder / "search.ecsv") as temporary:
        table.write(temporary, format="ascii.ecsv")
