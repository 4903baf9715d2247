"""Folders of Parquet files on Dask: as one table, and a lost worker costs what it was at and nothing else."""

import contextlib
import os
import signal
import threading
import time

import numpy as np
import pytest
from astropy.table import Table, vstack
from infer_tables import assert_close, value

import clusterpost
from clusterpost import cli
from clusterpost.errors import DistanceError, InputError, InputWarning

distributed = pytest.importorskip("distributed")
pytest.importorskip("pandas")
parquet = pytest.importorskip("pyarrow.parquet")

from clusterpost.scale import infer_dataset, read_column  # noqa: E402

# Of dask's own threads and sockets, when processes are killed.
pytestmark = [pytest.mark.usefixtures("exact_by_default"), pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FAST = {"n_samples": 20, "refine": False, "progress": False}


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True,
                                  dashboard_address="127.0.0.1:0") as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def mocks(clusters):
    return Table(clusters)


@pytest.fixture(scope="module")
def expected(mocks):
    return clusterpost.infer_table(clusterpost.read_catalog(mocks), n_samples=20, refine=False)


def split(tbl, folder, size):
    for i, start in enumerate(range(0, len(tbl), size)):
        place = folder / f"pixel={i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        tbl[start : start + size].write(place / f"part{i}.parquet")
    return folder


def joined(folder):
    files = sorted(folder.rglob("part*.parquet"), key=lambda file: int(file.stem[4:]))
    return vstack([Table.read(file) for file in files], metadata_conflicts="silent")


def test_a_folder_is_one_table(mocks, expected, tmp_path, client, capsys):
    source = split(mocks, tmp_path / "in", 5)
    (source / "_metadata").write_text("not data")
    out = infer_dataset(source, tmp_path / "out", client, **FAST)
    assert_close(joined(out), expected)
    names = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert names == {".clusterpost.json", "_SUCCESS", *(f.relative_to(source).as_posix() for f in
                                                        source.rglob("part*.parquet"))}
    schemas = [parquet.read_schema(file).remove_metadata() for file in out.rglob("*.parquet")]
    assert all(schema == schemas[0] for schema in schemas)
    got = Table.read(next(out.rglob("*.parquet")))
    assert got.meta == expected.meta
    assert got["age_q50"].unit == "Myr"
    np.testing.assert_array_equal(np.sort(read_column(out, "n_bands")), np.sort(expected["n_bands"]))

    # A second run does nothing; one file gone or damaged is made again, and no other.
    files = sorted(out.rglob("*.parquet"))
    times = [file.stat().st_mtime_ns for file in files]
    files[0].unlink()
    left = files[2].with_name(f"{files[2].name}.parts")  # of a worker that was killed at the very end
    left.mkdir()
    (left / "job.json").write_text("{}")
    files[1].write_bytes(files[1].read_bytes()[:-50])
    infer_dataset(source, out, client, **FAST)
    again = [file.stat().st_mtime_ns for file in files]
    assert [a != b for a, b in zip(again, times, strict=True)] == [True, True, False]
    assert not left.exists()
    assert_close(joined(out), expected)
    with pytest.raises(InputError, match=r"holds results of another run .*seed: 0 then, 3 now"):
        infer_dataset(source, out, client, seed=3, **FAST)

    # The same from the command line.
    command = ["infer", str(source), str(tmp_path / "again"), "-n", "20", "--no-refine", "--scheduler",
               client.scheduler.address]
    assert cli.main(command) == 0
    assert "12 rows, 12 inferred" in capsys.readouterr().err
    assert_close(joined(tmp_path / "again"), expected)


def test_what_a_table_decides_is_decided_for_all_files(tmp_path, client, mocks, expected):
    """One file has a mask, one a sentinel, one only galaxies that nobody knows."""
    tbl = Table(mocks)
    tbl["galaxy"] = ["NGC 628"] * 4 + ["Nowhere 1"] * 4 + ["NGC 1433"] * 4
    del tbl["distance"]
    tbl["F275W"] = tbl["F275W"].astype(np.float32)
    tbl["F275W"][10] = -999
    source = split(tbl, tmp_path / "in", 4)
    with pytest.warns(UserWarning, match="no distance is known for 'Nowhere 1'"):
        wanted = clusterpost.infer_table(clusterpost.read_catalog(tbl), n_samples=20, refine=False)
    out = joined(infer_dataset(source, tmp_path / "out", client, **FAST))
    assert out.colnames == wanted.colnames
    assert out["flag"].tolist() == wanted["flag"].tolist()
    assert out.meta["CPDSRC"] == wanted.meta["CPDSRC"]
    assert out["F275W"].dtype == wanted["F275W"].dtype == np.float64
    np.testing.assert_array_equal(value(out["distance"]), value(wanted["distance"]))
    assert_close(out, wanted)


def test_what_cannot_be(tmp_path, client, mocks):
    source = split(mocks, tmp_path / "in", 6)
    with pytest.raises(InputError, match="is not a folder"):
        infer_dataset(tmp_path / "nothing", tmp_path / "out", client)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no Parquet files"):
        infer_dataset(tmp_path / "empty", tmp_path / "out", client)
    for inside in (source, source / "out"):
        with pytest.raises(InputError, match="are inside one another"):
            infer_dataset(source, inside, client)
    with pytest.raises(InputError, match="are inside one another"):
        infer_dataset(source, tmp_path, client)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(InputError, match="are inside one another"):
        infer_dataset(source, tmp_path / "link" / "out", client)
    assert not (source / "out").exists()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        infer_dataset(source, tmp_path / "others", client)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is not a folder"):
        infer_dataset(source, tmp_path / "file", client)
    with pytest.raises(InputError, match="distance= with several numbers cannot"):
        infer_dataset(source, tmp_path / "out", client, distance=[1.0] * 12)
    bad = Table(mocks)
    bad["distance"][9] = -1
    split(bad, tmp_path / "bad", 6)
    with pytest.warns(InputWarning, match=r"part1.parquet: .* -1 Mpc in row 3;"):
        infer_dataset(tmp_path / "bad", tmp_path / "flagged", client, **FAST)
    bad["distance"] = -1
    split(bad, tmp_path / "worse", 6)
    with pytest.raises(DistanceError, match=r"part0.parquet: .* -1 Mpc in row 0;"):
        infer_dataset(tmp_path / "worse", tmp_path / "out", client, **FAST)
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_no_odd_row_stops_a_cluster(tmp_path, client, mocks):
    tbl = Table(mocks)
    tbl["F814W_err"][0], tbl["F336W"][4], tbl["distance"][8], tbl["F275W"][9] = 1e20, 1e300, np.inf, -np.inf
    out = joined(infer_dataset(split(tbl, tmp_path / "in", 4), tmp_path / "out", client, **FAST))
    wanted = clusterpost.infer_table(clusterpost.read_catalog(tbl), n_samples=20, refine=False)
    assert out["flag"].tolist() == wanted["flag"].tolist()
    assert (out["flag"][[0, 4, 8, 9]] != 0).all()
    assert_close(out, wanted)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_lost_worker_costs_what_it_was_at(tmp_path, client, mocks):
    tbl = mocks[np.arange(64) % 12]
    tbl["F275W"] *= 1 + np.arange(64) / 1000
    source = split(tbl, tmp_path / "in", 8)
    options = {"n_samples": 400, "refine": True, "rows_per_part": 2, "progress": False}
    target, errors = tmp_path / "out", []
    client.run(os.getpid)

    def infer():
        try:
            infer_dataset(source, target, client, **options)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=infer)
    thread.start()
    deadline, killed, finished, begun = time.monotonic() + 240, None, {}, []
    while killed is None and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
        with contextlib.suppress(FileNotFoundError):  # of parts that are removed meanwhile, as their file is whole
            finished = {file: file.stat().st_mtime_ns for file in target.rglob("part[0-9].parquet")
                        if not file.parent.name.startswith(".")}
            begun = list(target.rglob("*.parts/part-*.json"))
        busy = [worker for worker, tasks in client.processing().items() if tasks]
        if finished and begun and busy:
            killed = client.run(os.getpid, workers=busy[:1])[busy[0]]
            os.kill(killed, signal.SIGKILL)
    thread.join(timeout=240)
    assert not thread.is_alive()
    assert killed is not None, "the run was over before a worker could be lost"
    assert errors == []
    assert {file: file.stat().st_mtime_ns for file in finished} == finished  # nothing that was there is done again
    assert len(list(target.rglob("part[0-9].parquet"))) == 8
    assert not list(target.rglob("*.parts"))
    assert (target / "_SUCCESS").exists()
    whole = clusterpost.infer_table(clusterpost.read_catalog(tbl), n_samples=400, progress=False)
    assert_close(joined(target), whole, but=("chi2_map",))  # of the MAP, which may end anywhere along a flat ridge


def test_hats(tmp_path, client, mocks):
    lsdb = pytest.importorskip("lsdb")
    frame = mocks.to_pandas()
    frame = frame[[name for name in frame.columns if name.startswith("F") or name == "distance"]]
    for name in frame.columns:  # HATS keeps no units; those of PHANGS columns are known
        if name.startswith("F"):
            band, _, error = name.partition("_")
            unit = mocks[name].unit.to("mJy")
            frame[f"PHANGS_{band}_mJy{'_ERR' if error else ''}"] = frame.pop(name) * unit
    frame["ra"], frame["dec"] = np.linspace(0, 300, 12), np.linspace(-60, 60, 12)
    lsdb.from_dataframe(frame, catalog_name="mocks").write_catalog(tmp_path / "in")
    out = infer_dataset(tmp_path / "in", tmp_path / "out", client, **FAST)
    got = lsdb.open_catalog(out).compute()
    assert len(got) == 12
    assert {"age_q50", "flag", "ra", "F275W"} <= set(got.columns)
    tbl = Table.from_pandas(frame)
    expected = clusterpost.infer_table(clusterpost.read_catalog(tbl), n_samples=20, refine=False)
    order = np.argsort(got["ra"].to_numpy())
    np.testing.assert_allclose(got["age_q50"].to_numpy()[order], expected["age_q50"], rtol=1e-3)
