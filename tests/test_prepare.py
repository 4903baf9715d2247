"""What inference is given of a table's measurements."""

import numpy as np
import torch

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.noise import get_noise
from clusterpost.prepare import prepare


def prepared(tbl):
    return prepare(tbl, WFC3_BANDS, get_noise("lognormal"), slots=[[i] for i in range(5)], at_least=2, columns=None,
                   distance=None, error_floor=None)


def test_a_limit_is_no_sharper_than_a_thousandth_of_it():
    tbl = clusterpost.simulate(3, seed=1)
    tbl["F275W_limit"] = [True, True, False]
    tbl["F275W_err"][:2] = [0.0, 0.2] * tbl["F275W"][:2]
    observed = prepared(tbl).observed
    assert observed.limit[:, 0].tolist() == [True, True, False]
    ratio = observed.error[:, 0] / observed.flux[:, 0]
    torch.testing.assert_close(ratio[:2], torch.tensor([1e-3, 0.2], dtype=torch.float64))
    np.testing.assert_allclose(observed.error[2, 0], tbl["F275W_err"][2].value)
