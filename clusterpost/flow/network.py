"""The kinds of flow there are, by the name that a model file gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .affine import AffineFlow, AffineSpec
from .context import ContextSpec, ContextSplineFlow
from .maf import MafFlow, MafSpec
from .set_encoder import SetSpec, SetSplineFlow
from .spline import SplineFlow, SplineSpec

if TYPE_CHECKING:
    from .base import Flow, Spec

__all__ = ["FLOWS", "build_flow", "read_spec"]

#: Architecture and network of each kind.
FLOWS = {"cinn-affine": (AffineSpec, AffineFlow), "cinn-spline": (SplineSpec, SplineFlow), "maf": (MafSpec, MafFlow),
         "context-spline": (ContextSpec, ContextSplineFlow), "set-spline": (SetSpec, SetSplineFlow)}


def read_spec(values: dict) -> Spec:
    """Read the architecture that a model file's plain values describe.

    Parameters
    ----------
    values : dict
        What a spec's ``to_dict`` gave.

    Returns
    -------
    AffineSpec, SplineSpec or MafSpec

    Raises
    ------
    ValueError
        If there is no such kind of flow, or a value does not fit it.
    """
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in FLOWS:
        raise ValueError(f"this version of clusterpost has no flow {str(kind)[:40]!r}; it has {', '.join(FLOWS)}")
    return FLOWS[kind][0].from_dict(values)


def build_flow(spec: Spec) -> Flow:
    """Build an untrained flow of that architecture.

    Parameters
    ----------
    spec : AffineSpec, SplineSpec or MafSpec

    Returns
    -------
    Flow
    """
    return FLOWS[spec.kind][1](spec)
