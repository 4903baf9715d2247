"""Expected coverage: whether credible regions contain the truth at their nominal rate.

Both checks rank a scalar of the truth among those of the draws.  As in simulation-based calibration, the ranks
are uniform for exact posteriors, with the same bands and p-values.
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
        Ensemble with densities, up to a constant per mock.
    seed : int
        Random seed of tie breaking.

    Returns
    -------
    SBCResult
        Ranks of the statistic ``HPD``.  A truth of rank r lies in the highest-density region with credibility
        1 - r / (n_draws + 1).  An ECDF above that of uniform ranks means that posteriors are too narrow.

    Raises
    ------
    ValueError
        If the density is not known.

    Notes
    -----
    Expected coverage is defined in Hermans et al. (2022), arXiv:2110.06581.  As in any check of ranks, the prior
    itself passes as posterior.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, coverage_ranks, draw_ensemble
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> ensemble = draw_ensemble(PosteriorSampler(model, refine=False), simulator,
    ...                          n_mocks=20, n_draws=10)
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
        Random seed of the reference points, one per mock.
    references : str or array (n, n_parameter)
        ``prior``: uniform within the prior's bounds; ``draws``: uniform in the box spanned by the mock's draws and
        truth; or the points themselves.  Distances are Euclidean, in units of the widths of the box, or of the
        prior's widths for given points.
    prior : object of `clusterpost.priors`, optional
        Prior; by default that of the ensemble's family.

    Returns
    -------
    SBCResult
        Ranks of the statistic ``TARP``.  Too many high ranks mean that posteriors are too narrow or biased.

    Raises
    ------
    ValueError
        If ``references`` is not one of these.

    Notes
    -----
    The test is that of Lemos et al. (2023), arXiv:2302.03026.  With references on all sides, a bias has only a
    second-order effect, like posteriors that are too narrow; a corner of the prior as reference for all mocks shows
    it best.  The box of a mock's draws includes the truth because otherwise only the truth could lie outside.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.training.simulation import Simulator
    >>> from clusterpost.validation import PosteriorSampler, draw_ensemble, tarp_ranks
    >>> model = clusterpost.load_model("walter2025")
    >>> simulator = Simulator.of(model)
    >>> ensemble = draw_ensemble(PosteriorSampler(model, refine=False), simulator,
    ...                          n_mocks=20, n_draws=10)
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
    """Return the fraction of truths inside credible regions, from ranks.

    Parameters
    ----------
    result : SBCResult
        Output of `coverage_ranks` or `tarp_ranks`, or ranks of any statistic whose regions start at its lowest value.

    Returns
    -------
    credibility : ndarray (n_draws + 2,)
    coverage : ndarray (n_stat, n_draws + 2)
        Fraction of truths; values below a high credibility mean that posteriors are too narrow.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.validation import SBCResult, expected_coverage
    >>> ranks = SBCResult(np.array([[0], [0], [3], [4]]), ("HPD",), 4)
    >>> credibility, coverage = expected_coverage(ranks)
    >>> credibility, coverage
    (array([0. , 0.2, 0.4, 0.6, 0.8, 1. ]), array([[0.  , 0.25, 0.5 , 0.5 , 0.5 , 1.  ]]))
    """
    z, difference = result.ecdf_difference()
    coverage = difference + z
    # Highest-density regions include the highest ranks first.
    highest_first = np.array([name == "HPD" for name in result.names])
    return z, np.where(highest_first[:, None], 1 - coverage[:, ::-1], coverage)
