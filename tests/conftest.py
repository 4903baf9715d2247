"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

# Tests run side by side; more threads than cores make each of them ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data():
    """Folder of the reference data beside the repository; the test is skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}")
    return folder
