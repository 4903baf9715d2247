"""What every flow can do, whatever its blocks are."""

from __future__ import annotations

from dataclasses import asdict, fields

import torch
from torch import nn

__all__ = ["Flow", "Spec"]


class Spec:
    """Base of the flows' architectures: plain values that go to the model file and come back."""

    def to_dict(self):
        """As plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        """From what `to_dict` gave, lists in the place of tuples allowed."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise TypeError(f"{cls.__name__} has no {', '.join(sorted(unknown))}")
        return cls(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value):
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


class Flow(nn.Module):
    """A density q(theta | conditions) that can be drawn from and evaluated.

    A kind of flow defines ``_density``, ``_invert``, ``base`` and ``_names``.
    Points have shape (n, n_parameter), or (n, k, n_parameter) for k of them
    under each object's conditions (n, n_condition).
    """

    def log_prob(self, theta, conditions):
        """Log density of parameters.

        Parameters
        ----------
        theta : Tensor (n, n_parameter) or (n, k, n_parameter)
        conditions : Tensor (n, n_condition)

        Returns
        -------
        Tensor (n,) or (n, k)
            Per unit of each parameter; -inf outside the bounds.
        """
        single = theta.ndim == 2
        density = self._density(theta[:, None] if single else theta, self.standardize(conditions))
        return density[:, 0] if single else density

    def transform(self, z, conditions):
        """Turn base points into draws.

        Parameters
        ----------
        z : Tensor (n, n_parameter) or (n, k, n_parameter)
            Points of the base distribution.
        conditions : Tensor (n, n_condition)

        Returns
        -------
        theta : Tensor
            Of the shape of ``z``.
        log_prob : Tensor (n,) or (n, k)
            Their log density.
        """
        single = z.ndim == 2
        theta, density = self._invert(z[:, None] if single else z, self.standardize(conditions))
        return (theta[:, 0], density[:, 0]) if single else (theta, density)

    def draw(self, unit, conditions):
        """Turn points of the unit cube into draws; as `transform` otherwise."""
        return self.transform(self.base(unit), conditions)

    def compile_passes(self):
        """Compile both directions with ``torch.compile``."""
        self._density, self._invert = torch.compile(self._density), torch.compile(self._invert)

    def export(self):
        """Weights under names of our own, independent of FrEIA's.

        Returns
        -------
        dict of Tensor
        """
        state = self.state_dict()
        return {ours: state[theirs].contiguous() for ours, theirs in self._names()}

    def load_export(self, tensors):
        """Take weights that `export` gave.

        Parameters
        ----------
        tensors : dict of Tensor
        """
        self.load_state_dict({theirs: tensors[ours] for ours, theirs in self._names()})
