"""Tables of any content are inferred row by row, or refused with a documented error."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from fuzzing import bounded, only_input_errors
from hypothesis import given
from hypothesis import strategies as st

import clusterpost
from clusterpost import flags

pytestmark = pytest.mark.usefixtures("exact_by_default")

NUMBERS = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e-310, 1e-45, 1e-38, 1.8e308, 1e300, 3.4e38, 1e20, -1.0,
           -9999.0, 99.999, 66.666, 1e-30, 1e10]
UNITS = ["mJy", "Jy", "erg / (s cm2 Angstrom)", "erg / (s cm2 Hz)", "mag(AB)", "mag(ST)", "mag", "", "m", "K", "mJy2",
         "%", "ph / (s cm2 Angstrom)", "Jy / sr", "dex(mJy)"]
NAMES = ["x", "é‮", " ", "F275W ", "f275w", "F275W_limit", "age_q50", "flag", "galaxy", "distance",
         "PHANGS_F275W_mJy", "F435W_ACS", "F606W_ACS", "a\nb", "n" * 7000, "F555W_original", "CPCOLS",
         "__serialized_columns__", "F814W_limit"]
META = ["distance", "galaxy", "CPCOLS", "CPLAYOUT", "CPDSRC", "ERRFLOOR", "ERRFCOLS", "MAGSYS"]
ODD = [None, "", "NGC 628", np.inf, -3, "nan", [1, 2], {"a": 1}, b"\xff", "F275W: F275W, F275W_err", "0.05", "AB",
       np.array([1.0, 2.0]), 5 * u.Mpc]
MIXINS = {
    "time": lambda n: Time(np.full(n, 2450000.5), format="jd"),
    "text": lambda n: Column(["NGC 628"] * n),
    "bytes": lambda n: Column([b"\xff\xfe"] * n),
    "objects": lambda n: Column(np.array([{"a": 1}] * n, object)),
    "nothing": lambda n: Column(np.array([None] * n, object)),
    "arrays": lambda n: Column(np.ones((n, 3, 2))),
    "bool": lambda n: Column(np.ones(n, bool)),
    "masked": lambda n: MaskedColumn(np.ones(n), mask=np.arange(n) % 2 == 0, unit="mJy"),
    "kpc": lambda n: Column(np.full(n, 10.0), unit="kpc"),
}
KINDS = [">f8", ">f4", "f2", "f4", object, str, "S30", bool, complex, "i4", np.longdouble]

_place = st.tuples(st.integers(0, 30), st.integers(0, 30))
OPERATIONS = st.one_of(
    st.tuples(st.just("number"), _place, st.sampled_from(NUMBERS)),
    st.tuples(st.just("kind"), _place, st.sampled_from(KINDS)),
    st.tuples(st.just("unit"), _place, st.sampled_from(UNITS)),
    st.tuples(st.just("mask"), _place, st.sampled_from([0.0, -1.0, 1e20])),
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.sampled_from(sorted(MIXINS))),
    st.tuples(st.just("replace"), _place, st.sampled_from(sorted(MIXINS))),
    st.tuples(st.just("rename"), _place, st.sampled_from(NAMES)),
    st.tuples(st.just("remove"), _place, st.none()),
    st.tuples(st.just("meta"), st.sampled_from(META), st.sampled_from(ODD)),
    st.tuples(st.just("scale"), _place, st.integers(-40, 40)),
)


@pytest.fixture(scope="module")
def clusters():
    return clusterpost.simulate(5, seed=5)


def apply(tbl, operation):
    """Change a table; what astropy itself does not allow is left."""
    kind, where, value = operation
    if kind == "meta":
        tbl.meta[where] = value
        return
    if kind == "add":
        tbl[where] = MIXINS[value](len(tbl))
        return
    name = tbl.colnames[where[0] % len(tbl.colnames)]
    numbers, unit = np.asarray(tbl[name]), getattr(tbl[name], "unit", None)
    if kind == "number":
        numbers = numbers.astype(float)
        numbers[where[1] % len(tbl)] = value
        tbl[name] = Column(numbers, unit=unit)
    elif kind == "kind":
        tbl[name] = Column(numbers.astype(value), unit=unit)
    elif kind == "unit":
        tbl[name] = Column(numbers, unit=value or None)
    elif kind == "mask":
        tbl[name] = MaskedColumn(numbers, unit=unit, mask=np.arange(len(tbl)) % 2 == where[1] % 2, fill_value=value)
    elif kind == "replace":
        tbl[name] = MIXINS[value](len(tbl))
    elif kind == "rename":
        tbl.rename_column(name, value)
    elif kind == "remove":
        tbl.remove_column(name)
    elif kind == "scale":
        tbl[name] = Column(numbers * 10.0**value, unit=unit)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@bounded(120)
@given(n=st.integers(0, 3), quantities=st.booleans(), operations=st.lists(OPERATIONS, min_size=1, max_size=4),
       noise=st.sampled_from(["lognormal", "normal", "walter2025"]),
       model=st.sampled_from(["any_bands", "any_bands", "any_bands", "walter2025"]))
def test_tables_of_any_content(clusters, n, quantities, operations, noise, model):
    tbl = clusters[:n] if quantities else Table(clusters[:n])
    for operation in operations:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                apply(tbl, operation)
            except Exception:
                continue
    assert isinstance(tbl, QTable) == quantities
    before = tbl.copy()
    with only_input_errors():
        out = clusterpost.infer_table(tbl, model=model, noise=noise, refine=False, n_samples=12, progress=False)
        assert len(out) == len(tbl)
        assert set(tbl.colnames) <= set(out.colnames)
        flag = np.asarray(out["flag"])
        inferred = (flag & flags.NOT_INFERRED) == 0
        assert (flag[~inferred] != flags.NOT_INFERRED).all()  # a reason is given
        for name in ("age_q16", "age_q50", "age_q84", "mass_q50", "ebv_q50", "age_map"):
            values = np.asarray(out[name])
            assert np.isfinite(values[inferred]).all()
            assert np.isnan(values[~inferred]).all()
    with only_input_errors():
        clusterpost.read_catalog(tbl)
    assert tbl.colnames == before.colnames
    assert repr(tbl.meta) == repr(before.meta)
    for name in tbl.colnames:
        assert repr(tbl[name]) == repr(before[name])
