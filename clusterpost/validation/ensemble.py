"""Mocks with draws from their posteriors, the input of all checks on mocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from astropy.table import Table

from ..families.clusters.parameters import PARAMETERS, STATISTICS
from ..priors import BoxPrior
from ..training.simulation import seeded_generator
from ..utils import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..families.base import Parameter, Prior
    from ..training.simulation import Mocks, Simulator

__all__ = ["Ensemble", "draw_ensemble", "mock_chunks"]

# Mocks are drawn in blocks of this size for any `chunk`, so that memory settings never change a result.
_BLOCK = 4096


@dataclass
class Ensemble:
    """Mocks with draws from their posteriors.

    Attributes
    ----------
    truth : ndarray (n, n_parameter)
        True parameters.
    draws : ndarray (n, k, n_parameter)
        Independent draws of equal weight.
    log_q : ndarray (n, k)
        Normalized log density of the tested posterior at the draws; NaN if unknown.
    log_q_truth : ndarray (n,)
        The same density at the truth.
    about : Table
        For each mock ``n_bands``, ``snr``, the median flux over error of the measured bands, and ``band_set``, a number
        whose binary digits encode the bands.
    mocks : Mocks, optional
        The observations.
    sampler : object, optional
        Sampler with a ``log_prob(mocks, theta)`` that returns the log density up to a constant per mock.  A distorted
        ensemble should have none.
    family : ModelFamily, optional
        Family of the mocks, with its parameters, statistics and bounds; by default that of fully sampled clusters.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.table import Table
    >>> from clusterpost.validation import Ensemble
    >>> rng = np.random.default_rng(1)
    >>> truth, draws = rng.normal(size=(20, 3)), rng.normal(size=(20, 50, 3))
    >>> log_q, log_q_truth = -0.5 * (draws**2).sum(-1), -0.5 * (truth**2).sum(-1)
    >>> about = Table({"n_bands": np.full(20, 5), "snr": np.full(20, 10.0)})
    >>> ensemble = Ensemble(truth, draws, log_q, log_q_truth, about)
    >>> len(ensemble[:5]), ensemble.has_density
    (5, True)
    """

    truth: np.ndarray
    draws: np.ndarray
    log_q: np.ndarray
    log_q_truth: np.ndarray
    about: Table
    mocks: object = None
    sampler: object = None
    family: object = None

    def __post_init__(self) -> None:
        n, d = len(self.truth), len(self.parameters)
        k = np.shape(self.draws)[1] if np.ndim(self.draws) == 3 else -1
        wanted = {"truth": (n, d), "draws": (n, k, d), "log_q": (n, k), "log_q_truth": (n,)}
        for name, shape in wanted.items():
            values = np.asarray(getattr(self, name))
            setattr(self, name, values)
            if values.shape != shape:
                raise ValueError(f"{name} has shape {values.shape} in place of {shape}")
        if len(self.about) != n:
            raise ValueError(f"about has {len(self.about)} rows in place of {n}")

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, rows: slice | np.ndarray) -> Ensemble:
        mocks = None if self.mocks is None else self.mocks[rows]
        return Ensemble(self.truth[rows], self.draws[rows], self.log_q[rows], self.log_q_truth[rows],
                        self.about[rows], mocks, self.sampler, self.family)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters of the family, in order."""
        return PARAMETERS if self.family is None else self.family.parameters

    @property
    def prior(self) -> Prior:
        """Prior of the mocks."""
        return BoxPrior.of(self.parameters) if self.family is None else self.family.prior

    @property
    def statistics(self) -> Mapping:
        """Functions of theta with tested ranks, by name."""
        return STATISTICS if self.family is None else self.family.statistics

    @property
    def marginals(self) -> dict[str, Callable]:
        """The parameters as functions of theta, by name."""
        return {p.name: (lambda theta, i=i: theta[..., i]) for i, p in enumerate(self.parameters)}

    @property
    def n_draws(self) -> int:
        """Number of draws per mock."""
        return self.draws.shape[1]

    @property
    def has_density(self) -> bool:
        """Whether the tested density is known at every truth and draw."""
        return not (np.isnan(self.log_q_truth).any() or np.isnan(self.log_q).any())

    def log_prob(self, theta: np.ndarray, chunk: int = 131_072) -> np.ndarray:
        """Compute the normalized log density of the tested posteriors at other points.

        Parameters
        ----------
        theta : array (n, m, n_parameter)
            Points; the density outside the prior is -inf.
        chunk : int
            Number of points to process at a time.

        Returns
        -------
        ndarray (n, m)

        Raises
        ------
        ValueError
            If the ensemble has no sampler with a density.
        """
        if self.mocks is None or not hasattr(self.sampler, "log_prob"):
            raise ValueError("the density of these posteriors is known at their draws only")
        # Only differences come from the sampler, because the normalization of a refined posterior is that of its draws.
        points = np.concatenate([self.truth[:, None], theta], axis=1)
        size, parts = max(1, chunk // points.shape[1]), []
        with torch.inference_mode():
            for start in range(0, len(self), size):
                rows = slice(start, start + size)
                at = torch.as_tensor(points[rows], dtype=torch.float32)
                parts.append(self.sampler.log_prob(self.mocks[rows], at).cpu().numpy())
        values = np.concatenate(parts) if parts else np.empty(points.shape[:2])
        return values[:, 1:] - values[:, :1] + self.log_q_truth[:, None]

    def with_draws(self, draws: np.ndarray, log_q: np.ndarray | None = None,
                   log_q_truth: np.ndarray | None = None) -> Ensemble:
        """Return the same mocks with other posteriors.

        Parameters
        ----------
        draws : array (n, k, n_parameter)
        log_q : array (n, k), optional
        log_q_truth : array (n,), optional
            Densities of the other posteriors; unknown by default.

        Returns
        -------
        Ensemble
        """
        log_q = np.full(np.shape(draws)[:2], np.nan) if log_q is None else log_q
        log_q_truth = np.full(len(self), np.nan) if log_q_truth is None else log_q_truth
        return replace(self, draws=draws, log_q=log_q, log_q_truth=log_q_truth, sampler=None)


def draw_ensemble(sampler: Any, simulator: Any, n_mocks: int, n_draws: int = 100, seed: int = 0, *,
                  chunk: int = 131_072, progress: bool | None = None) -> Ensemble:
    """Draw mocks from a simulator, and draws from their posteriors.

    Parameters
    ----------
    sampler : object
        Object whose ``sampler.draw(mocks, n_draws, generator)`` returns independent draws (n, n_draws, n_parameter)
        from the posteriors, their log density (n, n_draws) and that of the truths (n,), such as
        `~clusterpost.validation.samplers.PosteriorSampler`.
    simulator, n_mocks, n_draws, seed, chunk, progress
        As for `~clusterpost.validation.sbc_ranks`, which uses the same mocks and draws for the same seed.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        If ``n_mocks`` or ``n_draws`` is below one.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, draw_ensemble
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> ensemble = draw_ensemble(PosteriorSampler(model, refine=False), simulator,
    ...                          n_mocks=20, n_draws=10)
    >>> ensemble.draws.shape, ensemble.about.colnames
    ((20, 10, 3), ['n_bands', 'snr', 'band_set'])
    """
    parts = []
    for mocks, generator in mock_chunks(simulator, n_mocks, n_draws, seed, chunk, progress):
        parts.append([mocks, *(values.cpu() for values in sampler.draw(mocks, n_draws, generator))])
    kept, draws, log_q, log_q_truth = zip(*parts, strict=True)
    mocks = type(kept[0]).concatenate(kept)
    return Ensemble(mocks.theta.numpy(), torch.cat(draws).numpy(), torch.cat(log_q).numpy(),
                    torch.cat(log_q_truth).numpy(), _about(mocks), mocks, sampler, getattr(simulator, "family", None))


def mock_chunks(simulator: Simulator, n_mocks: int, n_draws: int, seed: int = 0, chunk: int = 131_072,
                progress: bool | None = None) -> Iterator[tuple[Mocks, torch.Generator]]:
    """Yield the mocks of a seed in chunks, with the generator for their posterior draws.

    Parameters
    ----------
    simulator, n_mocks, n_draws, seed, chunk, progress
        As for `~clusterpost.validation.sbc_ranks`.

    Yields
    ------
    mocks : Mocks
    generator : torch.Generator

    Raises
    ------
    ValueError
        If ``n_mocks`` or ``n_draws`` is below one.
    """
    if n_mocks < 1 or n_draws < 1:
        raise ValueError(f"n_mocks and n_draws must be at least 1, not {n_mocks} and {n_draws}")
    # Training numbers its streams 0, 1, 2, ...; mocks of the training must not reappear here.
    streams = np.random.SeedSequence([int(seed), 2018]).generate_state(2).tolist()
    of_mocks, of_draws = (seeded_generator(seed, stream) for stream in streams)
    size = max(1, int(chunk) // n_draws)
    with torch.inference_mode(), progress_bar(n_mocks, show=progress, desc="mocks", unit="mock") as bar:
        for start in range(0, n_mocks, _BLOCK):
            mocks = simulator.draw(min(_BLOCK, n_mocks - start), of_mocks)
            for first in range(0, len(mocks.theta), size):
                part = mocks[first:first + size]
                yield part, of_draws
                bar.update(len(part.theta))


def _about(mocks):
    measured = mocks.measured
    snr = torch.where(measured, mocks.flux / mocks.error, torch.nan).nanmedian(dim=1).values
    powers = 2 ** torch.arange(measured.shape[1])  # encodes the bands as digits of a number
    return Table({"n_bands": measured.sum(1).numpy(), "snr": snr.double().numpy(),
                  "band_set": (measured * powers).sum(1).numpy()})
