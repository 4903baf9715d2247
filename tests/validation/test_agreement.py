"""The same numbers as other packages give of the same draws (extra ``agreement``)."""

import numpy as np
import pytest
import torch
from conjugate import MEAN, WIDTH, ConjugateSampler, ConjugateSimulator

from clusterpost.priors import BoxPrior
from clusterpost.validation import (
    MARGINALS,
    coverage_ranks,
    draw_ensemble,
    expected_coverage,
    rank_statistics,
    tarp_ranks,
)

pytestmark = pytest.mark.filterwarnings("ignore")

N, K = 400, 100
BOX = BoxPrior(MEAN - 4 * WIDTH, MEAN + 4 * WIDTH)


@pytest.fixture(scope="module", params=[{}, {"shift": 0.5}, {"widen": 1.4}], ids=["exact", "shifted", "widened"])
def ensemble(request):
    return draw_ensemble(ConjugateSampler(**request.param), ConjugateSimulator(), N, K, progress=False)


@pytest.fixture(scope="module")
def points():
    """References in the unit cube, and in the box of the prior."""
    unit = np.random.default_rng(1).random((N, 3))
    return unit, BOX.low.numpy() + (BOX.high - BOX.low).numpy() * unit


class Recorded:
    """An ensemble with the face of an sbi posterior; the observation of a mock is its number."""

    def __init__(self, ensemble):
        self.theta = torch.as_tensor(ensemble.draws).swapaxes(0, 1)
        self.ensemble, self.numbers = ensemble, torch.arange(len(ensemble), dtype=torch.float32)[:, None]

    def sample_batched(self, shape, x, show_progress_bars=False):
        assert shape == self.theta.shape[:1]
        return self.theta[:, x[:, 0].long()]

    def log_prob(self, theta, x):
        row = int(x[0])
        return torch.as_tensor(self.ensemble[[row]].log_prob(theta.numpy()[None])[0])


@pytest.fixture
def recorded(ensemble):
    return {"thetas": torch.as_tensor(ensemble.truth), "xs": Recorded(ensemble).numbers,
            "posterior": Recorded(ensemble), "num_posterior_samples": K, "show_progress_bar": False}


def test_ranks_are_those_of_sbi(ensemble, recorded):
    sbi = pytest.importorskip("sbi.diagnostics")
    ranks, _ = sbi.run_sbc(**recorded)
    np.testing.assert_array_equal(rank_statistics(ensemble, MARGINALS).ranks, ranks)


def test_coverage_is_that_of_sbi(ensemble, recorded):
    sbi = pytest.importorskip("sbi.diagnostics")
    ranks, _ = sbi.run_sbc(**recorded, reduce_fns=recorded["posterior"].log_prob)
    # sbi evaluates each density anew; of two nearly the same, rounding decides.
    assert np.abs(coverage_ranks(ensemble).ranks - ranks.numpy()).max() <= 1


def test_tarp_is_that_of_sbi(ensemble, recorded, points):
    sbi = pytest.importorskip("sbi.diagnostics")
    low, width = BOX.low, BOX.high - BOX.low
    scaled = Recorded(ensemble)
    scaled.theta = (scaled.theta - low) / width
    recorded.update(thetas=(recorded["thetas"] - low) / width, posterior=scaled)
    ecp, alpha = sbi.run_tarp(**recorded, references=torch.as_tensor(points[0], dtype=torch.float32),
                              z_score_theta=False, num_bins=20)
    same_curve(tarp_ranks(ensemble, references=points[1], prior=BOX), ecp.numpy(), alpha.numpy())


def test_tarp_is_that_of_tarp(ensemble, points):
    tarp = pytest.importorskip("tarp")
    low, width = BOX.low.numpy(), (BOX.high - BOX.low).numpy()
    ecp, alpha = tarp.get_tarp_coverage((ensemble.draws.swapaxes(0, 1) - low) / width, (ensemble.truth - low) / width,
                                        references=points[0], norm=False, num_alpha_bins=20)
    same_curve(tarp_ranks(ensemble, references=points[1], prior=BOX), ecp, alpha)


def same_curve(result, ecp, alpha):
    """Their coverage is the share of truths nearer than the alpha-quantile of the draws; bins end where ranks do."""
    share = result.ranks[:, 0] / result.n_draws
    for value, level in zip(ecp[1:-1], alpha[1:-1], strict=True):
        near = [(share < level - 1e-6).mean(), (share < level + 1e-6).mean()]
        assert near[0] - 1.5 / N <= value <= near[1] + 1.5 / N
    assert ecp[-1] == pytest.approx(1)
    credibility, coverage = expected_coverage(result)
    assert np.abs(np.interp(alpha, credibility, coverage[0]) - ecp).max() < 0.05
