"""The training loop.

It needs only torch, FrEIA, numpy and safetensors, runs on CPU and GPU, and
resumes an interrupted run from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save

from ..errors import InputError
from ..utils import progress_bar, write_whole
from .processes import Processes, join_processes
from .simulation import seeded_generator
from .step import RecordedStep, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.base import Flow
    from ..typing import Encoder, PathLike
    from .recipes import Recipe
    from .simulation import Mocks

__all__ = ["FitConfig", "FitResult", "fit", "mean_nll", "set_scales"]

log = logging.getLogger(__name__)

# Streams of random numbers; those of batches count up from zero.
VALIDATION_STREAM = 1 << 31
_STANDARDIZE_STREAM = VALIDATION_STREAM + 1
_N_STANDARDIZE = 100_000
TEST_STREAM = VALIDATION_STREAM + 2
_AVERAGED_AT_FIRST = 10  # steps
_RUNNING = ("recent", "norm", "passed_over")  # state that a step keeps from earlier steps
_RISE = 200  # steps of the initial rise of a cosine schedule


@dataclass(frozen=True)
class FitConfig:
    """Settings of training; the defaults are those of Walter et al. (2025), Table A.1.

    Attributes
    ----------
    mocks_per_epoch : int
        Fresh mocks drawn in one epoch, after which the learning rate decays.
    epochs : int
    batch_size : int
        Number of mocks per step, shared by the processes of a training.
    batches_at_once : int
        Batches whose mocks are drawn together, for simulators that are faster this way.
    passes : int
        Number of passes through batches drawn together, for simulators that are slower than a GPU.
    learning_rate, learning_rate_decay : float
        Initial step size, and its factor after every epoch.
    schedule : str
        ``epochs`` for this decay; ``cosine`` for a rise over 200 steps and a fall to
        a thousandth along half a cosine.
    optimizer : str
        ``adam`` for all weights, or ``muon`` (Jordan et al. 2024) for the square
        matrices between hidden layers and Adam for the rest.
    muon_factor : float
        Muon's step size in units of Adam's.
    betas : tuple of float
        Betas of Adam.
    l2 : float
        eta of the regularization term eta ||phi||^2.
    max_gradient_norm : float
        Largest norm of gradients; longer ones are scaled down.
    average : float
        Decay of the moving average of the weights per step, lower at first; the averaged weights are validated and
        kept.  Zero for none.
    spike : float
        Ratio of gradient norms: batches with gradients this many times longer
        than recent ones are skipped, because one of them can ruin a training.  If
        more than a few are skipped, the network becomes overconfident.
    n_validation : int
        Number of held-out mocks for the validation NLL.
    validations_per_epoch : int
    patience : int
        Number of validations without a new best NLL before training stops.
    worst_rise : float
        Rise of the validation NLL above the best one, in nats, at which training returns to the best weights and
        continues with half the learning rate.
    checkpoint_every : int
        Steps between checkpoints.
    seed : int
    """

    mocks_per_epoch: int = 5_000_000
    epochs: int = 8
    batch_size: int = 512
    batches_at_once: int = 1
    passes: int = 1
    learning_rate: float = 0.001876
    learning_rate_decay: float = 0.6637
    schedule: str = "epochs"
    optimizer: str = "adam"
    muon_factor: float = 5.0
    betas: tuple = (0.9, 0.999)
    l2: float = 1.353e-6
    max_gradient_norm: float = 10.0
    average: float = 0.0
    spike: float = 1e6
    n_validation: int = 100_000
    validations_per_epoch: int = 2
    patience: int = 8
    worst_rise: float = 1e6
    checkpoint_every: int = 1000
    seed: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps per epoch, rounded up."""
        return -(-self.mocks_per_epoch // self.batch_size)

    @property
    def steps(self) -> int:
        """Number of steps of the training."""
        return self.epochs * self.steps_per_epoch

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        if self.schedule == "cosine":
            falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
            return self.learning_rate * min(1.0, (step + 1) / _RISE) * (0.999 * falling + 0.001)
        return self.learning_rate * self.learning_rate_decay ** (step // self.steps_per_epoch)


@dataclass
class FitResult:
    """Result of a training run.

    Attributes
    ----------
    history : list of dict
        Step, mocks seen, learning rate, training loss and validation NLL at each validation.
    mocks_seen : int
    seconds : float
        Wall time of all parts of the run.
    stopped_early : bool
    passed_over : int
        Number of batches skipped for unusual gradients.
    returns : int
        Number of returns to the best weights.
    """

    history: list
    mocks_seen: int
    seconds: float
    stopped_early: bool
    passed_over: int
    returns: int = 0

    @property
    def best(self) -> dict[str, float]:
        """The entry of ``history`` with the lowest validation NLL; the flow holds its weights."""
        return min(self.history, key=lambda h: h["validation_nll"])

    @property
    def best_nll(self) -> float:
        """The lowest validation NLL."""
        return self.best["validation_nll"]


def mean_nll(flow: Flow, encode: Callable | Encoder, mocks: Mocks, chunk: int = 16384) -> float:
    """Return the mean negative log likelihood of the true parameters, in nats.

    Parameters
    ----------
    flow : Flow
    encode : callable
        Function that takes mocks and returns conditions.
    mocks : Mocks
        Mocks, with the learned parameters as ``theta``.
    chunk : int
        Number of rows at a time.

    Returns
    -------
    float
    """
    total = 0.0
    with torch.inference_mode():
        for rows in torch.arange(len(mocks.theta), device=mocks.theta.device).split(chunk):
            conditions = encode(mocks[rows])
            total -= flow.log_prob(mocks.theta[rows], conditions).double().sum().item()
    return total / len(mocks.theta)


def set_scales(flow: Flow, recipe: Recipe, device: str = "cpu") -> None:
    """Set what a flow takes from a sample of mocks before training, such as the scale of the conditions.

    Parameters
    ----------
    flow : Flow
    recipe : Recipe
    device : str or torch.device
    """
    generator = seeded_generator(recipe.config.seed, _STANDARDIZE_STREAM, device)
    mocks = recipe.learned_part(recipe.simulator.to(device).draw(_N_STANDARDIZE, generator))
    flow.set_from(mocks.theta, recipe.encoder(mocks))


class _Run:
    """The state of a training run, with saving and resuming."""

    def __init__(self, flow, simulator, objective, config, record, processes=Processes()):  # noqa: B008 (immutable)
        self.processes = processes
        self.flow, self.simulator, self.objective, self.config = flow, simulator, objective, config
        self.optimizers = make_optimizers(flow, config)
        self.step = 0
        self.seconds = 0.0
        self.history = []
        self.returns = 0
        self.average = copy.deepcopy(flow) if config.average else flow  # validated and kept
        self.best = {name: value.clone() for name, value in flow.export().items()}
        self.stopped_early = False
        recorded = record and objective.recordable and processes.number == 1
        self.take_step = (RecordedStep if recorded else Step)(
            flow, self.average, self.optimizers, objective, simulator, max_norm=config.max_gradient_norm,
            spike=config.spike, processes=processes)

    def advance(self, mocks, conditions, generator):
        """Take a training step with a batch."""
        rate = self.config.rate(self.step) * 0.5**self.returns
        share = max(1 - self.config.average, _AVERAGED_AT_FIRST / (self.step + _AVERAGED_AT_FIRST))
        self.take_step(mocks, conditions, rate=rate, share=share, generator=generator,
                       progress=self.step / self.config.steps)
        self.step += 1
        return rate

    def validated(self, nll, rate):
        """Record a validation, and keep the weights if they are the best, or return to these if they are much worse."""
        much_worse = not nll <= self.best_nll + self.config.worst_rise  # or NaN
        if nll < self.best_nll:
            self.best = {k: v.clone() for k, v in self.average.export().items()}
        self.history.append({"step": self.step, "mocks_seen": self.step * self.config.batch_size, "learning_rate": rate,
                             "training_loss": self.take_step.recent.item(), "validation_nll": nll})
        log.info("step %d: validation NLL %.4f", self.step, nll)
        if much_worse:
            self.return_to_best()
        self.stopped_early = self.stale >= self.config.patience

    def return_to_best(self):
        """Go on from the best weights with half the learning rate."""
        self.returns += 1
        log.info("step %d: back to the best weights, with half the learning rate", self.step)
        for flow in (self.flow, self.average):
            flow.load_export(self.best)
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                for value in state.values():  # in place, for a recorded step
                    value.zero_()
        self.take_step.norm.fill_(torch.inf)
        self.take_step.recent.fill_(torch.nan)

    @property
    def best_nll(self):
        return min((h["validation_nll"] for h in self.history), default=float("inf"))

    @property
    def stale(self):
        """Number of validations since the best one."""
        values = [h["validation_nll"] for h in self.history]
        return len(values) - 1 - values.index(min(values)) if values else 0

    def save(self, path):
        if not self.processes.is_first:
            return
        tensors = {f"best.{k}": v for k, v in self.best.items()}
        tensors |= {f"now.{k}": v for k, v in self.flow.state_dict().items()}
        if self.average is not self.flow:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.flow.named_parameters():
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"optimizer.{key}.{name}"] = value
        state = {"step": self.step, "seconds": self.seconds, "history": self.history,
                 **{name: getattr(self.take_step, name).item() for name in _RUNNING},
                 "stopped_early": self.stopped_early, "returns": self.returns, **self._identity()}
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        write_whole(path, save(tensors, metadata={"state": json.dumps(state)}))

    def load(self, path):
        with safe_open(str(path), framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        if {k: state.get(k) for k in self._identity()} != json.loads(json.dumps(self._identity())):
            raise ValueError(f"{path} is the checkpoint of another training run (other settings, architecture or "
                             "simulator); give another folder, or remove it to start again")
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.stopped_early, self.returns = state["stopped_early"], state["returns"]
        device = next(self.flow.parameters()).device
        for name in _RUNNING:
            getattr(self.take_step, name).fill_(state[name])
        self.best = {k[5:]: v.to(device) for k, v in tensors.items() if k.startswith("best.")}
        self.flow.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("now.")})
        if self.average is not self.flow:
            self.average.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("average.")})
        for optimizer in self.optimizers:
            mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
            for name, parameter in self.flow.named_parameters():
                if id(parameter) in mine:
                    optimizer.state[parameter] = {
                        key.split(".", 2)[1]: value.to(device) for key, value in tensors.items()
                        if key.startswith("optimizer.") and key.split(".", 2)[2] == name}

    def _identity(self):
        return {"processes": self.processes.number, "config": asdict(self.config), "spec": self.flow.spec.to_dict(),
                "objective": self.objective.to_dict(), "simulator": self.simulator.to_dict()}


def make_optimizers(flow: Flow, config: FitConfig) -> list[torch.optim.Optimizer]:
    """Return one optimizer, or one per kind of weights.

    Parameters
    ----------
    flow : Flow
    config : FitConfig

    Returns
    -------
    list of torch.optim.Optimizer
        Optimizers, with factors of the learning rate as learning rates.

    Raises
    ------
    InputError
        If torch is too old.
    """
    if not hasattr(torch.optim, "Muon"):  # before 2.4, there is no fused Adam on the CPU either
        raise InputError("training needs torch 2.9 or later; install it with: pip install 'clusterpost[train]'")
    weights, square = list(flow.parameters()), []
    if config.optimizer == "muon":
        square = [p for p in weights if p.ndim == 2 and p.shape[0] == p.shape[1]]
    taken = {id(p) for p in square}
    # The gradient of eta ||phi||^2 is 2 eta phi.
    optimizers = [torch.optim.Adam([p for p in weights if id(p) not in taken], lr=1.0, betas=config.betas,
                                   weight_decay=2 * config.l2, fused=True,
                                   capturable=weights[0].is_cuda)]
    if square:
        optimizers.append(torch.optim.Muon(square, lr=config.muon_factor, momentum=0.9, weight_decay=0.0,
                                           adjust_lr_fn="match_rms_adamw"))
    return optimizers


@contextlib.contextmanager
def _denormals_flushed():
    """Treat numbers below 1e-38 as zero, which is faster, and restore the setting afterwards."""
    already = (torch.full((1,), 2.0**-140) * 1.0).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)


@_denormals_flushed()
def fit(flow: Flow, recipe: Recipe, folder: PathLike, *, device: str = "cpu", compile: bool = False,
        record: bool | None = None, progress: bool | None = None, report: Callable | None = None,
        scaled: bool = False) -> FitResult:
    """Train a flow on fresh mocks until it is done or no longer improves.

    Processes that ``torchrun`` started share the mocks of each batch, and all have the same weights.

    Parameters
    ----------
    flow : Flow
        Flow, trained in place; it ends with the weights of the best validation NLL.
    recipe : Recipe
        Simulator, encoder, objective, learned parameters and settings.
    folder : path
        Folder of ``checkpoint.safetensors``.  A run found there is continued, with
        the result of an uninterrupted run within float tolerance.
    device : str or torch.device
    compile : bool or str
        Whether to compile the flow with ``torch.compile``, which needs a C++ compiler and a minute or two; a mode such
        as ``reduce-overhead`` for CUDA graphs, or True for the default mode.
    record : bool, optional
        Whether to record a step as a CUDA graph and replay it, if the objective allows; by default on a GPU.
    progress : bool, optional
        Whether to show a progress bar with the running loss; by default on a terminal.
    report : callable, optional
        Function called at each validation with its entry of the history; for a
        continued run, first with the earlier entries.  An exception ends the training.
    scaled : bool
        Whether the flow has scales from an earlier training.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        If the folder holds the checkpoint of another run.
    InputError
        If the processes cannot share a batch.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    config, encode, objective, processes = recipe.config, recipe.encoder, recipe.objective, join_processes()
    if config.batch_size % processes.number:
        raise InputError(f"{processes.number} processes cannot share batches of {config.batch_size} mocks; "
                         "give a multiple as batch_size")
    simulator = recipe.simulator.to(device)
    flow.to(device)

    def draw(n: int, generator: torch.Generator) -> tuple[Mocks, torch.Tensor]:
        """Draw mocks and encode them."""
        mocks = recipe.learned_part(simulator.draw(n, generator))
        return mocks, encode(mocks)

    if not scaled:
        set_scales(flow, recipe, device)
    validation, _ = draw(config.n_validation, seeded_generator(config.seed, VALIDATION_STREAM, device))
    on_gpu = torch.device(device).type == "cuda"
    run = _Run(flow, simulator, objective, config, on_gpu if record is None else record, processes)

    def stream(step: int) -> torch.Generator:
        """Return the random generator of a step of this process."""
        return seeded_generator(config.seed, step * processes.number + processes.rank, device)

    if checkpoint.exists():
        run.load(checkpoint)
        log.info("continuing at step %d", run.step)
        for entry in run.history if report is not None else ():
            report(entry)
    if compile:
        flow.compile_passes(None if compile is True else compile)

    steps, size, several = config.steps, config.batch_size // processes.number, None
    validate_every = max(1, config.steps_per_epoch // config.validations_per_epoch)
    clock = time.monotonic()
    shown = progress if processes.is_first else False
    with progress_bar(total=steps, initial=run.step, desc="training", unit="step", show=shown) as bar:
        while run.step < steps and not run.stopped_early:
            generator = stream(run.step)
            at = run.step % (config.batches_at_once * config.passes)
            if at == 0:
                several = draw(size * config.batches_at_once, generator)
            elif several is None:  # a run resumed between two draws
                several = draw(size * config.batches_at_once, stream(run.step - at))
            first = at % config.batches_at_once * size
            mocks, conditions = (whole[first:first + size] for whole in several)
            rate = run.advance(mocks, conditions, generator)
            bar.update()
            if run.step % 100 == 0:
                bar.set_postfix(loss=f"{run.take_step.recent.item():.3f}", best=f"{run.best_nll:.3f}", lr=f"{rate:.2g}")
            if run.step % validate_every == 0 or run.step == steps:
                run.validated(mean_nll(run.average, encode, validation), rate)
            if run.step % config.checkpoint_every == 0 or run.step == steps or run.stopped_early:
                now = time.monotonic()
                run.seconds, clock = run.seconds + now - clock, now
                run.save(checkpoint)
            if report is not None and run.history and run.history[-1]["step"] == run.step:
                report(run.history[-1])
    flow.load_export(run.best)
    return FitResult(run.history, run.step * config.batch_size, run.seconds, run.stopped_early,
                     int(run.take_step.passed_over), run.returns)
