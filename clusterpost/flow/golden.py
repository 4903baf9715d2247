"""Golden vectors: stored examples that verify the function of a model file.

They are computed in double precision, where all platforms agree to many more digits
than two different models.  Single precision, in which models run, rounds differently on different
processors and torch versions. The resulting change of a vector is measured when
the file is written, by perturbing the weights by their rounding errors.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from ..errors import ModelError, PlatformWarning
from .network import build_flow

if TYPE_CHECKING:
    from .base import Flow

__all__ = ["check_golden_vectors", "golden_vectors"]

_N_GOLDEN = 16
_N_CANDIDATES = 16 * _N_GOLDEN
_N_PERTURBED = 8
_ROUNDING = 2.0**-23  # relative rounding error of single precision

# In units of a parameter's range, and in nats.  Double precision agrees to 3e-13 between the code paths of MKL
# (AVX-512, AVX2, SSE4.2, COMPATIBLE) and ATen; a change in the fifth digit of a weight tensor exceeds this limit.
_SAME = 1e-7
# In multiples of the measured scatter, the largest of a few perturbations; the paths above stay within 2.
_USUAL = 20.0
_LEAST_SCATTER = 1e-6
# Larger than any rounding of a well-conditioned vector, but not than that of a broken or reduced-precision device.
_LARGEST = 1e-2
# Files of version 0.1 contain single-precision vectors, some of them ill-conditioned.
_SAME_IN_SINGLE = 2e-4


def golden_vectors(flow: Flow) -> dict:
    """Choose well-conditioned examples and compute them in double precision.

    Parameters
    ----------
    flow : Flow
        Flow on the CPU, in evaluation mode.

    Returns
    -------
    dict of Tensor
        ``golden.z`` and ``golden.conditions`` in single precision; ``golden.theta`` and ``golden.log_prob`` in double
        precision; ``golden.scatter`` (2,): the largest change by rounding, of the weights or of single precision here,
        of theta in units of each parameter's range, and of the log density in nats.

    Notes
    -----
    Of 256 random points, those whose log density depends least on the rounding of the weights are used; the
    log density of a point far from all training data can change by many nats.
    """
    generator = torch.Generator().manual_seed(20250801)
    z = flow.base(torch.rand(_N_CANDIDATES, flow.spec.n_parameters, generator=generator))
    standard = torch.randn(_N_CANDIDATES, flow.spec.n_conditions, generator=generator)
    conditions = standard * flow.standardize.scale + flow.standardize.shift
    scatter = _rounding_scatter(flow, z, conditions, generator)
    # A stride of four keeps some variety within the best quarter.
    chosen = scatter[:, 1].nan_to_num(nan=torch.inf).argsort()[: 4 * _N_GOLDEN : 4]
    z, conditions = z[chosen], conditions[chosen]
    theta, log_prob = exact = _transform(_in_double(flow), z, conditions)
    here = _differences(flow, _transform(flow, z, conditions), exact)
    return {"golden.z": z, "golden.conditions": conditions, "golden.theta": theta, "golden.log_prob": log_prob,
            "golden.scatter": torch.maximum(scatter[chosen], here).amax(0)}


def check_golden_vectors(flow: Flow, tensors: dict, name: str) -> None:
    """Raise if a flow computes a different function than when it was saved.

    Parameters
    ----------
    flow : Flow
        Flow in evaluation mode, on the device where it runs.
    tensors : dict of Tensor
        Output of `golden_vectors`, or from a file of version 0.1.
    name : str
        Name of the model, for messages.

    Raises
    ------
    ModelError
        If the vectors differ in double precision, or by much more than rounding in single precision.

    Warns
    -----
    PlatformWarning
        If single precision differs by more than rounding.
    """
    z, conditions, theta, log_prob = (tensors[f"golden.{key}"] for key in ("z", "conditions", "theta", "log_prob"))
    exact = _transform(_in_double(flow), z, conditions)
    if "golden.scatter" not in tensors:
        _check_single(flow, z, conditions, theta, log_prob, exact, name)
        return
    worst = _differences(flow, exact, (theta, log_prob)).max().item()
    if not worst <= _SAME:
        raise ModelError(f"{name} gives different results than when it was written (by {worst:.2g}, allowed "
                         f"{_SAME:g}); check the installed torch and FrEIA with clusterpost check")
    found = _differences(flow, _transform(flow, z, conditions), (theta, log_prob)).amax(0)
    scatter = tensors["golden.scatter"].double().clamp(min=_LEAST_SCATTER)
    if not (found <= _LARGEST).all():
        precise = torch.get_float32_matmul_precision() == "highest"
        remedy = "use another device" if precise else "call torch.set_float32_matmul_precision('highest')"
        raise ModelError(f"{name} gives wrong results on {flow.box.low.device} in single precision (off by "
                         f"{found.max():.2g}, but correct in double precision); {remedy}")
    if (found > _USUAL * scatter).any():
        warnings.warn(f"{name} gives slightly different results than when it was written: theta differs by "
                      f"{found[0]:.1g} of its range and the log density by {found[1]:.1g} nat; "
                      f"{_USUAL * scatter[0]:.1g} and {_USUAL * scatter[1]:.1g} are usual between platforms",
                      PlatformWarning, stacklevel=3)


def _check_single(flow, z, conditions, theta, log_prob, exact, name):
    """Check single-precision vectors as closely as their conditioning allows."""
    scatter = _rounding_scatter(flow, z, conditions, torch.Generator().manual_seed(1))
    off = _differences(flow, exact, (theta, log_prob)) - _USUAL * scatter
    worst = (off / torch.tensor([1.0, 10.0])).max().item()
    if not worst <= _SAME_IN_SINGLE:
        raise ModelError(f"{name} gives different results than when it was written (by {worst:.2g}, allowed "
                         f"{_SAME_IN_SINGLE:g}); check the installed torch and FrEIA with clusterpost check")


def _rounding_scatter(flow, z, conditions, generator):
    """Compute the largest change of theta (in units of its range) and log density from rounding of weights, (n, 2)."""
    exact = _transform(_in_double(flow), z, conditions)
    changes = []
    for _ in range(_N_PERTURBED):
        other = _in_double(flow)
        for weights in other.parameters():
            weights *= 1 + _ROUNDING * torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        changes.append(_differences(flow, _transform(other, z, conditions), exact))
    return torch.stack(changes).amax(0)


def _differences(flow, found, expected):
    """Compute differences of theta, in units of each parameter's range, and log density, in nats: (n, 2)."""
    span = (flow.box.high - flow.box.low).cpu().double()
    theta = ((found[0] - expected[0]) / span).abs().amax(-1)
    return torch.stack([theta, (found[1] - expected[1]).abs()], -1)


def _in_double(flow):
    """Return the same flow in double precision on the CPU."""
    double = build_flow(flow.spec).double().requires_grad_(False).eval()
    double.load_export(flow.export())
    return double


def _transform(flow, z, conditions):
    """Compute draws and their log density, returned in double precision on the CPU."""
    kind = flow.box.low
    with torch.inference_mode():
        theta, log_prob = flow.transform(z.to(kind), conditions.to(kind))
    return theta.cpu().double(), log_prob.cpu().double()
