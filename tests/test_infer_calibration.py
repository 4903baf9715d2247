"""Whether the intervals that infer_table gives hold the truth as often as they say."""

import numpy as np
import pytest
from astropy.table import Column, Table

from clusterpost import flags, infer_table
from clusterpost.flow.modelfile import load_model
from clusterpost.training.simulation import Simulator, seeded_generator


@pytest.fixture(scope="module")
def calibration():
    """Mocks of the model's own simulator, their truths and what is inferred of them."""
    model = load_model()
    drawn = Simulator.from_dict(model.card["simulator"]).draw(400, seeded_generator(11, 99))
    tbl = Table({"distance": drawn.distance.numpy()})
    for i, band in enumerate(model.bands):
        tbl[band], tbl[f"{band}_err"] = (Column(x[:, i].numpy(), unit="mJy") for x in (drawn.flux, drawn.error))
    out = infer_table(tbl, n_samples=100, error_floor=None)
    good = (out["flag"] & flags.NOT_INFERRED) == 0
    assert good.mean() > 0.99
    intervals = [[np.asarray(out[f"{name}_{q}"])[good] for q in ("q16", "q84")] for name in ("age", "mass", "ebv")]
    intervals = np.array([[np.log10(x) if i < 2 else x for x in pair] for i, pair in enumerate(intervals)])
    return drawn.theta.double().numpy()[good].T, intervals


def within(truth, interval):
    """Whether the coverage of 68 % intervals is 0.68 to four sigma of its binomial distribution."""
    coverage = ((truth >= interval[0]) & (truth <= interval[1])).mean()
    return abs(coverage - 0.68) < 4 * np.sqrt(0.68 * 0.32 / len(truth)), coverage


@pytest.mark.slow
@pytest.mark.calibration
@pytest.mark.parametrize("parameter", [0, 1, 2])
def test_coverage(calibration, parameter):
    truth, interval = calibration[0][parameter], calibration[1][parameter]
    covered, coverage = within(truth, interval)
    assert covered, coverage
    # Half a width off, one sigma of a normal posterior, does not pass.
    covered, coverage = within(truth + 0.5 * (interval[1] - interval[0]), interval)
    assert not covered, coverage
