import numpy as np
import pytest
from astropy.table import Column

from clusterpost import flags
from clusterpost.flags import FLAGS, decode_flags


def test_bits_are_single_and_different():
    bits = [f.bit for f in FLAGS]
    assert len(set(bits)) == len(bits)
    assert all(b > 0 and b & (b - 1) == 0 for b in bits)
    assert max(bits) < 2**31  # an int32 column holds them


def test_names_and_descriptions():
    assert len({f.name for f in FLAGS}) == len(FLAGS)
    assert all(f.description.endswith(".") for f in FLAGS)
    constants = {v for k, v in vars(flags).items() if k.isupper() and isinstance(v, int)}
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
