"""A model without a likelihood is tested for calibration and certified as others are."""

import json

import numpy as np
import pytest

import clusterpost
from clusterpost.errors import InputError
from clusterpost.flow.modelfile import save_certificate
from clusterpost.validation import rank_statistics
from clusterpost.validation.certificate import certify, posterior_ensemble
from clusterpost.validation.regions import by_region
from clusterpost.validation.report import validate_model
from clusterpost.validation.targets import read_target

pytestmark = pytest.mark.filterwarnings("ignore:model stochastic has no certificate")
SIX = ("log_age", "log_mass", "ebv", "metallicity", "rv", "nebular_covering")


@pytest.mark.slow
def test_report_of_six_parameters_and_their_pairs(tiny_stochastic, tmp_path, coarse_figures):
    tables = validate_model(tiny_stochastic, tmp_path, n_mocks=300, n_draws=20, progress=False)
    tests = [str(name) for name in tables["calibration"]["test"]]
    assert tuple(tests[:6]) == SIX
    assert len([name for name in tests if " " in name and "region" not in name]) == 15
    regions = tables["regions_network"]
    assert set(regions["by"]) == {"age", "mass", "snr", "n_bands", "band_set"}
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert list(certificate["posteriors"]) == ["network"]
    assert (tmp_path / "report.html").is_file()
    assert "walter2025_claims" not in tables  # which are about three parameters


def test_regions_by_the_set_of_bands(tiny_stochastic):
    ensemble = posterior_ensemble(tiny_stochastic, n_mocks=400, n_draws=10, refine=False)
    table = by_region(ensemble, "band_set", 1)
    of_age = table[table["statistic"] == "log_age"]
    assert of_age["n"].sum() == 400
    assert len(of_age) == 3  # the two most frequent sets, and all others
    assert list(of_age["n"][:2]) == sorted(of_age["n"][:2], reverse=True)
    digits = [f"{one:b}".count("1") for one in ensemble.about["band_set"].tolist()]
    assert digits == ensemble.about["n_bands"].tolist()


def test_spoiled_posteriors_leave_the_band(tiny_stochastic):
    ensemble = posterior_ensemble(tiny_stochastic, n_mocks=500, n_draws=20, refine=False)
    ensemble.draws = ensemble.draws + np.array([0.6, 0, 0, 0, 0, 0])
    passes = rank_statistics(ensemble).passes()
    assert not passes["log_age"]
    assert passes["rv"]


def test_certificate(tiny_stochastic, tmp_path):
    for suffix in ("json", "safetensors"):
        (tmp_path / f"stochastic.{suffix}").write_bytes(tiny_stochastic.with_suffix(f".{suffix}").read_bytes())
    save_certificate(tmp_path / "stochastic", certify(tmp_path / "stochastic", n_mocks=200, n_draws=10, progress=False))
    card = clusterpost.load_model(tmp_path / "stochastic").card
    assert card["certificate"]["posteriors"]["network"]["n_mocks"] == 200


def test_what_needs_a_likelihood_says_so(tiny_stochastic):
    mocks = clusterpost.simulate(2, model=tiny_stochastic, errors=0.1, seed=1)
    with pytest.raises(InputError, match=r"the model stochastic has no likelihood.*model="):
        read_target(mocks, model=tiny_stochastic)
