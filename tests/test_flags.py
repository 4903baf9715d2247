import numpy as np
import pytest
from astropy.table import Column, Table

from clusterpost import flags
from clusterpost.errors import ColumnError
from clusterpost.flags import FLAGS, decode_flags, is_good


def test_bits_are_single_and_different():
    bits = [f.bit for f in FLAGS]
    assert len(set(bits)) == len(bits)
    assert all(b > 0 and b & (b - 1) == 0 for b in bits)
    assert max(bits) < 2**31  # an int32 column holds them


def test_names_and_descriptions():
    assert len({f.name for f in FLAGS}) == len(FLAGS)
    assert all(f.description.endswith(".") for f in FLAGS)
    constants = {v for k, v in vars(flags).items() if k.isupper() and type(v) is int}
    assert constants == {f.bit for f in FLAGS}


@pytest.mark.parametrize("value", [3, np.int32(3), np.array(3), np.array([3])[0]])
def test_one_value(value):
    assert decode_flags(value) == ["not inferred", "missing band"]


@pytest.mark.parametrize("kind", [list, tuple, np.array, Column])
def test_a_column(kind):
    assert decode_flags(kind([0, 1, 128])) == [[], ["not inferred"], ["ACS taken as WFC3"]]
    assert decode_flags(kind([])) == []


def test_all_bits():
    assert decode_flags(sum(f.bit for f in FLAGS)) == [f.name for f in FLAGS]


def test_every_flag_has_a_severity():
    assert {f.severity for f in FLAGS} == set(flags.SEVERITIES)
    by_severity = {s: {f.bit for f in FLAGS if f.severity == s} for s in flags.SEVERITIES}
    assert {2, 4, 64, 128, 4096} <= by_severity["information"]
    assert {1, 256, 1024, 2048} <= by_severity["caution"] | by_severity["bad"]


@pytest.mark.parametrize("flag", FLAGS, ids=lambda f: f.name)
def test_rows_to_keep(flag):
    assert is_good([flag.bit, 0]).tolist() == [flag.severity == "information", True]


def test_good_rows_of_a_table():
    tbl = Table({"a_flag": [2, 256]})
    tbl.meta["CPRECORD"] = '{"a_": {"model": "any_bands", "noise": "lognormal", "words": ""}}'
    assert is_good(tbl).tolist() == [True, False]
    assert is_good(tbl["a_flag"]).tolist() == [True, False]
    with pytest.raises(ColumnError, match="no column 'flag'"):
        is_good(Table({"a_flag": [2]}))
