"""A local archive for the tests, and a cache of each test's own."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import clusterpost

sys.path.insert(0, str(Path(__file__).parent))

from archive_server import make_archive, serving


@pytest.fixture(scope="session")
def archive_files(tmp_path_factory):
    """The files of the archive; not to be changed."""
    return make_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no waits before repetitions."""
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    with clusterpost.conf.set_temp("cache_dir", str(tmp_path / "cache")):
        yield tmp_path / "cache"


@pytest.fixture
def server(archive_files, cache):
    with serving(archive_files) as server:
        yield server


@pytest.fixture
def small_server(tmp_path, cache):
    """A server of an empty folder, for the test to fill."""
    root = tmp_path / "served"
    root.mkdir()
    with serving(root) as server:
        yield server
