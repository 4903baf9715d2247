"""One step of training: the loss of a batch, its gradient, and the update of the weights."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import TYPE_CHECKING

import torch
from torch import nn

from .processes import Processes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..flow.base import Flow
    from .simulation import Mocks, Simulator

__all__ = ["RecordedStep", "Step"]

_SLOW = 0.01  # weight of a new value in running means
_WARM = 3  # steps before a recording


class Step:
    """Training steps.

    All values that differ between steps are tensors, so that a GPU can record a step and replay it.

    Parameters
    ----------
    flow : Flow
    average : Flow
        Copy with averaged weights, or ``flow`` itself for no average.
    optimizers : list of torch.optim.Optimizer
        Optimizers, with factors of the learning rate as learning rates; their steps are scaled by the rate.
    objective : object
        Objective of :mod:`clusterpost.training.objectives`.
    simulator : Simulator
    max_norm, spike : float
        ``max_gradient_norm`` and ``spike`` of `~clusterpost.training.fit.FitConfig`.
    processes : Processes
        Processes that share their gradients.

    Attributes
    ----------
    recent, norm : Tensor ()
        Running means of the loss and of the gradient norm; NaN and infinite before the first step.
    passed_over : Tensor ()
        Number of batches skipped for unusual gradients.
    """

    def __init__(self, flow: Flow, average: Flow, optimizers: Sequence[torch.optim.Optimizer], objective: Any,
                 simulator: Simulator | None, *, max_norm: float, spike: float,
                 processes: Processes = Processes()):  # noqa: B008 (immutable)
        self.processes = processes
        self.flow, self.optimizers, self.objective, self.simulator = flow, optimizers, objective, simulator
        self.max_norm, self.spike = max_norm, spike
        self.weights = list(flow.parameters())
        self.means = [] if average is flow else list(average.parameters())
        self.before = [weight.detach().clone() for weight in self.weights]
        like = {"device": self.weights[0].device}
        self.rate, self.share, self.passed_over = (torch.zeros((), **like) for _ in range(3))
        self.recent, self.norm = torch.full((), torch.nan, **like), torch.full((), torch.inf, **like)

    def __call__(self, mocks: Mocks, conditions: torch.Tensor, *, rate: float, share: float, generator: torch.Generator,
                 progress: float) -> None:
        """Take one step.

        Parameters
        ----------
        mocks : Mocks
        conditions : Tensor (n, n_condition)
        rate : float
            Learning rate.
        share : float
            Fraction of the new weights in the moving average.
        generator : torch.Generator
        progress : float
            Completed fraction of the training.
        """
        self.rate.fill_(rate)
        self.share.fill_(share)
        self._take(mocks, conditions, generator, progress)

    def _take(self, mocks, conditions, generator, progress):
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.flow, mocks, conditions, self.simulator, generator, progress)
        loss.backward()
        self.processes.average(weight.grad for weight in self.weights if weight.grad is not None)
        norm = nn.utils.clip_grad_norm_(self.weights, self.max_norm)
        with torch.no_grad():
            self._update(norm)
            value = loss.detach()
            self.recent.copy_(torch.where(torch.isnan(self.recent), value, torch.lerp(self.recent, value, _SLOW)))

    def _update(self, norm):
        finite, most = torch.isfinite(norm), self.spike * self.norm
        trusted = finite & (norm <= most)
        # Gradients that are too long count with the largest allowed length, so the mean follows a general increase.
        usual = torch.where(torch.isinf(self.norm), norm, torch.lerp(self.norm, torch.minimum(norm, most), _SLOW))
        self.norm.copy_(torch.where(finite, usual, self.norm))
        self.passed_over += ~trusted
        for weight in self.weights:  # rejected gradients must not enter the optimizers' running means
            if weight.grad is not None:
                weight.grad = torch.where(trusted, weight.grad, 0.0)
        torch._foreach_copy_(self.before, self.weights)
        for optimizer in self.optimizers:
            optimizer.step()
        torch._foreach_sub_(self.weights, self.before)
        torch._foreach_mul_(self.weights, self.rate * trusted)
        torch._foreach_add_(self.weights, self.before)
        if self.means:
            away = torch._foreach_sub(self.weights, self.means)
            torch._foreach_mul_(away, self.share)
            torch._foreach_add_(self.means, away)


class RecordedStep(Step):
    """Training steps replayed from a recorded CUDA graph, after a few normal steps.

    A step of a small network consists of thousands of small kernels, and a GPU waits for Python to start each.  In a
    replay, they run without delay.  The objective must be identical at every step, without random numbers
    (``objective.recordable``).
    """

    graph = None
    _taken = 0

    def _take(self, mocks, conditions, generator, progress):
        if self._taken < _WARM:
            self._taken += 1
            side, main = torch.cuda.Stream(), torch.cuda.current_stream()
            side.wait_stream(main)
            with torch.cuda.stream(side):
                super()._take(mocks, conditions, generator, progress)
            main.wait_stream(side)
            return
        if self.graph is None:
            self.mocks, self.conditions = copy.deepcopy(mocks), conditions.clone()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                super()._take(self.mocks, self.conditions, None, 0.0)
        self.conditions.copy_(conditions)
        for field in fields(mocks):
            _copy(getattr(self.mocks, field.name), getattr(mocks, field.name))
        self.graph.replay()


def _copy(to, values):
    if isinstance(values, dict):
        for name, value in values.items():
            _copy(to[name], value)
    else:
        to.copy_(values)
