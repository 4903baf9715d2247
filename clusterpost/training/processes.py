"""Training in several processes, each with mocks of its own, that share their gradients.

``torchrun`` starts the processes; without it, there is one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Processes", "join_processes"]


@dataclass(frozen=True)
class Processes:
    """The processes of a training run.

    Attributes
    ----------
    rank : int
        Number of this process, from zero; the first one writes the files.
    number : int
        Number of processes.
    """

    rank: int = 0
    number: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace tensors, the same in number and shape in all processes, by their means over the processes.

        Parameters
        ----------
        tensors : iterable of Tensor
        """
        if self.number == 1:
            return
        tensors = list(tensors)
        together = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(together)
        together /= self.number
        for tensor, mean in zip(tensors, together.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.number > 1:
            distributed.barrier()


def join_processes() -> Processes:
    """Join the other processes of the same ``torchrun`` command, if any.

    Returns
    -------
    Processes

    Examples
    --------
    >>> from clusterpost.training.processes import join_processes
    >>> join_processes().is_first
    True
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    return Processes(distributed.get_rank(), distributed.get_world_size())
