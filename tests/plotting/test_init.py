"""What importing the plotting and validation rooms costs."""

import subprocess
import sys

import pytest

import clusterpost.plotting
import clusterpost.validation


@pytest.mark.parametrize("room", [clusterpost.plotting, clusterpost.validation])
def test_public_names_resolve(room):
    for name in room.__all__:
        assert getattr(room, name) is not None
        assert name in dir(room)
    with pytest.raises(AttributeError, match="nonsense"):
        room.nonsense  # noqa: B018


def test_import_is_light():
    code = ("import sys, clusterpost.plotting, clusterpost.validation; "
            "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'corner')))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
