"""Model files from elsewhere load, or are refused with a ModelError, whatever is in them."""

import json

import pytest
import torch
from fuzzing import CHANGES, bounded, changed, only_input_errors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors

import clusterpost
from clusterpost.flow.metadata import model_hash
from clusterpost.flow.modelfile import load_model, save_model
from clusterpost.flow.network import build_flow
from clusterpost.training.recipes import any_bands, condition_range, walter2025

pytestmark = pytest.mark.usefixtures("exact_by_default")

JUNK = [None, 0, -1, 1e308, float("nan"), 10**12, 2**70, "", "x" * 10**4, [], {}, [1], {"a": 1}, True, "../etc",
        [[[[]]]], -1e-300, 1.5, "NaN", 10**9, ...]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Card and weights of two small models."""
    folder, pairs = tmp_path_factory.mktemp("models"), []
    for recipe in (walter2025(n_blocks=2, width=8),
                   any_bands(width=(8, 8), depth=(1, 1), bins=(4, 4), knots=8)):
        torch.manual_seed(1)
        card = {"conditions": recipe.encoder.to_dict(), "learned": list(recipe.learned), "n_samples": 100,
                "simulator": recipe.simulator.to_dict(), "training": {"mocks_seen": 0, "history": [{"step": 1}]}}
        if recipe.encoder.bounded:
            card["condition_range"] = condition_range(recipe.simulator, recipe.encoder, n=1000, tail=0)
        save_model(folder / recipe.name, build_flow(recipe.spec), card)
        pairs.append(tuple((folder / f"{recipe.name}.{suffix}").read_bytes() for suffix in ("json", "safetensors")))
    return folder, pairs


def entries(card, path=()):
    """Paths of all entries."""
    pairs = card.items() if isinstance(card, dict) else enumerate(card[:6]) if isinstance(card, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from entries(value, (*path, key))


def with_hash(card, weights):
    """The card with the hash that fits, as an attacker would make it."""
    try:
        card = json.loads(card)
        tensors = {k.removeprefix("weights."): v for k, v in load_tensors(weights).items() if k.startswith("weights.")}
        return json.dumps(card | {"sha256": model_hash(card, tensors)}).encode()
    except Exception:
        return card if isinstance(card, bytes) else json.dumps(card).encode()


def check(folder, card, weights):
    (folder / "x.json").write_bytes(card)
    (folder / "x.safetensors").write_bytes(weights)
    with only_input_errors():
        model = load_model(folder / "x", device="cpu")
        tbl = clusterpost.simulate(2, seed=1)
        clusterpost.infer_table(tbl, model=model, refine=False, n_samples=12, progress=False)


@bounded(150)
@given(which=st.integers(0, 1), where=st.integers(0, 10**6), value=st.sampled_from(JUNK), top=st.integers(0, 100))
def test_changed_entries_of_a_card(files, which, where, value, top):
    folder, pairs = files
    card = json.loads(pairs[which][0])
    sections = [path for path in entries(card) if len(path) == 1 and path[0] != "sha256"]
    section = sections[top % len(sections)]
    paths = [path for path in entries(card) if path[0] == section[0]]
    *outer, last = paths[where % len(paths)]
    entry = card
    for key in outer:
        entry = entry[key]
    if value is ...:
        del entry[last]
    else:
        entry[last] = value
    check(folder, with_hash(json.dumps(card), pairs[which][1]), pairs[which][1])


@bounded(100)
@given(which=st.integers(0, 1), changes=CHANGES)
def test_changed_bytes_of_a_card(files, which, changes):
    folder, pairs = files
    check(folder, with_hash(changed(pairs[which][0], changes), pairs[which][1]), pairs[which][1])


@bounded(150)
@given(which=st.integers(0, 1), changes=CHANGES, header=st.booleans())
def test_changed_bytes_of_weights(files, which, changes, header):
    folder, pairs = files
    weights = changed(pairs[which][1], changes, end=3000 if header else None)
    check(folder, with_hash(pairs[which][0], weights), weights)
