"""Kinds of flow by their name in model files."""

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

#: Architecture and network of each kind of flow.
FLOWS = {"cinn-affine": (AffineSpec, AffineFlow), "cinn-spline": (SplineSpec, SplineFlow), "maf": (MafSpec, MafFlow),
         "context-spline": (ContextSpec, ContextSplineFlow), "set-spline": (SetSpec, SetSplineFlow)}


def read_spec(values: dict) -> Spec:
    """Read the architecture from plain values of a model file.

    Parameters
    ----------
    values : dict
        Output of a spec's ``to_dict``.

    Returns
    -------
    AffineSpec, SplineSpec or MafSpec

    Raises
    ------
    ValueError
        If the kind of flow is unknown, or a value is not valid for it.
    """
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in FLOWS:
        raise ValueError(f"this version of clusterpost has no flow {str(kind)[:40]!r}; it has {', '.join(FLOWS)}")
    return FLOWS[kind][0].from_dict(values)


def build_flow(spec: Spec) -> Flow:
    """Build an untrained flow with a given architecture.

    Parameters
    ----------
    spec : AffineSpec, SplineSpec or MafSpec

    Returns
    -------
    Flow
    """
    return FLOWS[spec.kind][1](spec)
