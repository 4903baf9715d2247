"""Model: a flow with its card, bands, conditions, and family."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from ..config import conf
from ..errors import ModelError
from ..families import family_of_simulator
from .network import build_flow

if TYPE_CHECKING:
    from typing import Any

    from ..families.base import ModelFamily
    from ..observations import Observed
    from ..typing import Encoder
    from .base import Flow
    from .metadata import ModelMetadata

__all__ = ["Model", "torch_device"]


class Model:
    """A loaded flow with its card.

    Attributes
    ----------
    name : str
    flow : Flow
        Flow in evaluation mode, on its device.
    metadata : ModelMetadata
        Entries of the JSON file, checked against the schema, with the model's hash as ``sha256``.
    """

    def __init__(self, name: str, flow: Flow, metadata: ModelMetadata):
        self.name, self.flow, self.metadata = name, flow, metadata

    def __repr__(self) -> str:
        return (f"<Model {self.name!r}: {', '.join(self.parameters)} from {len(self.bands)} bands, "
                f"{self.metadata.n_weights:,} weights, {self.metadata.sha256[:12]}, on {self.device}>")

    def check(self) -> None:
        """Check that network, encoder, and family are consistent.

        Raises
        ------
        ModelError
            If they do not.
        """
        spec, prior, n_bands = self.flow.spec, self.family.prior, len(self.bands)
        size = self.encoder.size(n_bands)
        if size != spec.n_conditions:
            raise ModelError(f"the encoder gives {size} conditions, but the network takes {spec.n_conditions}")
        if len(set(self.learned)) != spec.n_parameters or not set(self.learned) <= set(self.parameters):
            raise ModelError(f"the network draws {spec.n_parameters} parameters, but the card states "
                             f"{', '.join(self.learned)} of {', '.join(self.parameters)}")
        if tuple(prior.names) != self.parameters:
            raise ModelError("the prior does not have the family's parameters")
        at = [self.parameters.index(name) for name in self.learned]
        for mine, other in ((spec.low, prior.low), (spec.high, prior.high)):
            if not torch.equal(torch.tensor(mine), other[at].cpu().float()):
                raise ModelError("the bounds of the network and the prior differ")
        if len(set(self.bands)) < n_bands:
            raise ModelError(f"duplicate bands: {', '.join(self.bands)}")
        slots = [*(self.metadata.simulator.coverage.slots or ()), *getattr(self.encoder, "slots", ())]
        if not all(isinstance(index, int) and 0 <= index < n_bands for slot in slots for index in slot):
            raise ModelError(f"a slot contains an index that is not one of the {n_bands} bands")
        for known in self.family.covariates:
            if not all(isinstance(end, int | float) for end in (known.low, known.high)) or known.low > known.high:
                raise ModelError(f"the range of the {known.name} is not valid")
        limits = self.metadata.condition_range
        if limits is not None and not len(limits.low) == len(limits.high) == size:
            raise ModelError(f"the range of the conditions does not have {size} lower and upper bounds")

    @property
    def card(self) -> dict[str, Any]:
        """All entries of the JSON file as plain values."""
        return self.metadata.card

    @functools.cached_property
    def family(self) -> ModelFamily:
        """Model family, on the device of the model."""
        return family_of_simulator(self.card["simulator"]).to(self.device)

    @functools.cached_property
    def encoder(self) -> Encoder:
        """Encoder of observations into conditions."""
        return self.family.read_encoder(self.metadata.conditions)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of the model, in order."""
        return self.family.band_names

    @property
    def filter_groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of interchangeable bands, of which one per group is sufficient."""
        slots = self.metadata.simulator.coverage.slots
        return tuple((i,) for i in range(len(self.bands))) if slots is None else slots

    @property
    def min_bands(self) -> int:
        """Minimum number of measured groups: that of the family, or all for a network trained with every band."""
        return len(self.bands) if self.metadata.simulator.coverage.slots is None else self.family.min_bands

    @property
    def takes_sets(self) -> bool:
        """Whether the model was trained with several sets of bands and does not need all of them."""
        return self.metadata.simulator.coverage.sets is not None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return self.family.parameter_names

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.flow.box.low.device

    def to(self, device: str) -> Model:
        """Return the model on a device, or itself if it is already there.

        Parameters
        ----------
        device : str or torch.device

        Returns
        -------
        Model

        Raises
        ------
        ModelError
            If torch does not know the device or cannot find it.
        """
        device = torch.empty(0, device=torch_device(device)).device  # including its index
        if device == self.device:
            return self
        flow = build_flow(self.flow.spec)
        flow.load_export(self.flow.export())
        return Model(self.name, flow.requires_grad_(False).eval().to(device), self.metadata)

    @property
    def learned(self) -> tuple[str, ...]:
        """Names of the parameters drawn by the flow, in order."""
        return self.metadata.learned

    def encode(self, observed: Observed) -> torch.Tensor:
        """Compute the conditions of the network.

        Parameters
        ----------
        observed : Observed

        Returns
        -------
        Tensor (n, n_condition)
        """
        return self.encoder(observed)


def torch_device(name: str | None = None) -> str | torch.device:
    """Choose the computing device.

    Parameters
    ----------
    name : str, optional
        ``cpu``, ``cuda`` or ``auto``; by default `clusterpost.conf.device`.

    Returns
    -------
    str or `torch.device`

    Raises
    ------
    ModelError
        If torch does not know the device or cannot find it.
    """
    name = name or conf.device
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if str(name).startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"device {name!r} was requested, but torch finds no GPU; use option:device='cpu'")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ModelError(f"torch does not know the device {name!r}; use 'cpu' or 'cuda'") from None
