"""The training loop.

It needs torch, FrEIA, numpy and safetensors only, runs on CPU and GPU alike,
and takes up an interrupted run where its last checkpoint left it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from ..utils import progress_bar, write_whole
from .simulation import seeded_generator

__all__ = ["FitConfig", "FitResult", "fit", "mean_nll"]

log = logging.getLogger(__name__)

# Streams of the random numbers; batches count up from zero.
_VALIDATION_STREAM = 1 << 31
_STANDARDIZE_STREAM = _VALIDATION_STREAM + 1
TEST_STREAM = _VALIDATION_STREAM + 2
_ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class FitConfig:
    """How to train; the defaults are those of Walter et al. (2025), Table A.1.

    Attributes
    ----------
    mocks_per_epoch : int
        Fresh mocks drawn in one epoch, after which the learning rate decays.
    epochs : int
    batch_size : int
    learning_rate, learning_rate_decay : float
        Initial step size, and the factor it takes after every epoch.
    betas : tuple of float
        Of Adam.
    l2 : float
        eta of the regularisation term eta ||phi||^2.
    max_gradient_norm : float
        Longer gradients are scaled down to this length.
    n_validation : int
        Mocks held out for the validation NLL.
    validations_per_epoch : int
    patience : int
        Validations without a new best NLL after which training stops.
    checkpoint_every : int
        Steps between checkpoints.
    seed : int
    """

    mocks_per_epoch: int = 5_000_000
    epochs: int = 8
    batch_size: int = 512
    learning_rate: float = 0.001876
    learning_rate_decay: float = 0.6637
    betas: tuple = (0.9, 0.999)
    l2: float = 1.353e-6
    max_gradient_norm: float = 10.0
    n_validation: int = 100_000
    validations_per_epoch: int = 2
    patience: int = 8
    checkpoint_every: int = 1000
    seed: int = 0

    @property
    def steps_per_epoch(self):
        """Steps in an epoch, rounded up."""
        return -(-self.mocks_per_epoch // self.batch_size)


@dataclass
class FitResult:
    """What a training run gave.

    Attributes
    ----------
    history : list of dict
        Step, mocks seen, learning rate, training and validation NLL at each validation.
    mocks_seen : int
    seconds : float
        Wall time over all parts of the run.
    stopped_early : bool
    """

    history: list
    mocks_seen: int
    seconds: float
    stopped_early: bool

    @property
    def best(self):
        """The entry of ``history`` with the lowest validation NLL; the flow holds its weights."""
        return min(self.history, key=lambda h: h["validation_nll"])

    @property
    def best_nll(self):
        """The lowest validation NLL."""
        return self.best["validation_nll"]


def mean_nll(flow, encode, mocks, chunk=16384):
    """Mean negative log likelihood of the true parameters, in nats.

    Parameters
    ----------
    flow : ConditionalFlow
    encode : callable
        Flux, error and distance to conditions.
    mocks : Mocks
    chunk : int
        Rows at a time.

    Returns
    -------
    float
    """
    total = 0.0
    with torch.inference_mode():
        for rows in torch.arange(len(mocks.theta), device=mocks.theta.device).split(chunk):
            conditions = encode(mocks.flux[rows], mocks.error[rows], mocks.distance[rows])
            total -= flow.log_prob(mocks.theta[rows], conditions).double().sum().item()
    return total / len(mocks.theta)


class _Run:
    """The state of one training run, and how it is saved and taken up."""

    def __init__(self, flow, simulator, config):
        self.flow, self.simulator, self.config = flow, simulator, config
        # The gradient of eta ||phi||^2 is 2 eta phi.
        self.optimizer = torch.optim.Adam(flow.parameters(), lr=config.learning_rate, betas=config.betas,
                                          weight_decay=2 * config.l2, fused=True)
        self.step = 0
        self.seconds = 0.0
        self.history = []
        self.recent = None  # running mean of the training loss
        self.best = {name: value.clone() for name, value in flow.export().items()}
        self.stopped_early = False

    @property
    def best_nll(self):
        return min((h["validation_nll"] for h in self.history), default=float("inf"))

    @property
    def stale(self):
        """Validations since the best one."""
        values = [h["validation_nll"] for h in self.history]
        return len(values) - 1 - values.index(min(values)) if values else 0

    def save(self, path):
        tensors = {f"best.{k}": v for k, v in self.best.items()}
        tensors |= {f"now.{k}": v for k, v in self.flow.state_dict().items()}
        for name, parameter in self.flow.named_parameters():
            for key in _ADAM_STATE:
                tensors[f"adam.{key}.{name}"] = self.optimizer.state[parameter][key]
        state = {"step": self.step, "seconds": self.seconds, "history": self.history,
                 "recent": None if self.recent is None else self.recent.item(),
                 "stopped_early": self.stopped_early, **self._identity()}
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        write_whole(path, save(tensors, metadata={"state": json.dumps(state)}))

    def load(self, path):
        with safe_open(str(path), framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        if {k: state.get(k) for k in self._identity()} != json.loads(json.dumps(self._identity())):
            raise ValueError(f"{path} is the checkpoint of another training run (other settings, architecture or "
                             "simulator); give another folder, or remove it to start anew")
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.stopped_early = state["stopped_early"]
        device = next(self.flow.parameters()).device
        if state.get("recent") is not None:
            self.recent = torch.tensor(state["recent"], device=device)
        self.best = {k[5:]: v.to(device) for k, v in tensors.items() if k.startswith("best.")}
        self.flow.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("now.")})
        for name, parameter in self.flow.named_parameters():
            self.optimizer.state[parameter] = {key: tensors[f"adam.{key}.{name}"].to(device) for key in _ADAM_STATE}

    def _identity(self):
        return {"config": asdict(self.config), "spec": self.flow.spec.to_dict(), "simulator": self.simulator.to_dict()}


@contextlib.contextmanager
def _denormals_flushed():
    """Count numbers below 1e-38 as zero, which is faster, and leave the process as it was."""
    already = (torch.full((1,), 2.0**-140) * 1.0).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)


@_denormals_flushed()
def fit(flow, simulator, encode, config, folder, *, device="cpu", compile=False, progress=None):
    """Train a flow on fresh mocks until done or no longer improving.

    Parameters
    ----------
    flow : ConditionalFlow
        Trained in place; it ends with the weights of the best validation NLL.
    simulator : Simulator
    encode : callable
        Flux, error and distance to conditions.
    config : FitConfig
    folder : path
        For ``checkpoint.safetensors``.  A run found there is continued, with
        the result of an unbroken one to float tolerance.
    device : str or torch.device
    compile : bool
        Compile the loss with ``torch.compile``, which needs a C++ compiler and
        a minute; a step is then a fifth faster on a CPU.
    progress : bool, optional
        Show a bar with the running loss; by default on a terminal.

    Returns
    -------
    FitResult

    Raises
    ------
    ValueError
        If the folder holds the checkpoint of another run.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    simulator = simulator.to(device)
    flow.to(device)

    def draw(n, stream):
        mocks = simulator.draw(n, seeded_generator(config.seed, stream, device))
        return mocks, encode(mocks.flux, mocks.error, mocks.distance)

    flow.standardize.set_from(draw(100_000, _STANDARDIZE_STREAM)[1])
    validation, _ = draw(config.n_validation, _VALIDATION_STREAM)
    run = _Run(flow, simulator, config)
    if checkpoint.exists():
        run.load(checkpoint)
        log.info("continuing at step %d", run.step)

    def mean_loss(theta, conditions):
        return -flow.log_prob(theta, conditions).mean()

    objective = torch.compile(mean_loss) if compile else mean_loss
    steps = config.epochs * config.steps_per_epoch
    validate_every = max(1, config.steps_per_epoch // config.validations_per_epoch)
    clock = time.monotonic()
    with progress_bar(total=steps, initial=run.step, desc="training", unit="step", show=progress) as bar:
        while run.step < steps and not run.stopped_early:
            epoch = run.step // config.steps_per_epoch
            rate = config.learning_rate * config.learning_rate_decay**epoch
            for group in run.optimizer.param_groups:
                group["lr"] = rate
            mocks, conditions = draw(config.batch_size, run.step)
            loss = objective(mocks.theta, conditions)
            run.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), config.max_gradient_norm)
            run.optimizer.step()
            run.step += 1
            value = loss.detach()
            run.recent = value if run.recent is None else torch.lerp(run.recent, value, 0.01)
            bar.update()
            if run.step % 100 == 0:
                bar.set_postfix(nll=f"{run.recent.item():.3f}", best=f"{run.best_nll:.3f}", lr=f"{rate:.2g}")
            if run.step % validate_every == 0 or run.step == steps:
                nll = mean_nll(flow, encode, validation)
                if nll < run.best_nll:
                    run.best = {k: v.clone() for k, v in flow.export().items()}
                run.history.append({"step": run.step, "mocks_seen": run.step * config.batch_size,
                                    "learning_rate": rate, "training_nll": run.recent.item(), "validation_nll": nll})
                log.info("step %d: validation NLL %.4f", run.step, nll)
                run.stopped_early = run.stale >= config.patience
            if run.step % config.checkpoint_every == 0 or run.step == steps or run.stopped_early:
                now = time.monotonic()
                run.seconds, clock = run.seconds + now - clock, now
                run.save(checkpoint)
    flow.load_export(run.best)
    return FitResult(run.history, run.step * config.batch_size, run.seconds, run.stopped_early)
