"""Training objectives."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from typing import Any

    from ..flow.base import Flow
    from .simulation import Mocks, Simulator

__all__ = ["LogVariance", "NegativeLogLikelihood"]


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """The mean of -ln q at the mocks' true parameters (Walter et al. 2025, Eq. 8).

    It only needs a simulator.
    """

    recordable = True  #: Whether `~clusterpost.training.step.RecordedStep` can record it.

    def to_dict(self) -> dict[str, str]:
        """Return plain values for a checkpoint and a card."""
        return {"name": "negative log likelihood"}

    def __call__(self, flow: Flow, mocks: Mocks, conditions: torch.Tensor, simulator: Simulator,
                 generator: torch.Generator, progress: float) -> torch.Tensor:
        """Compute the loss of one batch.

        Parameters
        ----------
        flow : Flow
        mocks : Mocks
            Mocks, with the learned parameters as ``theta``.
        conditions : Tensor (n, n_condition)
        simulator : Simulator
        generator : torch.Generator
        progress : float
            Completed fraction of the training.

        Returns
        -------
        Tensor ()
        """
        return -flow.log_prob(mocks.theta, conditions).mean()


@dataclass(frozen=True)
class LogVariance:
    """Spread of ln p(x | theta) - ln q(theta | x) over the flow's own draws, in addition to the NLL.

    With a tractable likelihood, the flow can learn the errors of its density at its
    own draws, and not only at the truths.  Unlike for the NLL, the noise of this
    objective vanishes as the flow becomes exact (the log-variance divergence;
    Richter et al. 2020).  The objective equalizes the importance weights.

    It needs a family whose likelihood has the mass as its amplitude, and a flow over age and reddening.

    Attributes
    ----------
    draws : int
        Number of draws of the flow per mock.
    nll : float
        Weight of the NLL, which ensures that the flow covers the whole posterior.
    begin : float
        Fraction of the training with the NLL alone.
    bend : float
        Deviations beyond this many nats count linearly.
    reach : float
        Draws with log weights below the mean by more than this many nats are
        ignored.  The minimum bins of the spline put a few draws anywhere, where the
        log posterior can be lower by thousands; fitting them would make the
        network's weights diverge.
    """

    draws: int = 7
    nll: float = 0.3
    begin: float = 0.1
    bend: float = 1.0
    reach: float = 4.0

    recordable = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint and a card."""
        return {"name": "log-variance", **asdict(self)}

    def __call__(self, flow: Flow, mocks: Mocks, conditions: torch.Tensor, simulator: Simulator,
                 generator: torch.Generator, progress: float) -> torch.Tensor:
        """Compute the loss of one batch; see `NegativeLogLikelihood`."""
        if progress < self.begin:
            return -flow.log_prob(mocks.theta, conditions).mean()
        shape = (len(mocks.theta), self.draws, mocks.theta.shape[-1])
        with torch.no_grad():
            unit = torch.rand(shape, generator=generator, device=generator.device).clamp(1e-6, 1 - 1e-6)
            drawn, _ = flow.draw(unit, conditions)
            target = simulator.family.likelihood.log_prob_of_colors(mocks, drawn)
        density = flow.log_prob(torch.cat([mocks.theta[:, None], drawn], dim=1), conditions)
        difference = target - density[:, 1:]
        with torch.no_grad():  # outliers do not affect the typical value of an object
            evidence = torch.logsumexp(difference, 1, keepdim=True) - math.log(self.draws)
            usual = difference.clamp(evidence - 3, evidence + 3).mean(1, keepdim=True)
        difference = torch.maximum(difference, evidence - self.reach)
        uneven = functional.huber_loss(difference, usual.expand_as(difference), delta=self.bend)
        return uneven - self.nll * density[:, 0].mean()
