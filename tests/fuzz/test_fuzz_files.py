"""Damaged catalog files are read, or refused with a documented error."""

import pytest
from fuzzing import CHANGES, bounded, changed, only_input_errors
from hypothesis import given
from hypothesis import strategies as st

import clusterpost

SUFFIXES = ("fits", "fits.gz", "ecsv", "vot", "csv", "parquet")


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write the same few clusters, in any format, with changes."""
    folder = tmp_path_factory.mktemp("files")
    tbl = clusterpost.simulate(3, seed=1)
    contents = {}
    for suffix in SUFFIXES:
        path = folder / f"a.{suffix}"
        if suffix in ("csv", "fits.gz"):
            tbl.write(path)
        else:
            clusterpost.write_catalog(tbl, path)
        contents[suffix] = path.read_bytes()

    def damaged(suffix, changes, end):
        path = folder / f"x.{suffix}"
        path.write_bytes(changed(contents[suffix], changes, end))
        return path

    return damaged


@pytest.mark.parametrize("suffix", SUFFIXES)
@bounded(40)
@given(changes=CHANGES, header=st.booleans())
def test_damaged_files(write, suffix, changes, header):
    with only_input_errors():
        clusterpost.read_catalog(write(suffix, changes, 3000 if header else None))
