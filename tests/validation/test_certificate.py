"""Certificates: what is measured, where it is kept, and when it no longer holds."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest

from clusterpost import list_models, load_model
from clusterpost.errors import ModelError, UncertifiedModelWarning
from clusterpost.flow import bundled, modelfile
from clusterpost.flow.bundled import bundled_models
from clusterpost.flow.metadata import certificate_of
from clusterpost.flow.modelfile import save_certificate
from clusterpost.validation.certificate import (
    calibration,
    certificate_table,
    certify,
    describe_model,
    disagreements,
    make_certificate,
    measured,
    posterior_ensemble,
)
from clusterpost.validation.parts import draw_in_parts, remove_parts

SIZE = {"n_mocks": 200, "n_draws": 30}


@pytest.fixture
def stem(tmp_path, monkeypatch):
    """A copy of the replica, without a certificate, that no one has loaded yet."""
    for suffix in (".json", ".safetensors"):
        shutil.copy(bundled.MODELS_PATH / f"walter2025{suffix}", tmp_path / f"mine{suffix}")
    path = tmp_path / "mine.json"
    card = json.loads(path.read_text())
    card.pop("certificate", None)
    path.write_text(json.dumps(card, indent=1))
    monkeypatch.setattr(modelfile, "_warned", set())
    return tmp_path / "mine"


@pytest.fixture(scope="module")
def certificate():
    return certify("walter2025", **SIZE, n_refined=0, progress=False)


def card_of(stem):
    return json.loads(stem.with_suffix(".json").read_text())


# What is measured


def test_a_certificate_is_plain_and_complete(certificate):
    assert json.loads(json.dumps(certificate, allow_nan=False)) == certificate
    assert certificate["sha256"] == load_model("walter2025").card["sha256"]
    assert (certificate["n_mocks"], certificate["n_draws"], certificate["seed"]) == (200, 30, 1)
    assert set(certificate["versions"]) == {"clusterpost", "torch", "numpy"}
    network = certificate["posteriors"]["network"]
    assert list(network["tests"]) == ["T1", "T2", "T3", "T4", "T5", "T6", "HPD", "TARP"]
    assert list(network["regions"]) == ["age", "mass", "snr"]  # all bands always
    assert abs(network["entropy"]["z"]) < 5
    worst = max(network["tests"][name]["max_difference"] for name in ("T1", "T2", "T3", "T4", "T5", "T6"))
    assert network["max_difference"] == worst
    for row in network["tests"].values():
        assert 0 < row["band"] < 0.2
        if row["max_difference"] > row["band"]:
            assert not row["inside_band"]


def test_it_is_measured_again_with_the_same_seed_only(certificate):
    again = certify("walter2025", **SIZE, n_refined=0, progress=False)
    assert again["posteriors"] == certificate["posteriors"]
    other = certify("walter2025", **SIZE, seed=2, n_refined=0, progress=False)
    assert other["posteriors"] != certificate["posteriors"]


def test_refined_posteriors_have_a_size_of_their_own():
    found = certify("any_bands", n_mocks=60, n_draws=20, n_refined=30, progress=False)
    assert {name: record["n_mocks"] for name, record in found["posteriors"].items()} == {"network": 60, "refined": 30}
    assert "n_bands" in found["posteriors"]["refined"]["regions"]
    table = certificate_table(found)
    assert set(table["n"][table["posterior"] == "refined"][:8]) == {30}
    assert table.meta["sha256"] == found["sha256"]


# What is kept while it is measured


def test_parts_are_taken_up_again(tmp_path, monkeypatch):
    from clusterpost.validation import parts

    monkeypatch.setattr(parts, "_BLOCK", 40)
    options = {"n_mocks": 100, "n_draws": 10, "refine": False, "progress": False}
    whole = posterior_ensemble("walter2025", **options)
    drawn = []

    def interrupted(*args, **kwargs):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(1)
        return draw(*args, **kwargs)

    draw = parts.draw_ensemble
    monkeypatch.setattr(parts, "draw_ensemble", interrupted)
    with pytest.raises(KeyboardInterrupt):
        posterior_ensemble("walter2025", parts=tmp_path, **options)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    drawn.pop()  # one more may be drawn: the third block, and neither of the first
    resumed = posterior_ensemble("walter2025", parts=tmp_path, **options)
    for name in ("truth", "draws", "log_q", "log_q_truth"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    assert (resumed.about["snr"] == whole.about["snr"]).all()
    assert len(drawn) == 2

    drawn.clear()
    posterior_ensemble("walter2025", parts=tmp_path, **{**options, "n_mocks": 80})
    assert not drawn
    posterior_ensemble("walter2025", parts=tmp_path, **{**options, "n_mocks": 40}, seed=2)
    assert len(drawn) == 1
    (tmp_path / "note.txt").write_text("mine")
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    (tmp_path / "note.txt").unlink()
    remove_parts(tmp_path)
    assert not tmp_path.exists()


def test_parts_of_a_model_of_nine_parameters(tmp_path):
    options = {"n_mocks": 20, "n_draws": 5, "refine": False, "parts": tmp_path, "progress": False}
    drawn, read = (posterior_ensemble("galaxies", **options) for _ in range(2))
    assert read.truth.shape == (20, 9)
    np.testing.assert_array_equal(read.draws, drawn.draws)


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match="at least 1"):
        draw_in_parts(None, None, 0)


# Where it is kept


def test_a_certificate_leaves_all_else_as_it_is(stem, certificate):
    before, weights = card_of(stem), stem.with_suffix(".safetensors").read_bytes()
    save_certificate(stem, certificate)
    after = card_of(stem)
    assert after.pop("certificate") == certificate
    assert after == before
    assert stem.with_suffix(".safetensors").read_bytes() == weights
    assert certificate_of(load_model(stem).card) == certificate
    save_certificate(stem, {**certificate, "seed": 5})
    assert certificate_of(card_of(stem))["seed"] == 5


def test_a_certificate_of_other_weights_is_refused(stem, certificate):
    before = stem.with_suffix(".json").read_bytes()
    with pytest.raises(ModelError, match=r"certificate is for another model .* make a new one"):
        save_certificate(stem, {**certificate, "sha256": "0" * 64})
    assert stem.with_suffix(".json").read_bytes() == before


def test_a_model_without_one_warns_once(stem):
    with pytest.warns(UncertifiedModelWarning, match=r"mine has no certificate.*: clusterpost validate .* --certify"):
        load_model(stem)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(stem)


def test_a_model_with_one_does_not(stem, certificate):
    save_certificate(stem, certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(stem)


def test_one_of_other_weights_warns(stem, certificate):
    stem.with_suffix(".json").write_text(json.dumps({**card_of(stem), "certificate": {**certificate, "sha256": "0"}}))
    with pytest.warns(UncertifiedModelWarning, match="certificate of another model"):
        model = load_model(stem)
    assert certificate_of(model.card) is None
    assert "of another model" in describe_model(model)


def test_the_list_says_who_is_certified(stem, certificate, monkeypatch):
    monkeypatch.setattr(bundled, "MODELS_PATH", stem.parent)
    assert list(list_models()["certificate"]) == ["none"]
    assert np.isnan(list_models()["max_difference"]).all()
    save_certificate(stem, certificate)
    row = list_models()[0]
    assert row["certificate"] == f"200 mocks, {certificate['date']}"
    assert row["max_difference"] == certificate["posteriors"]["network"]["max_difference"]
    assert "compares only" in list_models()["test_nll"].description
    assert row["learned"] == "log_age log_mass ebv"
    described = describe_model(load_model(stem))
    assert f"{row['max_difference']:.4f}" in described
    assert "200 mocks with 30 draws each, seed 1" in described


# When it no longer holds


def test_other_mocks_agree_and_spoiled_posteriors_do_not():
    model = load_model("any_bands")
    certified = measured(model, 400, 50, n_refined=0, regions=(), progress=False)
    certificate = make_certificate(model, certified, seed=1)
    fresh = posterior_ensemble("any_bands", 400, 50, seed=2, refine=False, progress=False)
    assert disagreements(certificate, {"network": calibration(fresh, regions=())}) == []
    half = np.diff(np.quantile(fresh.draws, [0.16, 0.84], axis=1), axis=0)[0] / 2
    moved = fresh.with_draws(fresh.draws + 0.5 * half[:, None], fresh.log_q, fresh.log_q_truth)
    found = disagreements(certificate, {"network": calibration(moved, regions=())})
    assert any("T1" in text for text in found), found
    sharp = fresh.with_draws(fresh.draws, fresh.log_q + 1, fresh.log_q_truth)
    found = disagreements(certificate, {"network": calibration(sharp, regions=())})
    assert any("entropy" in text for text in found), found


@pytest.mark.slow
@pytest.mark.calibration
@pytest.mark.parametrize("name", bundled_models())
def test_bundled_certificates_hold(name):
    """Full size by hand: CLUSTERPOST_CALIBRATION_MOCKS=100000 pytest -m calibration."""
    card = load_model(name).card
    certificate = certificate_of(card)
    assert certificate is not None, f"clusterpost validate {name} -o FOLDER --certify"
    assert certificate["n_draws"] >= 50
    n_mocks = int(os.environ.get("CLUSTERPOST_CALIBRATION_MOCKS", 500))
    n_refined = min(n_mocks, certificate["posteriors"].get("refined", {"n_mocks": 0})["n_mocks"])
    n_refined = n_refined if name == "any_bands" or n_mocks > 500 else min(n_refined, 40)
    tested = measured(name, n_mocks, certificate["n_draws"], seed=certificate["seed"] + 1, n_refined=n_refined,
                      regions=())
    assert disagreements(certificate, tested) == []
