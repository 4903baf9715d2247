"""Whether the intervals that infer_table gives hold the truth as often as they say."""

import numpy as np
import pytest
from astropy.table import Column, Table
from infer_tables import PARAMETERS, coordinate

from clusterpost import flags, infer_table
from clusterpost.flow.modelfile import load_model
from clusterpost.training.simulation import Simulator, seeded_generator

pytestmark = pytest.mark.usefixtures("exact_by_default")

CASES = {
    "refined": ({}, {}),
    "network alone": ({"refine": False}, {}),
    "normal noise": ({"noise": "normal"}, {"noise": "normal"}),
    "replica": ({"model": "walter2025", "refine": False}, {}),
}


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def calibration(request):
    """Mocks of the model's own simulator, their truths and what is inferred of them."""
    options, other = CASES[request.param]
    model = load_model(options.get("model", "default"))
    simulator = Simulator.from_dict({**model.card["simulator"], **other})
    drawn = simulator.draw(400, seeded_generator(11, 99))
    measured = drawn.measured.numpy()
    tbl = Table({"distance": drawn.covariates["distance"].numpy()})
    for i, band in enumerate(model.bands):
        for name, values in ((band, drawn.flux), (f"{band}_err", drawn.error)):
            tbl[name] = Column(np.where(measured[:, i], values[:, i].numpy(), np.nan), unit="mJy")
    out = infer_table(tbl, n_samples=200, n_modes=1, error_floor=None, **options)
    good = (out["flag"] & flags.NOT_INFERRED) == 0
    assert good.mean() > 0.99
    intervals = np.array([[coordinate(out, f"{name}_{q}")[good] for q in ("q16", "q84")] for name in PARAMETERS])
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
