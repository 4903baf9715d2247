import datetime

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from astropy.time import Time

import clusterpost
from clusterpost.catalogs.parquet import arrow_table
from clusterpost.catalogs.writer import columns_for
from clusterpost.cli import main
from clusterpost.errors import InputWarning

COLUMNS = {
    "when": np.array(["2026-01-01T00:00:01", "2026-01-02T00:00:00"], "datetime64[us]"),
    "delta": np.array([1, 2], "timedelta64[s]"),
    "some_null": np.array(["a", None], object),
    "all_null": np.array([None, None], object),
    "nullable": np.array([True, None], object),
    "masked_bool": MaskedColumn([True, False], mask=[False, True]),
    "masked_int": MaskedColumn([1, 2], mask=[False, True]),
    "lists": np.array([["a"], ["b", "c"]], object),
    "dicts": np.array([{"a": 1}, None], object),
    "dates": np.array([datetime.date(2026, 1, 1)] * 2, object),
    "time": Time([2450000.5, 2450001], format="jd"),
    "sky": SkyCoord([1, 2], [4, 5], unit="deg"),
    "half": np.array([1, 2], np.float16),
    "byte": np.array([1, 2], np.int8),
    "unsigned": np.array([1, 2], np.uint64),
    "complex": np.array([1j, 2]),
    "unicode": np.array(["é", "b"]),
    "vectors": np.ones((2, 3)),
}


@pytest.fixture(scope="module")
def mocks():
    return Table(clusterpost.simulate(2, seed=1, distance=10))


@pytest.mark.parametrize("ending", ["fits", "ecsv", "vot", "parquet"])
@pytest.mark.parametrize("name", COLUMNS)
def test_every_column_beside_the_photometry_is_carried(mocks, name, ending, tmp_path):
    tbl = mocks.copy()
    tbl[name] = COLUMNS[name]
    ready = columns_for(tbl, f"x.{ending}")
    clusterpost.write_catalog(ready, tmp_path / f"x.{ending}")
    back = clusterpost.read_catalog(tmp_path / f"x.{ending}")
    kept = [c for c in back.colnames if c.startswith(name)]
    assert kept
    np.testing.assert_allclose(back["F275W"], mocks["F275W"])
    if name in ("masked_int", "nullable", "masked_bool") and ending != "vot":
        assert str(back[name][0]) in ("1", "True")
    if name in ("when", "dates"):
        assert str(back[name][0]).startswith("2026-01-01")


def test_what_nothing_helps_is_left_out_with_a_word_before_the_work(mocks):
    tbl = mocks.copy()
    tbl["odd"] = np.zeros(2, [("a", float), ("b", int)])
    with pytest.warns(InputWarning, match=r"left out.*'odd'"):
        ready = columns_for(tbl, "x.fits")
    assert "odd" not in ready.colnames
    assert columns_for(mocks, "x.fits") is mocks


@pytest.mark.parametrize("kind", ["timestamp", "category", "list", "null", "some null", "bool", "struct", "decimal",
                                  "date"])
def test_columns_of_other_software_in_parquet(mocks, kind, tmp_path):
    pa = pytest.importorskip("pyarrow")
    columns = {
        "timestamp": pa.array([datetime.datetime(2026, 1, 1), None], pa.timestamp("ns")),
        "category": pa.array(["a", "b"]).dictionary_encode(),
        "list": pa.array([["a"], []]),
        "null": pa.nulls(2),
        "some null": pa.array(["a", None]),
        "bool": pa.array([True, None]),
        "struct": pa.array([{"a": 1}, None]),
        "decimal": pa.array([1, None], pa.decimal128(5, 2)),
        "date": pa.array([datetime.date(2026, 1, 1), None]),
    }
    rows = {name: pa.array(np.asarray(mocks[name], float)) for name in mocks.colnames if "_true" not in name}
    rows = pa.table({**rows, "beside": columns[kind]})
    tbl = arrow_table(rows)
    assert len(tbl["beside"]) == 2
    assert str(tbl["beside"][0]) in ("2026-01-01T00:00:00", "a", '["a"]', "", "--", "True", '{"a": 1}', "1.0",
                                     "2026-01-01")
    pytest.importorskip("pyarrow.parquet").write_table(rows, tmp_path / "in.parquet")
    for ending in ("fits", "ecsv"):
        target = tmp_path / f"out.{ending}"
        assert main(["infer", str(tmp_path / "in.parquet"), str(target), "--unit", "mJy", "-n", "20", "--quiet"]) == 0
        assert "beside" in clusterpost.read_catalog(target).colnames


def test_units_of_a_votable_header_in_parquet(mocks, tmp_path):
    pytest.importorskip("pyarrow")
    plain = Table({name: np.asarray(mocks[name], float) for name in ("F275W", "F275W_err", "F336W", "F336W_err")})
    for name in plain.colnames:
        plain[name].unit = "mJy"
    plain.write(tmp_path / "vo.parquet", format="parquet.votable", metadata={name: {} for name in plain.colnames})
    assert str(clusterpost.read_catalog(tmp_path / "vo.parquet")["F275W"].unit) == "mJy"
