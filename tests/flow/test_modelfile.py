import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from clusterpost.errors import InputError, ModelError
from clusterpost.flow.affine import AffineFlow
from clusterpost.flow.conditions import read_encoder
from clusterpost.flow.modelfile import MODELS_PATH, bundled_models, list_models, load_model, save_model
from clusterpost.flow.network import build_flow
from clusterpost.training.recipes import any_bands, walter2025


@pytest.fixture
def flow():
    torch.manual_seed(1)
    flow = AffineFlow(walter2025(n_blocks=2, width=8).spec)
    for parameter in flow.inn.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    flow.standardize.set_from(2 * torch.randn(100, 11) + 1)
    return flow.eval()


def card_of(recipe):
    return {"conditions": recipe.encoder.to_dict(), "learned": list(recipe.learned), "training": {"mocks_seen": 0},
            "simulator": recipe.simulator.to_dict()}


@pytest.fixture
def stem(flow, tmp_path):
    save_model(tmp_path / "tiny", flow, card_of(walter2025(n_blocks=2, width=8)))
    return tmp_path / "tiny"


def change_card(stem, **changes):
    path = stem.with_suffix(".json")
    card = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in card.items() if v is not ...}))


def change_weights(stem, change):
    """Other tensors, and a card that states their hash."""
    path = stem.with_suffix(".safetensors")
    tensors = load_tensors(path.read_bytes())
    change(tensors)
    data = save_tensors(tensors)
    path.write_bytes(data)
    change_card(stem, sha256=hashlib.sha256(data).hexdigest())


def test_round_trip(flow, stem):
    model = load_model(stem, device="cpu")
    assert model.name == "tiny"
    assert model.bands == ("F275W", "F336W", "F438W", "F555W", "F814W")
    assert model.parameters == model.learned == ("log_age", "log_mass", "ebv")
    assert model.card["n_weights"] == sum(p.numel() for p in flow.parameters())
    assert model.card["sha256"] == hashlib.sha256(stem.with_suffix(".safetensors").read_bytes()).hexdigest()
    assert not model.flow.training
    assert not any(p.requires_grad for p in model.flow.parameters())
    z, conditions = torch.randn(50, 3), torch.randn(50, 11)
    with torch.inference_mode():
        for one, two in zip(flow.transform(z, conditions), model.flow.transform(z, conditions), strict=True):
            assert torch.equal(one, two)
    again = stem.parent / "again"
    save_model(again, model.flow, {k: model.card[k] for k in ("conditions", "learned", "training", "simulator")})
    assert again.with_suffix(".safetensors").read_bytes() == stem.with_suffix(".safetensors").read_bytes()


def test_round_trip_of_a_spline_flow(tmp_path):
    recipe = any_bands(bands=("F275W", "F438W", "F435W_ACS"), width=(8, 8), depth=(1, 1), bins=(4, 4), knots=8)
    torch.manual_seed(2)
    flow = build_flow(recipe.spec)
    for parameter in flow.inn.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_model(tmp_path / "spline", flow, card_of(recipe))
    model = load_model(tmp_path / "spline", device="cpu")
    assert model.bands == ("F275W", "F438W", "F435W_ACS")
    assert model.parameters == ("log_age", "log_mass", "ebv")
    assert model.learned == ("log_age", "ebv")
    flux = torch.tensor([[1.0, 2.0, 3.0]])
    measured = torch.tensor([[True, False, True]])
    conditions = model.encode(flux, 0.1 * flux, measured, torch.ones(1))
    assert torch.equal(conditions, recipe.encoder(flux, 0.1 * flux, measured, torch.ones(1)))
    unit = torch.rand(1, 20, 2)
    with torch.inference_mode():
        for one, two in zip(flow.draw(unit, conditions), model.flow.draw(unit, conditions), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize("suffix", ["", ".json", ".safetensors"])
def test_either_file_or_neither_names_it(stem, suffix):
    assert load_model(str(stem) + suffix, device="cpu").name == "tiny"


def test_a_model_is_given_back(stem):
    model = load_model(stem, device="cpu")
    assert load_model(model) is model


def test_nothing_is_pickled(stem, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr("pickle.load", None)
    monkeypatch.setattr("pickle.loads", None)
    load_model(stem, device="cpu")
    data = stem.with_suffix(".safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert json.loads(data[8 : 8 + length])  # the header of a safetensors file
    json.loads(stem.with_suffix(".json").read_text())
    assert sorted(p.name for p in stem.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_encode(stem):
    flux, error, distance = torch.full((2, 5), 0.1), torch.full((2, 5), 0.02), torch.tensor([3.0, 4.0])
    measured = torch.ones(2, 5, dtype=torch.bool)
    conditions = load_model(stem, device="cpu").encode(flux, error, measured, distance)
    np.testing.assert_allclose(conditions, [[-1] * 5 + [0.2] * 5 + [d] for d in (3, 4)], rtol=1e-6)


# Files that are not as they were written


def refused(stem, message):
    with pytest.raises(ModelError, match=message) as info:
        load_model(stem, device="cpu")
    assert stem.name in str(info.value)
    assert isinstance(info.value, InputError)


def test_damaged_weights(stem):
    path = stem.with_suffix(".safetensors")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    refused(stem, "does not have the sha256 that its card states; get both files anew")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_cut_off_weights(stem, keep):
    path = stem.with_suffix(".safetensors")
    data = path.read_bytes()[:keep]
    path.write_bytes(data)
    refused(stem, "sha256")
    change_card(stem, sha256=hashlib.sha256(data).hexdigest())
    refused(stem, "no model that this version .*get both files anew")


def test_a_wrong_hash(stem):
    change_card(stem, sha256="0" * 64)
    refused(stem, "sha256")


@pytest.mark.parametrize("value", [0, 2, "1", None, ...])
def test_a_wrong_format(stem, value):
    change_card(stem, format=value)
    refused(stem, "has format .*; this version of clusterpost reads 1")


@pytest.mark.parametrize("text", [b"", b"{", b"no json", b'{"format": 1,}', b"\xff\xfe\x00"])
def test_bad_json(stem, text):
    stem.with_suffix(".json").write_bytes(text)
    refused(stem, r"tiny\.json is not valid JSON .*; get the file anew")


@pytest.mark.parametrize("text", ["[]", "1", "null", "{}"])
def test_json_that_is_no_card(stem, text):
    stem.with_suffix(".json").write_text(text)
    refused(stem, "has format None")


@pytest.mark.parametrize("key", ["sha256", "architecture", "conditions"])
def test_a_card_that_lacks_something(stem, key):
    change_card(stem, **{key: ...})
    refused(stem, "get both files anew")


@pytest.mark.parametrize(
    "change", [{"kind": "cinn-spline"}, {"kind": "maf"}, {"kind": "no-such"}, {"formula": 2}, {"no_such": 1},
               {"width": 16}, {"permutations": [[0, 1, 2]]}]
)
def test_an_architecture_that_does_not_fit(stem, change):
    architecture = json.loads(stem.with_suffix(".json").read_text())["architecture"]
    change_card(stem, architecture={**architecture, **change})
    refused(stem, "no model that this version|gives other numbers")


def test_unknown_conditions(stem):
    change_card(stem, conditions={"name": "colors"})
    refused(stem, "has no conditions .*colors.*get both files anew")


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_half_a_model(stem, suffix):
    stem.with_suffix(suffix).unlink()
    refused(stem, r"no model .*bundled models are .*walter2025.*a \.safetensors file that has its \.json beside it")


def test_no_such_model():
    with pytest.raises(ModelError, match="no model 'walter1925': bundled models are"):
        load_model("walter1925")


@pytest.mark.parametrize("name", ["golden.theta", "golden.log_prob"])
@pytest.mark.parametrize("value", [0.1, torch.nan])
def test_golden_vectors_that_do_not_come_out(stem, name, value):
    def tamper(tensors):
        tensors[name].flatten()[3] += value

    change_weights(stem, tamper)
    refused(stem, "gives other numbers here than when it was written .*clusterpost check")


def test_weights_that_were_exchanged(stem):
    def tamper(tensors):
        tensors["weights.block0.first.layer0.weight"] *= 1.1

    change_weights(stem, tamper)
    refused(stem, "gives other numbers")


@pytest.mark.parametrize("name", ["golden.z", "weights.box.low", "weights.block1.second.layer2.bias"])
def test_tensors_that_are_absent(stem, name):
    change_weights(stem, lambda tensors: tensors.pop(name))
    refused(stem, "no model that this version")


def test_golden_vectors_leave_room_for_rounding(stem):
    def nudge(tensors):
        tensors["golden.theta"] += 1e-6

    change_weights(stem, nudge)
    load_model(stem, device="cpu")


# Devices


def test_no_gpu(stem, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(
            ModelError, match=f"device '{device}' was asked for, and torch sees no GPU; use device='cpu'"
        ):
            load_model(stem, device=device)
    assert load_model(stem, device="auto").device.type == "cpu"


def test_no_such_device(stem):
    with pytest.raises(ModelError, match="torch knows no device 'gpu'; use 'cpu' or 'cuda'"):
        load_model(stem, device="gpu")


# What is bundled


def test_bundled_models():
    listed = list_models()
    assert list(listed["name"]) == bundled_models()
    assert "walter2025" in bundled_models()
    for row in listed:
        model = load_model(row["name"], device="cpu")
        assert row["bands"] == " ".join(model.bands)
        assert model.card["sha256"].startswith(row["sha256"])
        assert (MODELS_PATH / f"{row['name']}.safetensors").is_file()
        # what inference needs of the card
        size = read_encoder(model.card["conditions"]).size(len(model.bands))
        assert size == model.flow.spec.n_conditions
        assert len(model.learned) == model.flow.spec.n_parameters
        for end in model.card.get("condition_range", {}).values():
            assert len(end) == size


def test_the_default_is_a_setting():
    from clusterpost import conf

    assert load_model(device="cpu").name == conf.default_model
    with conf.set_temp("default_model", "absent"), pytest.raises(ModelError, match="no model 'absent'"):
        load_model()
    with conf.set_temp("device", "gpu"), pytest.raises(ModelError, match="gpu"):
        load_model()
