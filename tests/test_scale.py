"""Streaming: the answer of the whole table, whatever the parts, the row groups and the kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, QTable, Table, vstack
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infer_tables import assert_close, assert_same, value, without

import clusterpost
from clusterpost import cli, conf
from clusterpost.errors import ColumnError, DistanceError, InputError, UnitError
from clusterpost.flags import PERHAPS_OLD
from clusterpost.priors import PowerLaw, ProductPrior

pytest.importorskip("pyarrow")
pytest.importorskip("pandas")

import pyarrow as pa
import pyarrow.parquet as parquet

from clusterpost.findings import Findings
from clusterpost.scale import infer_file, job, plan_catalog
from clusterpost.scale.chunks import ParquetSource
from clusterpost.scale.job import Job
from clusterpost.scale.plan import bytes_per_row
from clusterpost.scale.reading import Reading, _context, read_as_one

pytestmark = pytest.mark.usefixtures("exact_by_default")

FAST = {"n_samples": 20, "refine": False}


@pytest.fixture(scope="module")
def mocks(clusters):
    tbl = Table(clusters)
    tbl["note"] = MaskedColumn(np.arange(12), mask=np.arange(12) == 7)
    return tbl


@pytest.fixture(scope="module")
def source(mocks, tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "mocks.parquet"
    mocks.write(path)
    return path


@pytest.fixture(scope="module")
def expected(source):
    return clusterpost.infer_table(clusterpost.read_catalog(source), **FAST)


def regrouped(path, into, size):
    parquet.write_table(parquet.read_table(path), into, row_group_size=size)
    return into


def counted(monkeypatch, stop_after=None):
    """The first rows of the parts that are inferred from here on."""
    seen, infer = [], Job.infer

    def counting(self, source, chunk):
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(chunk.start)
        return infer(self, source, chunk)

    monkeypatch.setattr(Job, "infer", counting)
    return seen


# The answer


def assert_same_file(path, expected, tmp_path):
    """As if it had been written at once."""
    clusterpost.write_catalog(expected, tmp_path / "expected.parquet", overwrite=True)
    got, wanted = Table.read(path), Table.read(tmp_path / "expected.parquet")
    assert got.colnames == wanted.colnames
    assert got.meta == wanted.meta
    for name in got.colnames:
        assert got[name].dtype == wanted[name].dtype, name
        assert type(got[name]) is type(wanted[name]), name
        for key in ("unit", "description", "meta", "format"):
            assert getattr(got[name].info, key) == getattr(wanted[name].info, key), name
    one, two = (parquet.read_schema(p) for p in (path, tmp_path / "expected.parquet"))
    assert one.remove_metadata() == two.remove_metadata()
    assert {k: v for k, v in one.metadata.items() if k != b"clusterpost"} == two.metadata
    assert_close(got, wanted)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 13), group=st.integers(1, 13))
def test_neither_parts_nor_row_groups_change_the_answer(source, expected, tmp_path, rows, group):
    grouped = regrouped(source, tmp_path / "grouped.parquet", group)
    out = infer_file(grouped, tmp_path / "out.parquet", rows_per_part=rows, overwrite=True, **FAST)
    assert_same_file(out, expected, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["expected.parquet", "grouped.parquet", "out.parquet"]


def test_bit_for_bit_where_chunks_allow(source, tmp_path):
    with conf.set_temp("points_per_pass", 4 * FAST["n_samples"]):  # four rows at once
        expected = clusterpost.infer_table(clusterpost.read_catalog(source), **FAST)
        for rows in (4, 8):
            out = infer_file(source, tmp_path / f"{rows}.parquet", rows_per_part=rows, **FAST)
            assert_same(Table.read(out), expected)


def test_the_exact_grid(source, tmp_path):
    out = infer_file(source, tmp_path / "out.parquet", exact=True, rows_per_part=5, quantiles=[0.5])
    expected = clusterpost.exact_posterior(clusterpost.read_catalog(source), quantiles=[0.5])
    assert Table.read(out).meta == expected.meta
    np.testing.assert_allclose(Table.read(out)["age_q50"], expected["age_q50"], rtol=1e-6)


def test_the_exact_grid_of_another_model(source, tmp_path):
    options = {"quantiles": [0.5], "model": "walter2025", "noise": "normal"}
    out = infer_file(source, tmp_path / "out.parquet", exact=True, rows_per_part=5, **options)
    expected = clusterpost.exact_posterior(clusterpost.read_catalog(source), **options)
    assert Table.read(out).meta == expected.meta
    np.testing.assert_allclose(Table.read(out)["age_q50"], expected["age_q50"], rtol=0.01)


def test_other_formats_are_read_whole(clusters, expected, tmp_path):
    clusterpost.write_catalog(Table(clusters[:5]), tmp_path / "in.ecsv")
    out = infer_file(tmp_path / "in.ecsv", tmp_path / "out.parquet", rows_per_part=2, **FAST)
    assert_close(Table.read(out), expected[:5])


def test_a_distance_for_each_row(source, tmp_path):
    mpc = np.linspace(4, 18, 12) * u.Mpc
    out = infer_file(source, tmp_path / "out.parquet", rows_per_part=5, distance=mpc, **FAST)
    assert_close(Table.read(out), clusterpost.infer_table(clusterpost.read_catalog(source), distance=mpc, **FAST))
    with pytest.raises(DistanceError, match="distance= has 3 values for 12 rows"):
        infer_file(source, tmp_path / "no.parquet", distance=mpc[:3])


def test_mapped_columns(clusters, expected, tmp_path):
    tbl = Table(clusters)
    bands = ("F275W", "F336W", "F438W", "F555W", "F814W")
    for band in bands:
        tbl.rename_columns([band, f"{band}_err"], [f"f_{band}", f"e_{band}"])
    tbl.write(tmp_path / "in.parquet")
    out = infer_file(tmp_path / "in.parquet", tmp_path / "out.parquet", rows_per_part=5, prefix="cp_",
                     columns={band: (f"f_{band}", f"e_{band}") for band in bands}, **FAST)
    out = Table.read(out)
    assert out.meta["CPLAYOUT"] == "columns argument"
    np.testing.assert_allclose(out["cp_age_q50"], expected["age_q50"], rtol=1e-3)


# What a table decides as a whole


def read_in_chunks(path, size, **options):
    catalog = ParquetSource(path, size)
    reading = read_as_one(Reading(options), [catalog])
    return [reading(chunk, path)[0] for chunk in catalog.chunks()]


def assert_read_alike(path, size, **options):
    """Chunks say what the whole says; where they hold nothing to say, no more."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        whole = clusterpost.read_catalog(path, **options)
    with warnings.catch_warnings(record=True) as told_of_chunks:
        warnings.simplefilter("always")
        chunks = read_in_chunks(path, size, **options)
    assert {str(w.message) for w in told} == {str(w.message) for w in told_of_chunks}
    for chunk in chunks:
        assert chunk.meta == whole.meta
        assert chunk.colnames == whole.colnames
    got = vstack(chunks, metadata_conflicts="silent")
    for name in whole.colnames:
        one, two = (np.ma.filled(np.ma.asarray(t[name]), -1) if t[name].dtype.kind != "U" else np.asarray(t[name])
                    for t in (got, whole))
        np.testing.assert_array_equal(one, two, err_msg=name)
        assert got[name].unit == whole[name].unit
        assert got[name].dtype == whole[name].dtype, name
    return whole


PHANGS_BANDS = ("F275W", "F336W", "F435W", "F438W", "F555W", "F814W")


@st.composite
def surveys(draw):
    """Small PHANGS tables of galaxies with either camera, with gaps and sentinels."""
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    galaxies = {"NGC 628": "F435W", "NGC 1433": "F438W", "NGC 1300": "F435W", "M83": "F438W"}
    if draw(st.booleans()):
        galaxies["Nowhere 1"] = "F438W"
    which = rng.choice(list(galaxies), n)
    tbl = Table({"PHANGS_GALAXY": which})
    kind = draw(st.sampled_from([np.float32, np.float64]))
    for band in PHANGS_BANDS:
        flux = rng.lognormal(-6, 1, n)
        if band in ("F435W", "F438W"):
            flux[[galaxies[g] != band for g in which]] = -9999
        flux[rng.random(n) < 0.3] = draw(st.sampled_from([-9999, -999, np.nan]))
        tbl[f"PHANGS_{band}_mJy"] = flux.astype(kind)
        tbl[f"PHANGS_{band}_mJy_ERR"] = np.where(rng.random(n) < 0.2, -1, 0.1) * np.abs(flux).astype(kind)
    if draw(st.booleans()):
        tbl["PHANGS_DMPC"] = rng.uniform(3, 20, n)
    if draw(st.booleans()):
        tbl["class"] = MaskedColumn(np.arange(n), mask=rng.random(n) < 0.3)
    return tbl


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tbl=surveys(), size=st.integers(1, 12))
def test_chunks_of_a_survey_are_understood_as_the_whole(tmp_path, tbl, size):
    """Cameras by galaxy, distances by name, sentinels: a row means the same beside any others."""
    path = tmp_path / "survey.parquet"
    tbl.write(path, overwrite=True)
    whole = assert_read_alike(path, size)
    again = tmp_path / "again.parquet"  # and when it was read before
    whole.write(again, overwrite=True)
    assert_read_alike(again, size)


def test_levels_are_compared_in_the_whole_table(tmp_path):
    tbl = clusterpost.example_catalog()[:40]
    for name in tbl.colnames:
        if name.endswith(("_mJy", "_mJy_ERR", "_mJy_TOT_ERR")):
            good = np.asarray(tbl[name]) > -900
            tbl[name][:25][good[:25]] *= 10 ** (-0.4 * 1.724)  # most rows have the known slip, the last chunks have not
    tbl.write(tmp_path / "in.parquet")
    whole = assert_read_alike(tmp_path / "in.parquet", 7)
    assert "1.724" in whole.meta["CPLEVELS"]


def test_few_rows_stand_for_the_whole(tmp_path):
    tbl = Table({"galaxy": ["NGC 628", "NGC 1433"] * 50})
    for band in ("F275W", "F336W"):
        tbl[band], tbl[f"{band}_err"] = Column(np.ones(100), unit="mJy"), Column(np.ones(100), unit="mJy")
    tbl.write(tmp_path / "in.parquet")
    assert _context([ParquetSource(tmp_path / "in.parquet", 7)])[1] == ["0", "1"]
    tbl["distance"] = 9.0
    tbl.write(tmp_path / "own.parquet")
    assert _context([ParquetSource(tmp_path / "own.parquet", 7)])[1] == ["0"]


@pytest.mark.slow
def test_columns_that_some_parts_alone_would_write_otherwise(tmp_path, clusters):
    """A sentinel makes a column of float32 one of float64; a mask is there if one row has one."""
    tbl = Table(clusters)
    tbl["F275W"], tbl["F336W_err"] = tbl["F275W"].astype(np.float32), tbl["F336W_err"].astype(np.float32)
    tbl["F275W"][9] = -999
    tbl["F336W"][2] = np.nan
    tbl["note"] = MaskedColumn([f"{10**i}" for i in range(12)], mask=np.arange(12) == 10)
    tbl["field"] = MaskedColumn(np.ones((12, 2)), mask=False)
    tbl["field"].mask[3, 1] = True
    tbl.write(tmp_path / "in.parquet")
    expected = clusterpost.infer_table(clusterpost.read_catalog(tmp_path / "in.parquet"), **FAST)
    for size in (1, 5):
        out = infer_file(tmp_path / "in.parquet", tmp_path / "out.parquet", rows_per_part=size, overwrite=True, **FAST)
        assert_same_file(out, expected, tmp_path)


def test_files_of_others(tmp_path):
    """Without astropy's metadata: nulls are masked, whichever part they are in, and texts have any length."""
    tbl = clusterpost.example_catalog()[:12]
    tbl[[name for name in tbl.colnames if "_mJy" in name]].write(tmp_path / "astropy.parquet")
    foreign = parquet.read_table(tmp_path / "astropy.parquet").replace_schema_metadata({})
    foreign = foreign.append_column("id", pa.array([1, 2, None, *range(9)]))
    foreign = foreign.append_column("text", pa.array([*"abcdefgh", None, *"jk", "long"]))
    parquet.write_table(foreign, tmp_path / "in.parquet", row_group_size=5)
    expected = clusterpost.infer_table(clusterpost.read_catalog(tmp_path / "in.parquet"), distance=18.0, **FAST)
    out = infer_file(tmp_path / "in.parquet", tmp_path / "out.parquet", rows_per_part=5, distance=18.0, **FAST)
    assert_same_file(out, expected, tmp_path)
    assert Table.read(out)["id"].mask.tolist() == [row == 2 for row in range(12)]


def test_mixins_and_quantities(tmp_path, clusters):
    from astropy.coordinates import SkyCoord
    from astropy.time import Time

    tbl = QTable(clusters)
    tbl["coordinates"] = SkyCoord(np.arange(12) * u.deg, np.arange(12) * u.deg)
    tbl["time"] = Time(60000 + np.arange(12), format="mjd")
    tbl.write(tmp_path / "in.parquet")
    expected = clusterpost.infer_table(clusterpost.read_catalog(tmp_path / "in.parquet"), **FAST)
    out = infer_file(tmp_path / "in.parquet", tmp_path / "out.parquet", rows_per_part=5, **FAST)
    got = Table.read(out)
    assert got.colnames == expected.colnames
    assert (got["coordinates"].ra == expected["coordinates"].ra).all()
    assert_close(got, expected)


def far_away(source, path, rows):
    tbl = Table.read(source)
    tbl["distance"][rows] = 5000.0
    tbl.write(path)
    return path


@pytest.mark.slow
def test_distances_are_judged_in_the_whole_table(source, tmp_path):
    """A part of which every row is too far is no error, and there is one warning for all parts."""
    options = {"model": "walter2025", **FAST}
    path = far_away(source, tmp_path / "some.parquet", slice(4, 9))
    with pytest.warns(UserWarning, match=r"5000 Mpc in row 4; .* 5 such rows are flagged") as told:
        expected = clusterpost.infer_table(clusterpost.read_catalog(path), **options)
    with pytest.warns(UserWarning, match="such rows") as told_of_parts:
        out = infer_file(path, tmp_path / "out.parquet", rows_per_part=2, **options)
    far, in_parts = ([str(w.message) for w in all_of if "Mpc" in str(w.message)] for all_of in (told, told_of_parts))
    assert in_parts == far
    assert_same_file(out, expected, tmp_path)
    path = far_away(source, tmp_path / "all.parquet", slice(None))
    with pytest.raises(DistanceError, match=r"5000 Mpc in row 0; .*Check the unit") as whole:
        clusterpost.infer_table(clusterpost.read_catalog(path), **options)
    with pytest.raises(DistanceError) as in_parts:
        infer_file(path, tmp_path / "no.parquet", rows_per_part=5, **options)
    assert str(in_parts.value) == str(whole.value)
    assert not list(tmp_path.glob("no*"))


def test_rows_without_any_measurement(source, tmp_path):
    tbl = Table.read(source)
    bands = [name for name in tbl.colnames if name.startswith("F") and "_" not in name]
    for row in range(3, 6):
        without(tbl, row, *bands)
    tbl.write(tmp_path / "some.parquet")
    expected = clusterpost.infer_table(clusterpost.read_catalog(tmp_path / "some.parquet"), **FAST)
    out = infer_file(tmp_path / "some.parquet", tmp_path / "out.parquet", rows_per_part=3, **FAST)
    assert_same_file(out, expected, tmp_path)
    for row in range(12):
        without(tbl, row, *bands)
    tbl.write(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="all 12 rows are missing in every band"):
        infer_file(tmp_path / "none.parquet", tmp_path / "no.parquet", rows_per_part=5, **FAST)
    assert [p.name for p in tmp_path.glob("no*")] == ["none.parquet"]


def test_no_row_depends_on_its_chunk(tmp_path):
    """Rows with a bad band, which need more draws, kernels or chains, and ordinary ones."""
    tbl, generator = clusterpost.simulate(8, seed=11), np.random.default_rng(0)
    for row, band in zip((0, 3, 6), ("F275W", "F336W", "F438W"), strict=True):
        tbl[band][row] *= 10 ** generator.uniform(0.5, 4)
    clusterpost.write_catalog(tbl, tmp_path / "in.parquet")
    whole = clusterpost.infer_table(clusterpost.read_catalog(tmp_path / "in.parquet"))
    assert (whole["efficiency"] < 0.3).any()
    out = Table.read(infer_file(tmp_path / "in.parquet", tmp_path / "out.parquet", rows_per_part=3))
    assert out["flag"].tolist() == whole["flag"].tolist()
    for name in ("age", "mass", "ebv"):
        width = value(whole[f"{name}_q84"]) - value(whole[f"{name}_q16"])
        for of, share in (("q16", 2e-5), ("q50", 2e-5), ("q84", 2e-5), ("mean", 2e-5), ("map", 1e-2)):
            change = np.abs(value(out[f"{name}_{of}"]) - value(whole[f"{name}_{of}"]))
            assert (change <= share * width).all(), (name, of)


def odd(source, path):
    """A row for each kind of number that nothing can be computed with, and ordinary ones between them."""
    tbl = Table.read(source)
    for row, (name, number) in enumerate([
            ("F814W_err", 1e20), ("F814W_err", 3.4e38), ("F336W", 1e-45), ("F336W", 1e300), ("F275W", -np.inf),
            ("F275W_err", np.inf), ("F438W_err", 1e-300), ("distance", 1e100), ("distance", np.inf)]):
        tbl[name] = tbl[name].astype(float)
        tbl[name][row] = number
    tbl.write(path)
    return path


@pytest.mark.filterwarnings("ignore:taken as missing")
@pytest.mark.parametrize("refine", [False, True])
def test_no_odd_row_stops_a_stream(source, tmp_path, refine):
    path, options = odd(source, tmp_path / "odd.parquet"), {"n_samples": 50, "refine": refine}
    expected = clusterpost.infer_table(clusterpost.read_catalog(path), **options)
    out = Table.read(infer_file(path, tmp_path / "out.parquet", rows_per_part=2, **options))
    assert len(out) == 12
    assert out["flag"].tolist() == expected["flag"].tolist()
    fine = (np.asarray(out["flag"]) & ~PERHAPS_OLD) == 0  # an error of 0 and its floor are
    assert np.flatnonzero(fine).tolist() == [6, 9, 10, 11]
    assert_close(out, expected, but=("chi2_map", "age_map", "mass_map", "ebv_map"))  # a ridge has no one maximum


def test_warnings_name_the_row_of_the_file_once(source, tmp_path):
    """Of a distance that cannot be, in all rows of one part; and of one that is not the galaxy's, in others."""
    tbl = Table.read(source)
    tbl["galaxy"] = ["NGC 1433"] * 12
    tbl["distance"] = 18.94 * u.Mpc
    tbl["distance"][3:6] = -3
    tbl["distance"][[7, 10]] = 100
    tbl.write(tmp_path / "odd.parquet")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        expected = clusterpost.infer_table(clusterpost.read_catalog(tmp_path / "odd.parquet"), **FAST)
    with warnings.catch_warnings(record=True) as told_of_parts:
        warnings.simplefilter("always")
        out = infer_file(tmp_path / "odd.parquet", tmp_path / "out.parquet", rows_per_part=3, **FAST)
    assert sorted(str(w.message) for w in told) == sorted(str(w.message) for w in told_of_parts)
    assert any("-3 Mpc in row 3" in str(w.message) for w in told)
    assert any("100 Mpc in row 7" in str(w.message) for w in told)
    assert Table.read(out)["flag"].tolist() == expected["flag"].tolist()
    tbl["distance"] = -3 * u.Mpc
    tbl.write(tmp_path / "all.parquet")
    with pytest.raises(DistanceError, match=r"-3 Mpc in row 0; distances are positive"):
        infer_file(tmp_path / "all.parquet", tmp_path / "no.parquet", rows_per_part=5, **FAST)


# What is wrong shows before any work, and where


def test_errors_name_the_row_of_the_file(source, tmp_path, monkeypatch):
    seen = counted(monkeypatch)
    tbl = Table.read(source)
    del tbl["distance"]
    tbl["galaxy"] = ["NGC 628", "NGC 1433"] * 6
    tbl["PHANGS_F275W_mJy"], tbl["PHANGS_F275W_mJy_ERR"] = tbl["F275W"].to("mJy"), tbl["F275W_err"].to("mJy")
    tbl["PHANGS_F275W_mJy"][10] *= 2
    tbl.write(tmp_path / "worse.parquet")
    with pytest.raises(ColumnError, match=r"contradict each other in 1 of .*\(row 10: by"):
        infer_file(tmp_path / "worse.parquet", tmp_path / "out.parquet", rows_per_part=3, **FAST)
    assert seen == []
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"n_samples": 3}, InputError, "n_samples=3"),
    ({"quantiles": [2]}, InputError, "between 0 and 1"),
    ({"nonsense": 3}, TypeError, "nonsense"),
    ({"rows_per_part": 0}, InputError, "rows_per_part=0 must be a whole number"),
    ({"exact": True, "n_samples": 50}, TypeError, "n_samples"),
])
def test_options_that_cannot_be(source, tmp_path, options, error, message, monkeypatch):
    with pytest.raises(error, match=message):
        infer_file(source, tmp_path / "out.parquet", **options)
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be(source, tmp_path):
    with pytest.raises(InputError, match=r"nothing.parquet does not exist"):
        infer_file(tmp_path / "nothing.parquet", tmp_path / "out.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        infer_file(tmp_path / "text.parquet", tmp_path / "out.parquet")
    with pytest.raises(InputError, match=r"written as Parquet; name it out.parquet"):
        infer_file(source, tmp_path / "out.fits")
    with pytest.raises(InputError, match="exists"):
        infer_file(source, source)
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "link.parquet").symlink_to(source)
    for name, said in (("folder", "is a folder"), ("link", "is a link")):
        with pytest.raises(InputError, match=said):
            infer_file(source, tmp_path / f"{name}.parquet", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.parquet", "link.parquet", "text.parquet"]
    Table.read(source)[:0].write(tmp_path / "empty.parquet")
    with pytest.raises(InputError, match="no rows"):
        infer_file(tmp_path / "empty.parquet", tmp_path / "out.parquet")
    parquet.write_table(parquet.read_table(source).replace_schema_metadata({}), tmp_path / "bare.parquet")
    with pytest.raises(UnitError, match=r"bare.parquet: column 'F275W' has no unit"):
        infer_file(tmp_path / "bare.parquet", tmp_path / "out.parquet")


# Kills, damage and other options


_KILLED = """
import os, signal, sys
from clusterpost.scale import checkpoints, infer_file, job
where, at = sys.argv[3], int(sys.argv[4])
module = checkpoints if hasattr(checkpoints, where) else job.Job
done, call = [], getattr(module, where)
def killed(*args):
    done.append(1)
    if len(done) == at:
        if where == "write_rows":  # the part is whole, and its record is not
            call(*args)
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*args)
setattr(module, where, killed)
infer_file(sys.argv[1], sys.argv[2], model="any_bands", rows_per_part=3, n_samples=20, refine=False)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
@pytest.mark.parametrize(("where", "at", "left"), [
    ("infer", 3, [6, 9]),
    ("write_rows", 2, [3, 6, 9]),
    ("_assemble", 1, []),
])
def test_killed_and_resumed(source, expected, tmp_path, monkeypatch, where, at, left):
    files = [str(source), str(tmp_path / "out.parquet")]
    command = [sys.executable, "-W", "ignore", "-c", _KILLED, *files, where, str(at)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out.parquet").exists()
    assert list((tmp_path / "out.parquet.parts").glob("part-*.parquet"))
    seen = counted(monkeypatch)
    out = infer_file(source, tmp_path / "out.parquet", rows_per_part=3, **FAST)
    assert seen == left
    assert_same_file(out, expected, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["expected.parquet", "out.parquet"]


@pytest.fixture(scope="module")
def stopped(source, tmp_path_factory):
    """Folder of a target of which three parts of four are there; not to be changed."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        counted(patch, stop_after=3)
        with pytest.raises(KeyboardInterrupt):
            infer_file(source, folder / "out.parquet", rows_per_part=3, **FAST)
    assert len(list((folder / "out.parquet.parts").glob("part-*.parquet"))) == 3
    return folder


@pytest.fixture
def interrupted(stopped, tmp_path):
    """A target of which three parts of four are there."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out.parquet"


def flip(path, where):
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [
    lambda parts: flip(parts / "part-000001.parquet", 0.1),
    lambda parts: flip(parts / "part-000001.parquet", 0.9),
    lambda parts: (parts / "part-000001.parquet").write_bytes((parts / "part-000001.parquet").read_bytes()[:-100]),
    lambda parts: (parts / "part-000001.parquet").unlink(),
    lambda parts: (parts / "part-000001.json").unlink(),
    lambda parts: (parts / "part-000001.json").write_text('{"fingerprint": 3}'),
    lambda parts: (parts / "part-000001.json").write_text("[1"),
    lambda parts: os.replace(parts / "part-000002.parquet", parts / "part-000001.parquet"),
])
def test_damaged_parts_are_done_again(source, expected, interrupted, tmp_path, monkeypatch, damage):
    damage(tmp_path / "out.parquet.parts")
    seen = counted(monkeypatch)
    infer_file(source, interrupted, rows_per_part=3, **FAST)
    assert 3 in seen
    assert 9 in seen
    assert 0 not in seen
    assert_same_file(interrupted, expected, tmp_path)


def test_a_part_whose_rows_changed_is_done_again(source, interrupted, tmp_path, monkeypatch):
    tbl = Table.read(source)
    tbl["F275W"][4] *= 1.1
    tbl.write(tmp_path / "changed.parquet")
    seen = counted(monkeypatch)
    infer_file(tmp_path / "changed.parquet", interrupted, rows_per_part=3, **FAST)
    assert seen == [3, 9]
    assert_close(Table.read(interrupted), clusterpost.infer_table(tbl, **FAST))


@pytest.mark.parametrize(("options", "named"), [
    ({"seed": 1}, "seed: 0 then, 1 now"),
    ({"n_samples": 30}, "n_samples: 20 then, 30 now"),
    ({"rows_per_part": 4}, "rows_per_part: 3 then, 4 now"),
    ({"refine": True, "prior": ProductPrior(log_mass=PowerLaw(-2))}, "prior"),
    ({"distance": 9.0}, "distance: None then, 9.0 now"),
    ({"model": "walter2025"}, "model"),
])
def test_parts_of_other_options_are_refused_and_kept(source, interrupted, options, named):
    parts = interrupted.with_name("out.parquet.parts")
    before = {p.name: p.read_bytes() for p in parts.iterdir()}
    with pytest.raises(InputError, match=f"holds results of another run .*{named}.*remove that folder"):
        infer_file(source, interrupted, **{"rows_per_part": 3, **FAST, **options})
    assert {p.name: p.read_bytes() for p in parts.iterdir()} == before


@pytest.mark.slow
def test_a_prior_is_known_by_its_densities(source, tmp_path, monkeypatch):
    options = {"n_samples": 20, "rows_per_part": 3}
    with monkeypatch.context() as patch:
        counted(patch, stop_after=2)
        with pytest.raises(KeyboardInterrupt):
            infer_file(source, tmp_path / "out.parquet", prior=lambda theta: -theta[..., 2], **options)
    with pytest.raises(InputError, match=r"prior: function <lambda>"):
        infer_file(source, tmp_path / "out.parquet", prior=lambda theta: -2 * theta[..., 2], **options)
    seen = counted(monkeypatch)
    infer_file(source, tmp_path / "out.parquet", prior=lambda theta: 0 - theta[..., 2], **options)
    assert seen == [6, 9]


def test_two_processes_do_not_work_on_the_same(source, interrupted):
    with (FileLock(interrupted.with_name(".out.parquet.parts.lock")),
          pytest.raises(InputError, match=r"another process works in .*out.parquet.parts")):
        infer_file(source, interrupted, rows_per_part=3, **FAST)


@pytest.mark.parametrize("damage", [lambda path: path.write_text(path.read_text()[:40]), lambda path: path.unlink(),
                                    lambda path: path.write_text("3"), lambda path: path.write_bytes(b"\xff\xfe")])
def test_a_record_that_a_crash_left_unreadable_is_made_again(source, expected, interrupted, tmp_path, monkeypatch,
                                                             damage):
    damage(interrupted.with_name("out.parquet.parts") / "job.json")
    seen = counted(monkeypatch)
    infer_file(source, interrupted, rows_per_part=3, **FAST)
    assert seen == [9]
    assert_same_file(interrupted, expected, tmp_path)


def test_an_old_target_stays_until_the_new_one_is_whole(source, tmp_path, monkeypatch):
    target = tmp_path / "out.parquet"
    infer_file(source, target, rows_per_part=6, **FAST)
    before = target.read_bytes()
    with monkeypatch.context() as patch:
        counted(patch, stop_after=1)
        with pytest.raises(KeyboardInterrupt):
            infer_file(source, target, rows_per_part=3, seed=2, overwrite=True, **FAST)
    assert target.read_bytes() == before
    infer_file(source, target, rows_per_part=3, seed=2, overwrite=True, **FAST)
    assert Table.read(target).meta["CPSEED"] == 2


def test_a_column_that_is_not_there_is_named(source):
    from clusterpost.scale import read_column

    with pytest.raises(ColumnError, match="has no column 'age_q50'; it has"):
        read_column(source, "age_q50")


def test_results_without_medians_are_written(source, tmp_path):
    infer_file(source, tmp_path / "out.parquet", rows_per_part=6, **(FAST | {"quantiles": (0.1, 0.9)}))
    assert "age_q10" in Table.read(tmp_path / "out.parquet").colnames


def test_what_is_not_ours_stays(source, interrupted):
    mine = interrupted.with_name("out.parquet.parts") / "notes.txt"
    mine.write_text("mine")
    infer_file(source, interrupted, rows_per_part=3, **FAST)
    assert [p.name for p in mine.parent.iterdir()] == ["notes.txt"]


# Memory and command line


def test_memory_does_not_grow_with_the_file(source, tmp_path, monkeypatch):
    """Of all but inference itself, which sees a part at a time."""

    class Copying:
        def __init__(self, tbl, **options):
            self.tbl, self.findings = tbl, Findings(rows=len(tbl))

        def describe(self):
            return "copied"

        def run(self, progress):
            out = self.tbl.copy()
            out["flag"] = np.zeros(len(out), np.int32)
            return out

    monkeypatch.setitem(job._CALLS, "infer_table", (clusterpost.infer_table, Copying))
    peaks = []
    for n in (1_000, 4_000):
        tbl = Table.read(source)[np.arange(n) % 12]
        tbl.write(tmp_path / f"{n}.parquet")  # one row group
        del tbl
        pool = pa.default_memory_pool()
        before = pool.bytes_allocated()
        tracemalloc.start()
        infer_file(tmp_path / f"{n}.parquet", tmp_path / f"out{n}.parquet", rows_per_part=500, **FAST)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert pool.bytes_allocated() - before < 1e6
    assert peaks[1] < 1.3 * peaks[0]


def test_command_line(source, expected, tmp_path, capsys, monkeypatch):
    command = ["infer", str(source), str(tmp_path / "out.parquet"), "-n", "20", "--no-refine", "--rows-per-part", "5"]
    with monkeypatch.context() as patch:
        counted(patch, stop_after=1)
        assert cli.main(command) == 130
    assert "the same command resumes" in capsys.readouterr().err
    assert cli.main(command) == 0
    assert "out.parquet: 12 rows, 12 inferred, 0 flagged 'not inferred'" in capsys.readouterr().err
    assert_same_file(tmp_path / "out.parquet", expected, tmp_path)
    assert cli.main([*command[:2], str(tmp_path / "out.fits"), *command[3:]]) == 2
    assert "--rows-per-part is for Parquet output" in capsys.readouterr().err


def test_options_of_other_formats_are_not_for_folders(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    assert cli.main(["infer", str(tmp_path / "in"), str(tmp_path / "out"), "--hdu", "2"]) == 2
    assert "--hdu and --bands are for single files" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_record_can_be_read_by_people(interrupted):
    said = json.loads((interrupted.with_name("out.parquet.parts") / "job.json").read_text())
    assert (said["call"], said["n_samples"], said["refine"], said["error_floor"]) == ("infer_table", 20, False, "auto")
    assert isinstance(said["quantiles"], str | list)


def test_the_plan(tmp_path, capsys):
    from clusterpost.scale.plan import main

    rates = Table({"method": ["infer_table", "emcee", "infer_table", "sbi NPE"],
                   "device": ["cpu", "cpu", "cuda", "cpu"], "rows_per_second": [800.0, 0.2, 20_000.0, np.nan],
                   "cpu_seconds_per_row": [1 / 400, 10.0, 9.0, 1.0]})
    rates.write(tmp_path / "rates.ecsv")
    table = plan_catalog(tmp_path / "rates.ecsv", 3.6e6, days=1 / 24)
    assert table["method"].tolist() == ["infer_table", "emcee", "infer_table"]  # what was measured
    np.testing.assert_allclose(table["hours"], [2.5, 10_000, 0.05])  # of a core, of a GPU
    assert table["workers"].tolist() == [3, 10_000, 1]
    np.testing.assert_allclose(table["emcee_hours_ratio"], [4000, 1, 200_000])
    assert main([str(tmp_path / "rates.ecsv"), "-o", str(tmp_path / "plan.txt")]) == 0
    text = (tmp_path / "plan.txt").read_text()
    assert "1e+09 objects within 7 days" in text
    assert "output 468 GB (468 bytes a row)" in text
    assert "infer_table" in text
    with pytest.raises(InputError, match="no column 'method'"):
        plan_catalog(Table({"rate": [1]}))


def test_the_plan_counts_the_bytes_of_a_row(clusters, expected):
    tbl = Table(clusters)["distance", "F275W", "F275W_err", "F336W", "F336W_err"]
    given, added = bytes_per_row(2)
    assert given == sum(tbl[name].dtype.itemsize for name in tbl.colnames) + 3 * 8  # name and coordinates
    new = [name for name in expected.colnames if name not in clusters.colnames and "limit" not in name]
    assert added == sum(expected[name].dtype.itemsize * expected[name][0].size for name in new if name != "note")
