"""Base classes of conditional flows and of their architectures."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated

import msgspec
import torch
from msgspec import Meta
from torch import nn

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Bounds", "Depth", "Flow", "Index", "Size", "Spec", "check_order", "count_dense", "log_normal"]

#: Types of the fields of an architecture, against which values in model files are checked.
Size = Annotated[int, Meta(ge=1, le=2**20)]
Depth = Annotated[int, Meta(ge=0, le=2**20)]
Index = Annotated[int, Meta(ge=0, lt=1000)]
Bounds = Annotated[tuple[Annotated[float, Meta(ge=-1e30, le=1e30)], ...], Meta(min_length=1, max_length=1000)]


class Spec:
    """Base class of flow architectures, stored as plain values in the model file.

    Subclasses are dataclasses with the fields ``n_parameters``, ``n_conditions``, ``low``, and ``high`` that
    define `count_weights`.
    """

    def __post_init__(self) -> None:
        if not len(self.low) == len(self.high) == self.n_parameters:
            raise ValueError(f"{self.n_parameters} parameters need as many lower and upper bounds, not "
                             f"{len(self.low)} and {len(self.high)}")
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("every lower bound of a parameter must be below its upper bound")

    def count_weights(self) -> int:
        """Compute the number of trained weights without building the network."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Spec:
        """Make a spec from the output of `to_dict`, with lists instead of tuples.

        Raises
        ------
        ValueError
            If a value is missing, unknown, of the wrong type, or out of bounds.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"{cls.__name__} has no {', '.join(sorted(unknown))[:100]}")
        return msgspec.convert(values, cls)


def count_dense(sizes: list[int]) -> int:
    """Count weights and biases of successive linear layers with these sizes."""
    return sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))


def check_order(order: tuple[int, ...], n: int) -> None:
    """Raise ValueError unless ``order`` contains each integer below ``n`` once."""
    if sorted(order) != list(range(n)):
        raise ValueError(f"{list(order)[:20]} is not an order of {n} parameters")


class Flow(nn.Module):
    """Density q(theta | conditions) that can be sampled and evaluated.

    Each kind of flow defines ``_density``, ``_invert``, ``base``, and ``_names``.
    Points have shape (n, n_parameter), or (n, k, n_parameter) for k points
    under each object's conditions (n, n_condition).
    """

    @torch.no_grad()
    def set_from(self, theta: torch.Tensor, conditions: torch.Tensor) -> None:
        """Set values fixed before training, such as the scale of the conditions, from a sample.

        Parameters
        ----------
        theta : Tensor (n, n_parameter)
        conditions : Tensor (n, n_condition)
        """
        self.standardize.set_from(conditions)

    def log_prob(self, theta: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Compute the log density of parameters.

        Parameters
        ----------
        theta : Tensor (n, n_parameter) or (n, k, n_parameter)
        conditions : Tensor (n, n_condition)

        Returns
        -------
        Tensor (n,) or (n, k)
            Log density per unit of each parameter; -inf outside the bounds.
        """
        single = theta.ndim == 2
        density = self._density(theta[:, None] if single else theta, self.standardize(conditions))
        return density[:, 0] if single else density

    def transform(self, z: torch.Tensor, conditions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform base points to draws.

        Parameters
        ----------
        z : Tensor (n, n_parameter) or (n, k, n_parameter)
            Points of the base distribution.
        conditions : Tensor (n, n_condition)

        Returns
        -------
        theta : Tensor
            Draws with the shape of ``z``.
        log_prob : Tensor (n,) or (n, k)
            Log density of the draws.
        """
        single = z.ndim == 2
        theta, density = self._invert(z[:, None] if single else z, self.standardize(conditions))
        return (theta[:, 0], density[:, 0]) if single else (theta, density)

    def draw(self, unit: torch.Tensor, conditions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Transform points of the unit cube to draws; otherwise as `transform`."""
        return self.transform(self.base(unit), conditions)

    def compile_passes(self, mode: str | None = None) -> None:
        """Compile both directions with ``torch.compile`` in one of its modes."""
        self._density, self._invert = (torch.compile(way, mode=mode) for way in (self._density, self._invert))

    def export(self) -> dict:
        """Return the weights under our own names, independent of FrEIA.

        Returns
        -------
        dict of Tensor
        """
        state = self.state_dict()
        return {ours: state[theirs].contiguous() for ours, theirs in self._names()}

    def load_export(self, tensors: dict) -> None:
        """Load weights from `export`.

        Parameters
        ----------
        tensors : dict of Tensor
        """
        self.load_state_dict({theirs: tensors[ours] for ours, theirs in self._names()})


def log_normal(z: torch.Tensor) -> torch.Tensor:
    """Compute the log density of a standard normal distribution, summed over the last axis."""
    return -0.5 * (z**2).sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
