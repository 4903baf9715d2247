"""Expected coverage: whether credible regions hold the truth as often as they say.

Both checks are ranks of a scalar of truth and draws, uniform under exact posteriors as those of
simulation-based calibration are, and share its bands and p-values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .sbc import SBCResult, count_below

__all__ = ["coverage_ranks", "expected_coverage", "tarp_ranks"]

_AT_ONCE = 4096  # mocks


def coverage_ranks(ensemble: Any, seed: int = 0) -> SBCResult:
    """Rank the density at each truth among the densities at its draws.

    Parameters
    ----------
    ensemble : Ensemble
        With densities, up to a constant of each mock.
    seed : int
        Of how ties fall.

    Returns
    -------
    SBCResult
        Of the statistic ``HPD``.  The truth of rank r lies in the region of highest posterior density with
        credibility 1 - r / (n_draws + 1); an ECDF above that of uniform ranks means posteriors too narrow.

    Raises
    ------
    ValueError
        If the density is not known.

    Notes
    -----
    Expected coverage as of Hermans et al. (2022), arXiv:2110.06581.  Like any check of ranks, a posterior that is
    the prior passes it.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, coverage_ranks, draw_ensemble
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> ensemble = draw_ensemble(PosteriorSampler(model, refine=False), simulator, n_mocks=20, n_draws=10)
    >>> coverage_ranks(ensemble).names
    ('HPD',)
    """
    if not ensemble.has_density:
        raise ValueError("not applicable: the coverage of highest-density regions needs the density of the "
                         "posteriors, which this ensemble does not have")
    ranks = count_below(ensemble.log_q_truth, ensemble.log_q, np.random.default_rng([int(seed), 2110]))
    return SBCResult(ranks[:, None], ("HPD",), ensemble.n_draws)


def tarp_ranks(ensemble: Any, seed: int = 0, *, references: Any = "prior", prior: Any = None) -> SBCResult:
    """Rank the distance of each truth from a random point among the distances of its draws.

    Parameters
    ----------
    ensemble : Ensemble
    seed : int
        Of the reference points, one for each mock.
    references : str or array (n, n_parameter)
        ``prior``: uniform within the prior's bounds; ``draws``: uniform in the box that the mock's draws and truth
        span together; or the points themselves.  Distances are Euclidean, in units of the box's widths, for given
        points in those of the prior's.
    prior : object of `clusterpost.priors`, optional
        By default that of the ensemble's family.

    Returns
    -------
    SBCResult
        Of the statistic ``TARP``; too many of the highest ranks mean posteriors too narrow, or elsewhere.

    Raises
    ------
    ValueError
        If there is no such choice of references.

    Notes
    -----
    Lemos et al. (2023), arXiv:2302.03026.  A bias shows in second order only, as posteriors too narrow, where
    references lie on all sides; a corner of the prior for all mocks shows it best.  The box of a mock's draws has
    the truth in it too: otherwise the truth alone could lie outside.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, draw_ensemble, tarp_ranks
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> ensemble = draw_ensemble(PosteriorSampler(model, refine=False), simulator, n_mocks=20, n_draws=10)
    >>> tarp_ranks(ensemble, references="draws").names
    ('TARP',)
    """
    given = None if isinstance(references, str) else np.asarray(references, float)
    if (given is None and references not in ("prior", "draws")) or (
            given is not None and given.shape != ensemble.truth.shape):
        raise ValueError(f"references={references!r} must be 'prior', 'draws' or points of shape "
                         f"{ensemble.truth.shape}")
    prior = ensemble.prior if prior is None else prior
    bounds = prior.low.cpu().double().numpy(), prior.high.cpu().double().numpy()
    rng, ranks = np.random.default_rng([int(seed), 2302]), []
    for start in range(0, len(ensemble), _AT_ONCE):
        truth = ensemble.truth[start : start + _AT_ONCE, None].astype(float)
        draws = ensemble.draws[start : start + _AT_ONCE].astype(float)
        low, high = (np.broadcast_to(end, truth.shape) for end in bounds)
        if given is None and references == "draws":
            together = np.concatenate([truth, draws], axis=1)
            low, high = together.min(1, keepdims=True), together.max(1, keepdims=True)
        width = np.where(high > low, high - low, 1.0)
        point = low + width * rng.random(truth.shape) if given is None else given[start : start + _AT_ONCE, None]
        of_truth, of_draws = (np.square((theta - point) / width).sum(-1) for theta in (truth, draws))
        ranks.append(count_below(of_truth[:, 0], of_draws, rng))
    return SBCResult(np.concatenate(ranks)[:, None], ("TARP",), ensemble.n_draws)


def expected_coverage(result: Any) -> tuple[np.ndarray, np.ndarray]:
    """Share of truths inside credible regions, from ranks.

    Parameters
    ----------
    result : SBCResult
        From `coverage_ranks` or `tarp_ranks`, or of any statistic whose regions extend from its lowest value up.

    Returns
    -------
    credibility : ndarray (n_draws + 2,)
    coverage : ndarray (n_stat, n_draws + 2)
        Below a high credibility: posteriors too narrow.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.validation import SBCResult, expected_coverage
    >>> credibility, coverage = expected_coverage(SBCResult(np.array([[0], [0], [3], [4]]), ("HPD",), 4))
    >>> credibility, coverage
    (array([0. , 0.2, 0.4, 0.6, 0.8, 1. ]), array([[0.  , 0.25, 0.5 , 0.5 , 0.5 , 1.  ]]))
    """
    z, difference = result.ecdf_difference()
    coverage = difference + z
    # A region of highest density takes the highest ranks first.
    highest_first = np.array([name == "HPD" for name in result.names])
    return z, np.where(highest_first[:, None], 1 - coverage[:, ::-1], coverage)
