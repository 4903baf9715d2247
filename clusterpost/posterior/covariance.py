"""Roots of covariance matrices, including indefinite ones."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cholesky"]


def cholesky(covariance: Tensor) -> Tensor:
    """Factor each covariance matrix, or its diagonal if the matrix has no root.

    Parameters
    ----------
    covariance : Tensor (n, p, p)
        Covariance matrices, with a positive diagonal for valid rows.

    Returns
    -------
    Tensor (n, p, p)
        Lower triangular roots, finite and invertible: a matrix that cannot be factored
        (indefinite because of rounding, or not finite) does not stop the others.

    Examples
    --------
    >>> import torch
    >>> from clusterpost.posterior.covariance import cholesky
    >>> matrices = torch.tensor([[[4.0, 0.0], [0.0, 1.0]], [[torch.nan, 0.0], [0.0, 9.0]]])
    >>> cholesky(matrices).diagonal(dim1=1, dim2=2)
    tensor([[2., 1.],
            [1., 3.]])
    """
    root, failed = torch.linalg.cholesky_ex(covariance)
    bad = (failed > 0) | ~torch.isfinite(root).all(-1).all(-1)
    if bad.any():
        width = covariance[bad].diagonal(dim1=1, dim2=2).sqrt()
        usable = torch.isfinite(width) & (width > 0)
        root[bad] = torch.diag_embed(torch.where(usable, width, 1.0))
    return root
