"""Inferred tables beside published fits."""

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st

import clusterpost
from clusterpost.bands import get_band
from clusterpost.errors import ColumnError, InputError
from clusterpost.families import get_family
from clusterpost.families.clusters.table import load_table
from clusterpost.validation import compare_with_catalog, flag_shares, inlier_table, published_fits, side_by_side
from clusterpost.validation.compare import _derived_of, published_residuals, shortest_interval
from clusterpost.validation.fits import catalog_parameters, closest_modes, drawn_parameters

pytestmark = pytest.mark.usefixtures("exact_by_default")

PUBLISHED = {"age": ("fit_age", None, None, "fit_age_err", "Myr"),
             "mass": ("fit_mass", None, None, "fit_mass_err", "solMass"),
             "ebv": ("fit_ebv", None, None, "fit_ebv_err", "mag")}
STEMS = ("age", "mass", "ebv")


def inferred(n=4000, seed=0, shift=0.0, table=Table):
    """Gaussian posteriors of half-width (0.2, 0.1, 0.05), with catalog values drawn from them."""
    rng = np.random.default_rng(seed)
    width = np.array([0.2, 0.1, 0.05])
    center = np.column_stack([rng.uniform(1, 3, n), rng.uniform(3, 6, n), rng.uniform(0.3, 1, n)])
    catalog = center + width * rng.normal(size=(n, 3))
    out = table()
    for i, (stem, unit) in enumerate(zip(STEMS, (u.Myr, u.Msun, u.mag), strict=True)):
        def linear(x, i=i, unit=unit):
            return (10**x if i < 2 else x) * unit
        ours = center[:, i] + shift * width[i]
        out[f"{stem}_q16"], out[f"{stem}_q84"] = linear(ours - width[i]), linear(ours + width[i])
        for name in ("q50", "mean", "map"):
            out[f"{stem}_{name}"] = linear(ours)
        out[f"{stem}_modes"] = linear(np.column_stack([ours, catalog[:, i] + 0.01, np.full(n, np.nan)]))
        out[f"fit_{stem}"] = linear(catalog[:, i]).value
        out[f"fit_{stem}_err"] = out[f"fit_{stem}"] * (np.log(10) if i < 2 else 1 / catalog[:, i]) * width[i]
    return out


@pytest.mark.parametrize("table", [Table, QTable])
def test_agreeing_catalog_gives_nominal_shares(table):
    result = compare_with_catalog(inferred(table=table), PUBLISHED)
    assert list(result["parameter"]) == ["log_age", "log_mass", "ebv"]
    np.testing.assert_allclose(result["catalog_inside"], 68.3, atol=3)
    np.testing.assert_allclose(result["map_inside"], 68.3, atol=5)
    np.testing.assert_allclose(result["map_offset"], 0, atol=0.02)
    np.testing.assert_allclose(result["map_scatter"], [0.2, 0.1, 0.05], rtol=0.06)
    assert result["catalog_inside"].unit == u.percent
    assert (result["n"] == 4000).all()
    assert (result["n_interval"] == 4000).all()


def test_shifted_posterior_shows():
    result = compare_with_catalog(inferred(shift=0.5), PUBLISHED)
    assert (result["catalog_inside"] < 65).all()
    np.testing.assert_allclose(result["median_offset"], [0.1, 0.05, 0.025], rtol=0.15)


def test_closest_mode_is_chosen():
    result = compare_with_catalog(inferred(), PUBLISHED)
    np.testing.assert_allclose(result["mode_offset"], 0.01, atol=1e-3)
    assert (result["mode_scatter"] < 0.1 * result["map_scatter"]).all()


def test_rows_without_fit_or_inference_are_counted():
    out = inferred(10)
    out["fit_age"][0] = -999
    out["fit_mass"][1] = np.nan
    out["fit_age"][2] = out["fit_mass"][2] = out["fit_ebv"][2] = 0  # LEGUS
    for name in out.colnames:
        if not name.startswith("fit"):
            out[name][3] = np.nan
    result = compare_with_catalog(out, PUBLISHED)
    assert list(result["n"]) == [7, 6, 7]
    assert list(result["n_no_fit"]) == [2, 3, 2]
    assert list(result["n_not_inferred"]) == [1, 1, 1]


def test_zero_reddening_is_a_fit():
    out = inferred(5)
    out["fit_ebv"][0] = 0.0
    fits = published_fits(out, PUBLISHED)
    assert fits["ebv"].value[0] == 0


def test_where_selects():
    out = inferred(50)
    mask = np.arange(50) < 20
    by_mask, by_index = (compare_with_catalog(out, PUBLISHED, where) for where in (mask, np.flatnonzero(mask)))
    cut = compare_with_catalog(out[mask], PUBLISHED)
    for result in (by_mask, by_index):
        assert (result["n"] == 20).all()
        np.testing.assert_allclose(result["map_scatter"], cut["map_scatter"])


def test_limits_go_before_errors_and_sentinels_are_none():
    out = inferred(4)
    out["lo"], out["hi"] = [0.0, 5.0, -999.0, np.nan], [20.0, 20.0, 20.0, 20.0]
    out["fit_age"], out["fit_age_err"] = 10.0, [2.0, 2.0, 2.0, -999.0]
    fit = published_fits(out, {"age": ("fit_age", "lo", "hi", "fit_age_err", "Myr")})["age"]
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(fit.low, np.log10([0, 5, 8, np.nan]))
    np.testing.assert_allclose(fit.high, np.log10([20, 20, 12, np.nan]))


def test_error_larger_than_value_bounds_by_zero():
    out = inferred(2)
    out["fit_age_err"] = 10 * out["fit_age"]
    fit = published_fits(out, PUBLISHED)["age"]
    assert np.isneginf(fit.low).all()
    assert compare_with_catalog(out, PUBLISHED)["map_inside"][0] == 100


def test_no_interval_gives_nan():
    result = compare_with_catalog(inferred(20), {"age": ("fit_age", None, None, None, "Myr")})
    assert len(result) == 1
    assert result["n_interval"][0] == 0
    assert np.isnan(result["map_inside"][0])
    assert np.isfinite(result["catalog_inside"][0])


def test_nothing_to_compare():
    out = inferred(3)
    out["fit_age"] = -999.0
    result = compare_with_catalog(out, PUBLISHED)
    assert result["n"][0] == 0
    assert np.isnan(result["catalog_inside"][0])


@given(factor=st.sampled_from(["yr", "kyr", "Gyr"]))
@settings(max_examples=5, deadline=None)
def test_units_do_not_matter(factor):
    out, other = inferred(30), inferred(30)
    scale = u.Myr.to(factor)
    other["fit_age"] *= scale
    other["fit_age_err"] *= scale
    for name in other.colnames:
        if name.startswith("age_"):
            other[name] = other[name].quantity.to(factor)
    changed = {**PUBLISHED, "age": (*PUBLISHED["age"][:4], factor)}
    wanted, got = compare_with_catalog(out, PUBLISHED), compare_with_catalog(other, changed)
    for name in wanted.colnames[2:]:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-9, atol=1e-9)


def test_masked_values_and_arrays():
    out = inferred(6)
    out["fit_ebv"] = MaskedColumn(out["fit_ebv"], mask=[1, 0, 0, 0, 0, 0])
    assert compare_with_catalog(out, PUBLISHED)["n"][2] == 5
    masked = published_fits(out, {"age": (out["fit_age"].data * u.Myr, None, None, None, None)})
    np.testing.assert_allclose(masked["age"].value, np.log10(out["fit_age"]))


def test_row_order_does_not_matter():
    out = inferred(100)
    wanted, got = compare_with_catalog(out, PUBLISHED), compare_with_catalog(out[::-1], PUBLISHED)
    for name in wanted.colnames[2:]:
        np.testing.assert_allclose(got[name], wanted[name])


def test_closest_mode_without_modes_is_nan():
    out = inferred(3)
    for stem in STEMS:
        out[f"{stem}_modes"][0] = np.nan
    modes = closest_modes(out, published_fits(out, PUBLISHED))
    assert np.isnan(modes[0]).all()
    assert np.isfinite(modes[1:]).all()


def test_input_is_not_changed():
    out = inferred(10)
    out["fit_age"][0] = -999
    before = out.copy()
    compare_with_catalog(out, PUBLISHED)
    assert out.colnames == before.colnames
    for name in out.colnames:
        np.testing.assert_array_equal(out[name], before[name])


def test_prefix():
    out = inferred(10)
    for stem in STEMS:
        for name in [n for n in out.colnames if n.startswith(f"{stem}_")]:
            out.rename_column(name, f"cp_{name}")
    assert (compare_with_catalog(out, PUBLISHED, prefix="cp_")["n"] == 10).all()
    with pytest.raises(ColumnError, match="age_q16"):
        compare_with_catalog(out, PUBLISHED)


def with_published(generation):
    """An inferred table with the fits of a survey: catalog values and their intervals as that survey names them."""
    out = inferred(200)
    for stem in STEMS:
        value, width = np.asarray(out[f"fit_{stem}"]), np.asarray(out[f"fit_{stem}_err"])
        out.remove_columns([f"fit_{stem}", f"fit_{stem}_err"])
        if generation == "minchisq":
            out[f"PHANGS_{stem.upper()}_MINCHISQ"], out[f"PHANGS_{stem.upper()}_MINCHISQ_ERR"] = value, width
            continue
        name, low, high = {"sed": (f"PHANGS_SED_{stem.upper()}", "_LIMLO", "_LIMHI"),
                           "thilker25": (f"PHANGS_DR5_THILKER25_{stem.upper()}", "_LIMLO", "_LIMHI"),
                           "sedfix": (f"SEDfix_{stem}", "_limlo", "_limhi"),
                           "legus": (f"{stem}_legus", "_min", "_max")}[generation]
        factor = 1e6 if generation == "legus" and stem == "age" else 1  # yr
        out[name], out[name + low], out[name + high] = (factor * v for v in (value, value - width, value + width))
    return out


@pytest.mark.parametrize("family", ["minchisq", "sed", "thilker25", "sedfix", "legus"])
def test_the_fits_of_every_survey_and_release(family):
    out = with_published(family)
    wanted = compare_with_catalog(inferred(200), PUBLISHED)
    for published in (None, family):
        result = compare_with_catalog(out, published)
        assert result.meta["published"].startswith("LEGUS" if family == "legus" else "PHANGS-HST")
        assert ("present-day" in result.meta["catalog_mass"])
        assert (result["n_interval"] == 200).all()
        for name in wanted.colnames[2:]:
            np.testing.assert_allclose(result[name], wanted[name], rtol=1e-6, atol=1e-6, err_msg=name)
    assert wanted.meta == {"published": "as given", "catalog_mass": "as given", "edge_intervals": "highest density"}


def test_a_family_that_is_not_there():
    with pytest.raises(InputError, match=r"no columns PHANGS_SED_\.\.\., which published='sed' needs"):
        compare_with_catalog(with_published("legus"), "sed")
    with pytest.raises(InputError, match="published='cr3' is not known; use one of 'minchisq', 'sed'"):
        compare_with_catalog(with_published("sed"), "cr3")


@pytest.mark.parametrize("entry", ["age", ("age", None, None), "abcde"])
def test_published_columns_of_another_shape(entry):
    with pytest.raises(InputError, match=r"published age is .*; it must be \(value, low, high, err, unit\)"):
        compare_with_catalog(with_published("legus"), {"age": entry})


def test_closest_modes_are_inside_more_often():
    result = compare_with_catalog(inferred(), PUBLISHED)
    assert (result["mode_inside"] > result["map_inside"] + 20).all()


def test_initial_and_present_day_mass_are_both_compared():
    out = inferred(500)
    age = np.asarray(out["age_q50"])
    surviving = 1 - 0.1 * np.log10(age)
    for suffix in ("q16", "q50", "q84", "mean", "map"):
        out[f"stellar_mass_{suffix}"] = surviving * out[f"mass_{suffix}"]
    for column in ("fit_mass", "fit_mass_err"):
        out[column] *= surviving  # a catalog of present-day masses
    result = compare_with_catalog(out, PUBLISHED)
    assert list(result["parameter"]) == ["log_age", "log_mass", "log_stellar_mass", "ebv"]
    assert list(result["ours"]) == ["age of the instantaneous burst", "initial (formed) stellar mass",
                                    "present-day stellar mass, remnants included",
                                    "color excess E(B-V) of a foreground screen"]
    initial, present = result[1], result[2]
    assert initial["median_offset"] > 0.05
    assert abs(present["median_offset"]) < 0.02
    assert present["catalog_inside"] > initial["catalog_inside"] + 10
    assert present["catalog_inside"] == pytest.approx(68.3, abs=6)
    assert present["mean_inside"] > initial["mean_inside"] + 10
    assert np.isfinite([present["map_offset"], present["mode_offset"]]).all()


def test_present_day_mass_of_the_mode_follows_the_models():
    out = inferred(50)
    for stem in STEMS:
        out[f"{stem}_modes"] = np.asarray(out[f"{stem}_map"])[:, None]
    for suffix in ("q16", "q50", "q84", "mean", "map"):
        out[f"stellar_mass_{suffix}"] = out[f"mass_{suffix}"]
    age = np.log10(np.asarray(out["age_map"]))
    surviving = np.interp(age, load_table().log_age, load_table().surviving_nodes)
    out["fit_mass"] = surviving * out["mass_map"]
    result = compare_with_catalog(out, PUBLISHED)
    assert result["mode_offset"][2] == pytest.approx(0, abs=1e-4)
    assert result["mode_scatter"][2] == pytest.approx(0, abs=1e-3)


def test_table_1_of_the_paper():
    result = compare_with_catalog(inferred(), PUBLISHED)
    table = inlier_table(result)
    assert table.colnames == ["share", "log_age", "log_age_paper", "log_mass", "log_mass_paper", "ebv", "ebv_paper"]
    assert table["log_age"][0] == result["catalog_inside"][0]
    assert table["ebv"][3] == result["map_inside"][2]
    np.testing.assert_array_equal(table["log_mass_paper"], [61.1, 52.0, 59.8, 64.3, np.nan])
    np.testing.assert_array_equal(table["ebv_paper"], [75.4, 68.4, 77.8, 80.5, np.nan])
    assert table["ebv"].unit == u.percent


def test_bad_published_is_refused():
    with pytest.raises(ColumnError, match="nowhere"):
        compare_with_catalog(inferred(3), {"age": ("nowhere", None, None, None, "Myr")})
    with pytest.raises(InputError, match="metallicity"):
        compare_with_catalog(inferred(3), {"metallicity": ("fit_age", None, None, None, "")})
    with pytest.raises(InputError, match="no published"):
        compare_with_catalog(inferred(3), {})


def test_side_by_side():
    results = {"ours": compare_with_catalog(inferred(100), PUBLISHED),
               "off": compare_with_catalog(inferred(100, shift=1.0), {"age": PUBLISHED["age"]})}
    table = side_by_side(results)
    assert list(zip(table["parameter"], table["inference"], strict=True)) == [
        ("log_age", "ours"), ("log_age", "off"), ("log_mass", "ours"), ("ebv", "ours")]
    assert table["map_offset"][1] == results["off"]["map_offset"][0]
    assert table["catalog_inside"][0] > table["catalog_inside"][1]
    assert table["mode_inside"].unit == u.percent


def test_shares_of_flags():
    outs = {"one": Table({"flag": [0, 0, 1 | 2, 2]}), "two": Table({"flag": [0, 256, 0, 0]})}
    table = flag_shares(outs)
    assert list(table["flag"]) == ["not inferred", "missing band", "poor fit", "none"]
    assert table["one"].tolist() == [25, 50, 0, 50]
    assert table["two"].tolist() == [0, 0, 25, 75]
    some = flag_shares(outs["one"], where=[1, 2])
    assert dict(zip(some["flag"], some["share"], strict=True)) == {"not inferred": 50, "missing band": 50, "none": 50}


def test_parameters_of_catalogs_and_draws():
    out = inferred(3)
    out["fit_age"][1] = -999
    found = catalog_parameters(out, PUBLISHED)
    np.testing.assert_allclose(found[0], [np.log10(out["fit_age"][0]), np.log10(out["fit_mass"][0]), out["fit_ebv"][0]])
    assert np.isnan(found[1]).all()  # a sentinel speaks for the whole row
    assert np.isnan(catalog_parameters(out, False)).all()
    draws = QTable({"age": [[10, 1000]] * u.Myr, "mass": [[1, 2]] * (1e4 * u.Msun), "ebv": [[0.1, np.nan]] * u.mag})
    np.testing.assert_allclose(drawn_parameters(draws), [[[1, 4, 0.1], [3, np.log10(2e4), np.nan]]])


# The photometry at the published parameters, and the edges of the prior


@pytest.fixture(scope="module")
def truths():
    mocks = clusterpost.simulate(60, seed=4, distance=10)
    published = {name: (f"{name}_true", None, None, None, unit) for name, unit in
                 (("age", "Myr"), ("mass", "solMass"), ("ebv", "mag"))}
    return Table(mocks), published


def test_residuals_at_the_published_parameters_find_a_mixed_system(truths):
    tbl, published = truths
    right = published_residuals(tbl, published)
    assert list(right["band"]) == ["F275W", "F336W", "F438W", "F555W", "F814W"]
    np.testing.assert_allclose(right["residual"], 0, atol=0.15)
    wrong = tbl.copy()
    for band in ("F275W", "F336W"):  # Vega magnitudes that were taken for AB
        wrong[band] *= 10 ** (0.4 * get_band(band).ab_minus_vega)
        wrong[f"{band}_err"] *= 10 ** (0.4 * get_band(band).ab_minus_vega)
    difference = published_residuals(wrong, published)["residual"] - right["residual"]
    np.testing.assert_allclose(difference[:2], -right["ab_minus_vega"][:2], atol=1e-6)
    np.testing.assert_allclose(difference[2:], 0, atol=1e-6)
    with pytest.raises(InputError, match="no row has both photometry"):
        published_residuals(tbl[tbl["F275W"] > 0], {"ebv": published["ebv"]})


def test_the_comparison_shows_the_residuals(truths):
    tbl, published = truths
    out = inferred(n=len(tbl))
    for name in ("F275W", "F275W_err", "F336W", "F336W_err", "distance"):
        out[name] = tbl[name]
    for name in ("age_true", "mass_true", "ebv_true"):
        out[name] = tbl[name]
    residuals = compare_with_catalog(out, published).meta["residuals"]
    assert list(residuals) == ["F275W", "F336W"]
    assert abs(residuals["F275W"]) < 0.2


def at_the_edge(ebv):
    """Inferred clusters without dust, and what a catalog says of it."""
    truths = QTable({"age": np.full(12, 30) * u.Myr, "mass": np.full(12, 1e5) * u.Msun, "ebv": np.zeros(12) * u.mag})
    out = clusterpost.infer_table(clusterpost.simulate(truths, seed=2, errors=0.05), n_samples=200, progress=False)
    out["fit_ebv"] = ebv
    return compare_with_catalog(out, {"ebv": ("fit_ebv", None, None, None, "mag")})


def test_a_value_at_the_edge_of_the_prior_is_sought_in_the_interval_of_highest_density():
    result = at_the_edge(0.0)
    assert result.meta["edge_intervals"] == "highest density"
    assert result["n_edge"][0] == 12
    assert 40 < result["catalog_inside"][0] < 100  # no interval between quantiles holds zero
    other = at_the_edge(1.5)
    assert (other["n_edge"][0], other["catalog_inside"][0]) == (12, 0)
    assert at_the_edge(0.1)["n_edge"][0] == 0


def test_without_photometry_there_are_no_draws():
    out = inferred(n=50)
    out["fit_ebv"], out["fit_ebv_err"] = 0.0, 0.01
    result = compare_with_catalog(out, PUBLISHED)
    assert result.meta["edge_intervals"] == "equal tails"
    assert (result["n_edge"][2], result["catalog_inside"][2]) == (50, 0)


def test_shortest_intervals():
    random = np.random.default_rng(1)
    normal, falling, rising = random.normal(size=4000), random.exponential(size=4000), -random.exponential(size=4000)
    low, high = shortest_interval([normal, falling, rising], 0.68, (-np.inf, np.inf))
    np.testing.assert_allclose([low[0], high[0]], [-0.99, 0.99], atol=0.15)
    low, high = shortest_interval([falling], 0.68, (0, 10))
    assert low[0] == 0
    assert high[0] == pytest.approx(-np.log(0.32), abs=0.08)
    low, high = shortest_interval([rising], 0.68, (-10, 0))
    assert high[0] == 0
    assert low[0] == pytest.approx(np.log(0.32), abs=0.08)


def test_surviving_masses_are_those_of_the_models_own_metallicity():
    theta = np.array([[1.0, 0, 0.1], [2.0, 0, 0.1], [3.5, 0, 0.1], [np.nan, 0, 0.1]])
    out = Table({"distance": np.full(4, 10.0)})
    ours, solar = (10 ** _derived_of(theta, family.derived[0], out, family)[:3] for family in
                   (get_family("clusters")(table=load_table("z0.008")), get_family("clusters")()))
    found = load_table("z0.008").surviving_mass(torch.tensor([1.0, 2.0, 3.5])).numpy()
    np.testing.assert_allclose(ours, found, rtol=1e-5)
    assert not np.allclose(ours, solar)


def test_rows_are_selected_by_an_expression_and_refused_if_they_do_not_exist():
    out = Table({"ebv_fit": [0.1, 0.3, 0.2], "ebv_fit_err": [0.05, 0.02, 0.02], "flag": [0, 0, 2], "class": [1, 2, 3]})
    for name, value in {"age": 10.0, "mass": 1e4, "ebv": 0.12}.items():
        out[f"{name}_q16"], out[f"{name}_q84"] = 0.7 * value, 1.4 * value
        for column in ("q50", "mean", "map"):
            out[f"{name}_{column}"] = value
        out[f"{name}_modes"] = [[value]] * 3
    fits = {"ebv": ("ebv_fit", None, None, "ebv_fit_err", "mag")}
    assert compare_with_catalog(out, fits, "class <= 2")["n"].tolist() == [2]
    assert flag_shares(out, "class == 3")["flag"].tolist() == ["missing band", "none"]
    for call in (lambda where: compare_with_catalog(out, fits, where), lambda where: flag_shares(out, where)):
        with pytest.raises(InputError, match=r"where= is a mask of shape \(2,\) for a table of length 3"):
            call([True, False])
