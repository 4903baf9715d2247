import os
import subprocess
import sys

import pytest

from clusterpost import conf
from clusterpost.errors import ModelError
from clusterpost.flow.bundled import MODELS_PATH, bundled_models, list_models
from clusterpost.flow.modelfile import load_model


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
        size = model.encoder.size(len(model.bands))
        assert size == model.flow.spec.n_conditions
        assert len(model.learned) == model.flow.spec.n_parameters
        for end in model.card.get("condition_range", {}).values():
            assert len(end) == size


def test_the_default_is_a_setting():
    assert load_model(device="cpu").name == conf.default_model
    with conf.set_temp("default_model", "absent"), pytest.raises(ModelError, match="no model 'absent'"):
        load_model()
    with conf.set_temp("device", "gpu"), pytest.raises(ModelError, match="gpu"):
        load_model()


@pytest.mark.slow
def test_bundled_models_load_on_other_processors():
    """MKL sums in another order where there is no AVX-512."""
    code = "import clusterpost; [clusterpost.load_model(n, device='cpu') for n in clusterpost.list_models()['name']]"
    environment = os.environ | {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=environment, check=True, timeout=300)


def test_no_such_model():
    with pytest.raises(ModelError, match="no model 'walter1925': bundled models are"):
        load_model("walter1925")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "", None, 5, "../" * 100])
def test_names_that_no_file_can_have(name):
    with pytest.raises(ModelError, match="no model"):
        load_model(name)
