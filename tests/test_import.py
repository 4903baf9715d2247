import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import clusterpost

HEAVY = ("torch", "matplotlib", "astroquery", "corner", "FrEIA", "pyarrow", "dask")


def fresh(code):
    """What code prints in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_import_is_light():
    before, after = json.loads(
        fresh(
            "import sys, json, clusterpost; dir(clusterpost); clusterpost.conf; clusterpost.decode_flags;"
            f"loaded = lambda: [m for m in {HEAVY!r} if m in sys.modules]; before = loaded();"
            "clusterpost.simulate; print(json.dumps([before, loaded()]))"
        )
    )
    assert before == []
    assert "torch" in after  # it does come with what needs it


@pytest.mark.parametrize("name", clusterpost.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    value = getattr(clusterpost, name)
    assert name in dir(clusterpost)
    if callable(value):
        assert value.__name__ == name
        assert ">>>" in value.__doc__
        assert "Parameters" in value.__doc__ or "Returns" in value.__doc__


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="'clusterpost' has no attribute 'no_such_thing'"):
        clusterpost.no_such_thing  # noqa: B018
    assert not hasattr(clusterpost, "np")


def test_version():
    assert isinstance(clusterpost.__version__, str)
    assert clusterpost.__version__


@pytest.mark.parametrize("package", ["clusterpost", "clusterpost.plotting", "clusterpost.catalogs", "clusterpost.scale",
                                     "clusterpost.validation"])
def test_type_checkers_know_every_public_name(package):
    module = importlib.import_module(package)
    stub = Path(module.__file__).with_suffix(".pyi")
    named = {alias.asname for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)
             for alias in node.names}
    assert named == set(module.__all__) - {"__version__"}
    assert (Path(clusterpost.__file__).parent / "py.typed").is_file()
    for name in module.__all__:
        assert getattr(module, name) is not None
