import numpy as np
import pytest
import torch

from clusterpost.errors import ModelError
from clusterpost.flow.modelfile import load_model
from clusterpost.observations import Observed


def test_a_model_s_device_is_honored_or_refused():
    model = load_model("walter2025", device="cpu")
    moved = load_model(model, device="meta")
    assert moved.device.type == "meta"
    assert model.device.type == "cpu"
    with pytest.raises(ModelError, match="torch does not know the device 'nonsense'"):
        load_model(model, device="nonsense")


def test_a_model_says_what_it_is():
    model = load_model("walter2025", device="cpu")
    assert repr(model) == ("<Model 'walter2025': log_age, log_mass, ebv from 5 bands, "
                           f"{model.card['n_weights']:,} weights, {model.card['sha256'][:12]}, on cpu>")


def test_encode():
    flux, error, distance = torch.full((2, 5), 0.1), torch.full((2, 5), 0.02), torch.tensor([3.0, 4.0])
    measured = torch.ones(2, 5, dtype=torch.bool)
    observed = Observed(flux, error, measured, ~measured, {"distance": distance})
    conditions = load_model("walter2025", device="cpu").encode(observed)
    np.testing.assert_allclose(conditions, [[-1] * 5 + [0.2] * 5 + [d] for d in (3, 4)], rtol=1e-6)


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(
            ModelError, match=f"device '{device}' was requested, but torch finds no GPU; use device='cpu'"
        ):
            load_model("walter2025", device=device)
    assert load_model("walter2025", device="auto").device.type == "cpu"


def test_no_such_device():
    with pytest.raises(ModelError, match="torch does not know the device 'gpu'; use 'cpu' or 'cuda'"):
        load_model("walter2025", device="gpu")
