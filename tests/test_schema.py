import astropy.units as u
import pytest
from astropy.io.votable.ucd import parse_ucd
from hypothesis import given
from hypothesis import strategies as st

from clusterpost.families import get_family
from clusterpost.schema import output_columns, quantile_label, result_columns

CLUSTERS = result_columns(get_family("clusters")())


@pytest.mark.parametrize(
    ("quantile", "label"),
    [
        (0.16, "q16"),
        (0.5, "q50"),
        (0.84, "q84"),
        (0.025, "q2.5"),
        (0.975, "q97.5"),
        (0.9973, "q99.73"),
        (0.1, "q10"),
        (0.29, "q29"),
        (0.57, "q57"),
        (1e-5, "q0.001"),
        (0.00135, "q0.135"),
    ],
)
def test_labels(quantile, label):
    assert quantile_label(quantile) == label


@given(st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False))
def test_labels_lose_nothing(quantile):
    label = quantile_label(quantile)
    assert "e" not in label.lower()
    assert float(label[1:]) / 100 == pytest.approx(quantile, rel=1e-15)


def test_neighbors_get_different_labels():
    assert quantile_label(0.1) != quantile_label(0.1 + 2**-55)


def test_names_are_unique_and_without_a_pattern():
    names = [c.name for c in output_columns((0.025, 0.16, 0.5))]
    assert len(set(names)) == len(names)
    assert not any("{" in name for name in names)
    assert names[:5] == ["age_q2.5", "age_q16", "age_q50", "age_mean", "age_map"]
    assert len(names) == len(CLUSTERS) + 2 * 4


@pytest.mark.parametrize("column", {column.name: column for family in ("clusters", "stochastic", "galaxies")
                                    for column in output_columns((0.025,), get_family(family)())}.values(),
                         ids=lambda c: c.name)
def test_units_ucds_and_descriptions(column):
    u.Unit(column.unit)
    assert not column.ucd or parse_ucd(column.ucd, check_controlled_vocabulary=True)
    assert column.ucd or column.shape == "modes"  # quantiles of a quantity without a UCD are still quantiles
    assert column.description[0].isupper() or column.description[0].isdigit()
    assert "{" not in column.description
    assert column.shape in ("row", "modes")


def test_what_a_refined_row_tells_of_itself():
    names = [c.name for c in CLUSTERS]
    assert names[-4:] == ["efficiency", "log_evidence", "support", "flag"]
    assert len({c.description for c in CLUSTERS}) == len(CLUSTERS)


def test_percent_in_the_description():
    first = output_columns((0.025,))[0]
    assert first.description.startswith("2.5 % quantile of the age")
