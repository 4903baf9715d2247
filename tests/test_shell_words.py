"""Messages about reading at the shell name options of the command line, and nothing of Python."""

import re

import numpy as np
import pytest
from astropy.table import Table

import clusterpost
from clusterpost.cli import main

PYTHON = re.compile(r"\b(tbl|meta)\b\s*[.\[]|\b[a-z_]+=(?!.*--)|columns=\{|option:|\{--")


@pytest.fixture
def catalog(tmp_path):
    def write(name="mine.ecsv", **columns):
        tbl = Table(clusterpost.simulate(3, seed=1, distance=10))
        tbl = tbl["F275W", "F275W_err", "F336W", "F336W_err"]
        for column, value in columns.items():
            if value is None:
                tbl.remove_column(column)
            else:
                tbl[column] = [value] * 3 if isinstance(value, str) else value
        tbl.write(tmp_path / name, overwrite=True)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("name", "columns", "options", "words"),
    [
        ("mine.ecsv", {}, [], "no distance: give it with --distance"),
        ("mine.ecsv", {}, ["--distance", "banana"], "give its distance in Mpc with --distance"),
        ("mine.csv", {}, ["--distance", "10"], "has no unit; give it with --unit"),
        ("mine.ecsv", {}, ["--distance", "10", "--unit", "kg"], r"the unit that was given \(--unit\)"),
        ("mine.ecsv", {"F275W_err": None}, ["--distance", "10"], "name the columns with --columns"),
        ("mine.ecsv", {"e_F336W": 1.0, "F336W_unc": 1.0, "F336W_err": None}, ["--distance", "10"], "with --columns"),
        ("mine.ecsv", {"F275W": "x"}, ["--distance", "10"], "name another column with --columns"),
        ("mine.ecsv", {}, ["--distance", "10", "--hdu", "2"], "--hdu is for FITS"),
        ("mine.ecsv", {}, ["--distance", "10", "--columns", "F275W=a,b"], "names a column 'a' for F275W"),
        ("mine.ecsv", {"galaxy": "nowhere"}, [], "with --distance"),
    ],
)
def test_errors(catalog, tmp_path, capsys, name, columns, options, words):
    code = main(["infer", str(catalog(name, **columns)), str(tmp_path / "o.fits"), *options])
    said = capsys.readouterr().err
    assert code == 2
    assert re.search(words, said), said
    assert not PYTHON.search(said.replace(str(tmp_path), "")), said


@pytest.mark.filterwarnings("always::clusterpost.errors.InputWarning")
@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"F150W": np.ones(3), "F150W_err": np.ones(3)}, ["--distance", "10"], "F150W looks like photometry"),
        ({"galaxy": ["NGC 628"] * 3}, ["--distance", "30"], r"--distance gives 30 Mpc in row 0 for NGC 628"),
        ({}, ["--distance", "10", "--unit", "uJy"], r"\(--unit\) is used, though 'F275W' \(mJy\)"),
        ({}, ["--distance", "10", "--missing", "77"], None),
    ],
)
def test_warnings(catalog, tmp_path, capsys, columns, options, words):
    options = ["-n", "20", "--quiet", "--no-refine", *options]
    code = main(["infer", str(catalog(**columns)), str(tmp_path / "o.fits"), *options])
    said = capsys.readouterr().err
    assert code == 0
    assert not said if words is None else re.search(f"^clusterpost: warning: .*{words}", said)
    assert not PYTHON.search(said), said
