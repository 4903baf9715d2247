import hashlib
import json
import resource

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from clusterpost.errors import InputError, ModelError, PlatformWarning, UncertifiedModelWarning
from clusterpost.flow.affine import AffineFlow
from clusterpost.flow.golden import golden_vectors
from clusterpost.flow.metadata import certificate_of, model_hash
from clusterpost.flow.modelfile import halve_model, load_model, rewrite_model, save_certificate, save_model
from clusterpost.flow.network import build_flow
from clusterpost.observations import Observed
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


def tensors_of(stem):
    return load_tensors(stem.with_suffix(".safetensors").read_bytes())


def state_hash(stem):
    """Make the card state the hash of what is there."""
    weights = {k.removeprefix("weights."): v for k, v in tensors_of(stem).items() if k.startswith("weights.")}
    change_card(stem, sha256=model_hash(json.loads(stem.with_suffix(".json").read_text()), weights))


def change_weights(stem, change):
    """Other tensors, and a card that states their hash."""
    tensors = tensors_of(stem)
    change(tensors)
    stem.with_suffix(".safetensors").write_bytes(save_tensors(tensors))
    state_hash(stem)


def test_round_trip(flow, stem):
    model = load_model(stem, device="cpu")
    assert model.name == "tiny"
    assert model.bands == ("F275W", "F336W", "F438W", "F555W", "F814W")
    assert model.parameters == model.learned == ("log_age", "log_mass", "ebv")
    assert model.card["n_weights"] == sum(p.numel() for p in flow.parameters())
    assert model.card == json.loads(stem.with_suffix(".json").read_text())
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
    observed = Observed(flux, 0.1 * flux, measured, ~measured, {"distance": torch.ones(1)})
    conditions = model.encode(observed)
    assert torch.equal(conditions, recipe.encoder(observed))
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
    assert load_model(model, device="cpu") is model


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
    refused(stem, "sha256 of the files does not match the card: .*; get both files again")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_cut_off_weights(stem, keep):
    path = stem.with_suffix(".safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    refused(stem, "not a model that this version .*get both files again")


def test_a_wrong_hash(stem):
    change_card(stem, sha256="0" * 64)
    refused(stem, "sha256")


@pytest.mark.parametrize("value", [0, 3, "1", 2.0, True, None, ...])
def test_a_wrong_format(stem, value):
    change_card(stem, format=value)
    refused(stem, "has format .*; this version of clusterpost reads 1 and 2")


@pytest.mark.parametrize("text", [b"", b"{", b"no json", b'{"format": 1,}', b"\xff\xfe\x00"])
def test_bad_json(stem, text):
    stem.with_suffix(".json").write_bytes(text)
    refused(stem, r"tiny\.json is not valid JSON .*; get the file again")


@pytest.mark.parametrize("text", ["[]", "1", "null", "{}"])
def test_json_that_is_no_card(stem, text):
    stem.with_suffix(".json").write_text(text)
    refused(stem, "has format None")


@pytest.mark.parametrize("key", ["sha256", "architecture", "conditions"])
def test_a_card_that_lacks_something(stem, key):
    change_card(stem, **{key: ...})
    refused(stem, "get both files again")


@pytest.mark.parametrize(
    "change", [{"kind": "cinn-spline"}, {"kind": "maf"}, {"kind": "no-such"}, {"formula": 2}, {"no_such": 1},
               {"width": 16}, {"permutations": [[0, 1, 2]]}]
)
def test_an_architecture_that_does_not_fit(stem, change):
    architecture = json.loads(stem.with_suffix(".json").read_text())["architecture"]
    change_card(stem, architecture={**architecture, **change})
    state_hash(stem)
    refused(stem, "not a model that this version|gives different results|the architecture has .* weights")


def test_unknown_conditions(stem):
    change_card(stem, conditions={"name": "colors", "slots": [[0], [1]]})
    state_hash(stem)
    refused(stem, "does not know the conditions .*colors.*get both files again")


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_half_a_model(stem, suffix):
    stem.with_suffix(suffix).unlink()
    refused(stem, r"no model .*bundled models are .*walter2025.*a \.safetensors file with its \.json next to it")


@pytest.mark.parametrize("name", ["golden.theta", "golden.log_prob"])
@pytest.mark.parametrize("value", [0.1, torch.nan])
def test_golden_vectors_that_do_not_come_out(stem, name, value):
    def tamper(tensors):
        tensors[name].flatten()[3] += value

    change_weights(stem, tamper)
    refused(stem, "gives different results than when it was written .*clusterpost check")


@pytest.mark.parametrize("name", ["weights.block0.first.layer0.weight", "weights.block1.second.layer2.bias",
                                  "weights.standardize.shift", "weights.box.high"])
def test_weights_that_were_exchanged(stem, name):
    def tamper(tensors):
        tensors[name] *= 1 + 1e-5

    change_weights(stem, tamper)
    refused(stem, "gives different results")


@pytest.mark.parametrize("name", ["golden.z", "weights.box.low", "weights.block1.second.layer2.bias"])
def test_tensors_that_are_absent(stem, name):
    change_weights(stem, lambda tensors: tensors.pop(name))
    refused(stem, "not a model that this version")


def test_golden_vectors_leave_room_for_rounding(stem):
    def nudge(tensors):
        tensors["golden.theta"] += 1e-10

    change_weights(stem, nudge)
    load_model(stem, device="cpu")


def with_single_precision_off_by(change, monkeypatch):
    right = AffineFlow._invert

    def wrong(self, z, standard):
        theta, log_prob = right(self, z, standard)
        return (theta, log_prob + change) if z.dtype == torch.float32 else (theta, log_prob)

    monkeypatch.setattr(AffineFlow, "_invert", wrong)


def test_a_platform_that_differs_slightly_is_told_of(stem, monkeypatch):
    with_single_precision_off_by(1e-3, monkeypatch)
    with pytest.warns(PlatformWarning, match=r"tiny gives slightly different results .* log density by 0\.001 nat"):
        load_model(stem, device="cpu")


@pytest.mark.parametrize("change", [0.1, torch.nan])
def test_a_device_that_computes_wrongly_is_refused(stem, monkeypatch, change):
    with_single_precision_off_by(change, monkeypatch)
    refused(stem, "wrong results on cpu in single precision .* use another device")
    torch.set_float32_matmul_precision("high")
    try:
        refused(stem, r"call torch.set_float32_matmul_precision\('highest'\)")
    finally:
        torch.set_float32_matmul_precision("highest")


def test_golden_vectors_are_well_conditioned():
    """Of a flow that has ill-conditioned points: the log density of such a one is lost in single precision."""
    torch.manual_seed(3)
    flow = AffineFlow(walter2025(n_blocks=4, width=32).spec)
    for parameter in flow.inn.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    golden = golden_vectors(flow.eval())
    assert golden["golden.scatter"].max() < 1e-2
    assert golden["golden.log_prob"].dtype == torch.float64
    z, conditions = torch.randn(200, 3), torch.randn(200, 11)
    double = AffineFlow(flow.spec).double()
    double.load_export(flow.export())
    with torch.inference_mode():
        off = (flow.transform(z, conditions)[1] - double.transform(z.double(), conditions.double())[1]).abs()
    assert off.max() > 1


# What the hash covers

OPTIONS = ("simulator", "family", "options")


@pytest.mark.parametrize(("path", "value"), [
    ((*OPTIONS, "prior", "high", 0), 2.0), ((*OPTIONS, "distance", 1), 7.0), (("learned", 0), "ebv"),
    (("conditions",), "colors"), ((*OPTIONS, "bands", 2), "F435W_ACS"), (("n_samples",), 20),
    (("architecture", "clamp"), 1.9), (("condition_range",), {"low": [0.0] * 11, "high": [1.0] * 11}), (("new",), 1)])
def test_a_card_that_was_changed(stem, path, value):
    card = json.loads(stem.with_suffix(".json").read_text())
    entry = card
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    stem.with_suffix(".json").write_text(json.dumps(card))
    refused(stem, "sha256 of the files does not match the card: .*card")


@pytest.mark.parametrize(("changes", "message"), [
    ({"n_samples": 7}, r"int` >= 10 - at `\$\.n_samples`"),
    ({"n_samples": True}, "n_samples"),
    ({"learned": []}, "learned"),
    ({"learned": ["log_age", "log_mass", "log_mass"]}, "the network draws 3 parameters"),
    ({"learned": ["log_mass", "log_age", "ebv"]}, "bounds of the network and the prior differ"),
    ({"simulator": {}}, r"missing required field `noise` - at `\$\.simulator`"),
    ({"condition_range": {"low": [0.0], "high": [1.0]}}, "does not have 11 lower and upper bounds"),
    ({"condition_range": {"low": ["a"], "high": [1.0]}}, "condition_range"),
    ({"conditions": {"name": "relative", "slots": [[0], [1], [2], [3], [4]]}}, "the encoder gives 15 conditions"),
    ({"conditions": {"name": "relative", "slots": [[0], [1], [900]]}}, "the encoder gives 9 conditions"),
    ({"conditions": {"name": "relative", "slots": [[0], [1.5], [2]]}}, "the encoder gives 9 conditions"),
    ({"conditions": {"name": "absolute", "slots": [["a"], [1]]}}, "not a model that|the encoder gives 7 conditions"),
    ({"n_weights": 10**9}, "the card states 1,000,000,000"),
    ({"certificate": {"sha256": 5}}, "certificate"),
    ({"training": [1]}, "training"),
])
def test_a_card_that_does_not_fit_the_schema_or_the_weights(stem, changes, message):
    change_card(stem, **changes)
    state_hash(stem)
    refused(stem, message)


@pytest.mark.parametrize(("option", "value"), [
    ("prior", {"names": ["a", "b", "c"], "low": [0, 2, 0], "high": [4.138302803039551, 8, 1.5]}), ("prior", 5),
    ("prior", {"names": ["log_age"], "low": [], "high": []}), ("bands", ["F275W"]), ("bands", ["F275W"] * 5),
    ("bands", "F275W"), ("bands", ["F275W", "F336W", "F438W", "F555W", "nope"]), ("distance", [1]), ("distance", None),
    ("distance", ["a", "b"]), ("distance", [[], 30.0]), ("distance", [30, 1]), ("distance", "x" * 20),
    ("noise", "nope"), ("noise", [1]), ("sed_sha256", "0"), ("whole_myr", ...), ("bands", [["F275W"]])])
def test_a_family_s_options_that_do_not_fit(stem, option, value):
    card = json.loads(stem.with_suffix(".json").read_text())
    options = {**card["simulator"]["family"]["options"], option: value}
    card["simulator"]["family"]["options"] = {k: v for k, v in options.items() if v is not ...}
    change_card(stem, simulator=card["simulator"])
    state_hash(stem)
    refused(stem, "tiny")


@pytest.mark.parametrize("change", [{"depth": 10**9}, {"n_conditions": 10**9}, {"width": 2**20}, {"depth": 2**20},
                                    {"permutations": [[0, 1, 2]] * 10**5}, {"width": 0}, {"depth": -1},
                                    {"low": [0.0, 2.0]}, {"low": [9.0, 9.0, 9.0]}, {"permutations": [[0, 0, 1]]},
                                    {"clamp": 0.0}, {"clamp": "a"}, {"formula": 2}, {"kind": ["maf"]}])
def test_sizes_are_refused_before_they_are_allocated(stem, change):
    architecture = json.loads(stem.with_suffix(".json").read_text())["architecture"]
    change_card(stem, architecture={**architecture, **change})
    state_hash(stem)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(stem, "not a model that this version|the architecture has .* weights, but the card states")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize("text", ["[" * 10**6 + "]" * 10**6, '{"a":' * 10**6 + "1" + "}" * 10**6, '{"format": 1e999}',
                                  '{"format": NaN}'])
def test_json_that_is_made_to_break_readers(stem, text):
    stem.with_suffix(".json").write_text(text)
    refused(stem, r"tiny\.json is not valid JSON")


def test_a_card_or_weights_too_large_are_not_read(stem, monkeypatch):
    monkeypatch.setattr("clusterpost.flow.modelfile._LARGEST_WEIGHTS", 1000)
    refused(stem, "is larger than 1,000 bytes")
    monkeypatch.setattr("clusterpost.flow.modelfile._LARGEST_CARD", 100)
    refused(stem, r"tiny\.json is larger than 100 bytes")


def test_messages_are_short(stem):
    change_card(stem, learned=["x" * 10**6])
    with pytest.raises(ModelError) as info:
        load_model(stem)
    assert len(str(info.value)) < 1000


def test_what_changes_no_number_is_free(stem):
    before = load_model(stem, device="cpu").card["sha256"]
    change_card(stem, training={"mocks_seen": 5, "remark": "a remark"}, name="another")
    assert load_model(stem, device="cpu").card["sha256"] == before


def test_a_changed_card_with_a_hash_of_its_own_loses_its_certificate(stem, monkeypatch):
    card = json.loads(stem.with_suffix(".json").read_text())
    save_certificate(stem, {"sha256": card["sha256"], "posteriors": {}})
    assert certificate_of(load_model(stem, device="cpu").card) is not None
    simulator = {**card["simulator"], "distance": [1.0, 20.0]}
    change_card(stem, simulator=simulator)
    state_hash(stem)
    monkeypatch.setattr("clusterpost.flow.modelfile._warned", set())
    with pytest.warns(UncertifiedModelWarning, match="certificate of another model"):
        changed = load_model(stem, device="cpu")
    assert changed.card["sha256"] != card["sha256"]
    assert certificate_of(changed.card) is None


def test_the_order_of_a_card_s_entries_is_free(stem):
    card = json.loads(stem.with_suffix(".json").read_text())
    stem.with_suffix(".json").write_text(json.dumps(dict(reversed(card.items()))))
    assert load_model(stem, device="cpu").card == card


# Files of version 0.1


@pytest.fixture
def old(stem, monkeypatch):
    """As version 0.1 wrote it: vectors in single precision, and the hash of the weights' file."""
    flow = load_model(stem, device="cpu").flow
    z, conditions = torch.randn(8, 3), torch.randn(8, 11)
    with torch.inference_mode():
        theta, log_prob = flow.transform(z, conditions)
    tensors = {name: value for name, value in tensors_of(stem).items() if name.startswith("weights.")}
    data = save_tensors(tensors | {"golden.z": z, "golden.conditions": conditions, "golden.theta": theta,
                                   "golden.log_prob": log_prob})
    stem.with_suffix(".safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    change_card(stem, format=1, sha256=digest, certificate={"sha256": digest, "posteriors": {}})
    monkeypatch.setattr("clusterpost.flow.modelfile._warned", set())
    return stem


def test_an_old_file_gives_the_same_numbers_and_the_new_hash(old, flow):
    with pytest.warns(UncertifiedModelWarning, match=r"covers only its weights, as in files of version 0\.1"):
        model = load_model(old, device="cpu")
    for name, value in flow.export().items():
        assert torch.equal(model.flow.export()[name], value)
    assert model.card["sha256"] == model_hash(model.card, flow.export())


def test_an_old_file_with_a_changed_card_has_another_hash(old):
    before = load_model(old, device="cpu").card["sha256"]
    card = json.loads(old.with_suffix(".json").read_text())
    change_card(old, simulator={**card["simulator"], "distance": [1.0, 20.0]})
    assert load_model(old, device="cpu").card["sha256"] != before


def test_an_old_file_with_other_weights_is_refused(old):
    tensors = tensors_of(old)
    tensors["weights.block0.first.layer0.weight"] *= 1.1
    data = save_tensors(tensors)
    old.with_suffix(".safetensors").write_bytes(data)
    refused(old, "sha256")
    change_card(old, sha256=hashlib.sha256(data).hexdigest())
    refused(old, "gives different results")


def test_an_old_file_s_ill_conditioned_vectors_do_not_refuse_it(tmp_path):
    torch.manual_seed(3)
    flow = AffineFlow(walter2025(n_blocks=4, width=32).spec)
    for parameter in flow.inn.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    card = save_model(tmp_path / "ill", flow, card_of(walter2025()))
    z, conditions = torch.randn(200, 3), torch.randn(200, 11)
    with torch.inference_mode():
        theta, log_prob = flow.transform(z, conditions)
    assert (log_prob.abs() > 1e4).any()
    log_prob = log_prob * (1 + 2e-6 * (log_prob.abs() > 1e4))  # as other sums round: more than a hundredth of a nat
    weights = {name: v for name, v in tensors_of(tmp_path / "ill").items() if name.startswith("weights.")}
    data = save_tensors(weights | {"golden.z": z, "golden.conditions": conditions, "golden.theta": theta,
                                   "golden.log_prob": log_prob})
    (tmp_path / "ill.safetensors").write_bytes(data)
    change_card(tmp_path / "ill", format=1, sha256=hashlib.sha256(data).hexdigest())
    assert load_model(tmp_path / "ill", device="cpu").card["sha256"] == card["sha256"]


def test_rewriting_an_old_file_keeps_weights_certificate_and_hash(old):
    model, weights = load_model(old, device="cpu"), tensors_of(old)
    card = rewrite_model(old)
    assert card["format"] == 2
    assert card["sha256"] == card["certificate"]["sha256"] == model.card["sha256"]
    for name, value in tensors_of(old).items():
        assert name.startswith("golden.") or torch.equal(value, weights[name])
    assert certificate_of(load_model(old, device="cpu").card) is not None


def test_half_precision_is_half_as_large_and_draws_as_well(tmp_path):
    torch.manual_seed(3)
    recipe = any_bands(bands=("F275W", "F438W"), width=(48, 48), depth=(1, 1), bins=(4, 4), knots=64)
    flow = build_flow(recipe.spec)
    with torch.no_grad():
        for weights in flow.parameters():
            weights.add_(0.1 * torch.randn(weights.shape))
    stem = tmp_path / "half"
    save_model(stem, flow, {"conditions": recipe.encoder.to_dict(), "learned": list(recipe.learned),
                            "simulator": recipe.simulator.to_dict(), "training": {}})
    whole, size = load_model(stem), (tmp_path / "half.safetensors").stat().st_size
    halve_model(stem)
    half = load_model(stem)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.65 * size
    assert half.card["sha256"] != whole.card["sha256"]
    unit, conditions = torch.rand(50, 2), torch.randn(50, recipe.spec.n_conditions)
    with torch.inference_mode():
        torch.testing.assert_close(half.flow.draw(unit, conditions)[0], whole.flow.draw(unit, conditions)[0],
                                   atol=0.01, rtol=0)
    rewrite_model(stem)  # loses nothing more
    assert load_model(stem).card["sha256"] == half.card["sha256"]
