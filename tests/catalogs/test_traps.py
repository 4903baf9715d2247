"""The ten traps of the PHANGS-HST and LEGUS catalogs, each with the test that it is not stepped into."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table, vstack
from astropy.utils.exceptions import AstropyUserWarning
from phangs_like import ACS_FIELD, GENERATIONS, add_fits, names, phangs_like, photometry, vega

import clusterpost
from clusterpost.bands import BANDS, WFC3_BANDS
from clusterpost.catalogs import correct_aperture, distance_table, galaxy_distance, recognize
from clusterpost.catalogs.levels import KNOWN_SLIP
from clusterpost.photometry import Photometry
from clusterpost.validation import compare_with_catalog, published_fits

pytestmark = pytest.mark.usefixtures("exact_by_default")

STEMS = ("age", "mass", "ebv")


def with_limit(generation="PHANGS DR4", row=2, band="F275W"):
    tbl = phangs_like(generation)
    flux, error, *_ = names(generation, band)
    tbl[error][row] = -0.5 * tbl[flux][row]
    return tbl


class TestTrap1NegativeErrorIsAnUpperLimit:
    @pytest.mark.parametrize("generation", GENERATIONS)
    def test_it_is_read_as_a_limit_at_the_flux(self, generation):
        raw = with_limit(generation)
        tbl = clusterpost.read_catalog(raw)
        assert list(np.flatnonzero(tbl["F275W_limit"])) == [2]
        assert tbl["F275W"][2] == raw[names(generation, "F275W")[0]][2]
        assert tbl["F275W_err"][2] == pytest.approx(0.5 * tbl["F275W"][2])
        assert not any(tbl[f"{band}_limit"].any() for band in WFC3_BANDS[1:])
        assert raw[names(generation, "F275W")[1]][2] < 0  # and the catalog's own column says so still

    def test_it_is_never_a_detection(self):
        raw = with_limit()
        for tbl in (raw, clusterpost.read_catalog(raw)):
            photometry = Photometry.from_table(tbl)
            assert np.argwhere(photometry.limit).tolist() == [[2, 0]]
            assert not photometry.missing.any()

    def test_the_floor_leaves_it_alone(self):
        floored = clusterpost.apply_error_floor(clusterpost.read_catalog(with_limit()), 0.4)
        before = clusterpost.read_catalog(with_limit())
        changed = np.asarray(floored["F275W_err"]) != np.asarray(before["F275W_err"])
        assert list(np.flatnonzero(~changed)) == [2]

    def test_a_negative_flux_with_a_positive_error_is_a_measurement(self):
        raw = phangs_like()
        raw["PHANGS_F275W_mJy"][:2] = [0.0, -1e-5]
        tbl = clusterpost.read_catalog(raw)
        assert list(tbl["F275W"][:2]) == [0.0, -1e-5]
        assert (tbl["F275W_err"][:2] > 0).all()
        assert not tbl["F275W_limit"].any()
        photometry = Photometry.from_table(tbl, error_floor=None)
        assert not photometry.missing.any()
        assert photometry.flux[1, 0] == -1e-5


class TestTrap2Sentinels:
    @pytest.mark.parametrize("generation", GENERATIONS)
    @pytest.mark.parametrize("value", [-9999.0, -999.0, np.nan])
    @pytest.mark.parametrize("which", [0, 1])
    def test_no_coverage_is_missing_in_flux_and_error(self, generation, value, which):
        raw = phangs_like(generation)
        raw[names(generation, "F336W")[which]][3] = value
        tbl = clusterpost.read_catalog(raw)
        assert np.isnan([tbl["F336W"][3], tbl["F336W_err"][3]]).all()
        assert not tbl["F336W_limit"].any()  # -9999 is no negative error
        assert np.isfinite(np.asarray(tbl["F336W"])).sum() == len(tbl) - 1

    @pytest.mark.parametrize("which", [2, 3])
    def test_no_coverage_is_missing_in_magnitudes(self, which):
        raw = phangs_like()
        raw[names("PHANGS DR4", "F814W")[which]][1] = -9999
        columns = {band: names("PHANGS DR4", band)[2:] for band in WFC3_BANDS}
        tbl = clusterpost.read_catalog(raw, columns=columns)
        assert list(np.flatnonzero(np.isnan(tbl["F814W"]))) == [1]

    def test_masked_is_missing(self):
        raw = Table(phangs_like(), masked=True)
        raw["PHANGS_F438W_mJy"].mask[4] = True
        assert list(np.flatnonzero(np.isnan(clusterpost.read_catalog(raw)["F438W"]))) == [4]

    def test_no_fit_is_no_fit_of_999_years(self):
        tbl = phangs_like()
        tbl["PHANGS_AGE_MINCHISQ"][0] = tbl["PHANGS_MASS_MINCHISQ"][1] = -999
        fits = published_fits(tbl)
        for stem in STEMS:  # and the reddening of such a row is none either
            assert list(np.flatnonzero(np.isnan(fits[stem].value))) == [0, 1]

    def test_a_class_nobody_gave_stays_nan(self):
        raw = phangs_like()
        raw["PHANGS_CLUSTER_CLASS_HUMAN"][2] = np.nan
        tbl = clusterpost.read_catalog(raw)
        assert len(tbl) == len(raw)
        assert np.isnan(tbl["PHANGS_CLUSTER_CLASS_HUMAN"][2])


class TestTrap3FluxesAreCorrectedAlready:
    def test_nothing_is_dereddened_again(self):
        flux, error = photometry()
        tbl = phangs_like()
        tbl.meta["OBJECT"] = "NGC 5068"  # the highest reddening of the Milky Way, E(B-V) = 0.09
        read = clusterpost.read_catalog(tbl)
        got = Photometry.from_table(read, error_floor=None)
        np.testing.assert_allclose(np.stack([read[band] for band in WFC3_BANDS], axis=1), flux, rtol=1e-12)
        np.testing.assert_allclose(got.flux, flux, rtol=1e-12)
        np.testing.assert_allclose(got.error, error, rtol=1e-12)


class TestTrap4SingleBranchFitsArePreferred:
    def test_minchisq_before_the_decision_tree(self):
        tbl = phangs_like("PHANGS DR4")
        for generation in ("PHANGS CR3", "PHANGS DR5"):
            add_fits(tbl, generation)
        tbl["PHANGS_SED_AGE"] *= 10
        assert published_fits(tbl)["age"].value[0] == pytest.approx(np.log10(2))
        assert published_fits(tbl, "sed")["age"].value[0] == pytest.approx(np.log10(20))
        assert recognize(tbl).published["mass"][0] == "PHANGS_MASS_MINCHISQ"

    def test_the_sets_are_not_mixed(self):
        tbl = phangs_like("PHANGS CR3")
        tbl["PHANGS_AGE_MINCHISQ"] = 5.0
        assert list(published_fits(tbl)) == ["age"]
        assert list(published_fits(tbl, "sed")) == list(STEMS)


class TestTrap5ErrorsAndLimits:
    def test_err_is_symmetric_and_linear(self):
        tbl = phangs_like()
        tbl["PHANGS_AGE_MINCHISQ"], tbl["PHANGS_AGE_MINCHISQ_ERR"] = 10.0, 4.0
        fit = published_fits(tbl)["age"]
        np.testing.assert_allclose([fit.low[0], fit.high[0]], np.log10([6, 14]))

    def test_limits_are_absolute(self):
        tbl = phangs_like("PHANGS CR3")
        tbl["PHANGS_SED_AGE"], tbl["PHANGS_SED_AGE_LIMLO"], tbl["PHANGS_SED_AGE_LIMHI"] = 10.0, 6.0, 14.0
        fit = published_fits(tbl)["age"]
        np.testing.assert_allclose([fit.low[0], fit.high[0]], np.log10([6, 14]))

    def test_zero_and_999_are_looked_at_before_the_logarithm(self):
        tbl = phangs_like("PHANGS DR5")
        low, high = tbl["PHANGS_DR5_THILKER25_AGE_LIMLO"], tbl["PHANGS_DR5_THILKER25_AGE_LIMHI"]
        low[:4] = [0, -999, 0, 1.0]
        high[2:4] = [0, -999]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit = published_fits(tbl)["age"]
        assert np.isneginf(fit.low[0])  # bounded by zero, and by nothing as a logarithm
        assert np.isfinite(fit.high[0])
        assert np.isnan(np.r_[fit.low[1:4], fit.high[1:4]]).all()
        assert np.isfinite(np.r_[fit.low[4:], fit.high[4:]]).all()
        assert np.isfinite(fit.value).all()


def slipped(sign, galaxy="NGC 1512"):
    """All mJy columns off by the known slip, brighter for +1."""
    tbl = phangs_like()
    tbl.meta["OBJECT"] = galaxy
    for band in WFC3_BANDS:
        for name in names("PHANGS DR4", band)[:2]:
            tbl[name] *= 10 ** (0.4 * sign * KNOWN_SLIP)
    return tbl


class TestTrap6TheApertureSlipOfNgc1512:
    @pytest.mark.parametrize(("sign", "word"), [(1, "brighter"), (-1, "fainter")])
    def test_it_is_reported_and_the_factor_offered(self, sign, word):
        raw = slipped(sign)
        message = rf"1\.724 mag \(a factor 4\.89\) {word}.*correct_aperture \({sign * 1.724:+.3f} mag\) removes it"
        with pytest.warns(AstropyUserWarning, match=message.replace("+", r"\+")):
            tbl = clusterpost.read_catalog(raw)
        assert "colors agree" in tbl.meta["CPLEVELS"]
        np.testing.assert_array_equal(tbl["F555W"], raw["PHANGS_F555W_mJy"])  # nothing is changed in silence

    @pytest.mark.parametrize("sign", [1, -1])
    def test_the_correction_takes_it_out_once(self, sign):
        with pytest.warns(AstropyUserWarning, match="disagree"):
            tbl = clusterpost.read_catalog(slipped(sign))
        right = correct_aperture(tbl, sign * KNOWN_SLIP)
        flux, error = photometry()
        for i, band in enumerate(WFC3_BANDS):
            np.testing.assert_allclose(right[band], flux[:, i], rtol=1e-9)
            np.testing.assert_allclose(right[f"{band}_err"], error[:, i], rtol=1e-9)
        again = clusterpost.read_catalog(correct_aperture(right, sign * KNOWN_SLIP))
        np.testing.assert_array_equal(again["F275W"], right["F275W"])
        assert tbl["F275W"][0] / right["F275W"][0] == pytest.approx(4.89**sign, rel=1e-3)

    def test_one_galaxy_of_many(self):
        many = vstack([phangs_like(seed=1), slipped(1)], metadata_conflicts="silent")
        many["PHANGS_GALAXY"] = ["ngc1433"] * 6 + ["ngc1512"] * 6
        with pytest.warns(AstropyUserWarning, match="disagree: ngc1512: mJy is"):
            tbl = clusterpost.read_catalog(many)
        right = correct_aperture(tbl, where=np.arange(12) >= 6)
        assert list(right["aperture_correction"]) == [0] * 6 + [KNOWN_SLIP] * 6
        np.testing.assert_array_equal(right["F275W"][:6], tbl["F275W"][:6])
        np.testing.assert_allclose(right["F275W"][6:], photometry()[0][:, 0])

    def test_where_all_agrees_nothing_is_said(self):
        tbl = clusterpost.read_catalog(phangs_like())
        assert "CPLEVELS" not in tbl.meta


@pytest.fixture(scope="module")
def ngc1433():
    """Clusters of NGC 1433 without a distance of their own, as DR4 has them."""
    params = QTable({"age": [30, 100, 300] * u.Myr, "mass": [1e4, 3e4, 1e5] * u.solMass,
                     "ebv": [0.1, 0.2, 0.1] * u.mag})
    mocks = clusterpost.simulate(params, distance=18.94 * u.Mpc, errors=0.05)
    tbl = Table({name: mocks[name].to("mJy").value for band in WFC3_BANDS for name in (band, f"{band}_err")})
    for name in tbl.colnames:
        band, _, err = name.partition("_")
        tbl[name].unit = "mJy"
        tbl.rename_column(name, f"PHANGS_{band}_mJy" + ("_ERR" if err else ""))
    tbl.meta["OBJECT"] = "NGC 1433"
    return tbl


class TestTrap7Distances:
    def test_a_factor_five_in_mass_for_ngc_1433(self, ngc1433):
        masses = {}
        for source in ("lee2022", "legus"):
            tbl = clusterpost.read_catalog(ngc1433, distance_source=source)
            assert tbl.meta["CPDSRC"] == f"{source}: galaxy NGC 1433"
            out = clusterpost.infer_table(tbl, n_samples=500, progress=False)
            assert out.meta["CPDIST"] == f"{source}: galaxy NGC 1433"
            masses[source] = np.asarray(out["mass_q50"])
        expected = (18.94 / 8.3) ** 2
        assert expected == pytest.approx(5.2, abs=0.01)
        np.testing.assert_allclose(masses["lee2022"] / masses["legus"], expected, rtol=0.25)

    def test_lee_et_al_by_default(self, ngc1433):
        tbl = clusterpost.read_catalog(ngc1433)
        assert tbl["distance"].unit == u.Mpc
        assert set(tbl["distance"]) == {18.94}

    @pytest.mark.parametrize("source", [None, "table", "lee2022", "legus"])
    def test_the_tables_own_distance_wins(self, source):
        raw = phangs_like("PHANGS CR3")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tbl = clusterpost.read_catalog(raw, distance_source=source)
        assert set(tbl["distance"]) == {18.63}
        assert tbl.meta["CPDSRC"] == "table: column 'PHANGS_DMPC'"
        assert len(caught) == (source in ("lee2022", "legus"))

    def test_errors_are_in_mpc_and_not_in_dex(self, shared_data):
        ours = distance_table()
        reference = Table.read(shared_data / "phangs_distances.ecsv")
        dex = np.asarray(reference["sample_v1p6_dist_unc_dex"])
        same = np.isclose(reference["sample_v1p6_dist_mpc"], ours["distance"][:38], rtol=1e-3)
        mpc = np.asarray(ours["distance"][:38]) * (10**dex - 1)
        assert ours["error"].unit == u.Mpc
        assert same.sum() > 30
        assert np.median(np.abs(ours["error"][:38] / mpc - 1)[same]) < 0.05
        assert (ours["error"][:38] > 2 * dex).all()

    def test_both_sources_by_name(self):
        assert galaxy_distance("ngc1433") == 18.94 * u.Mpc
        assert galaxy_distance("ngc1433", "legus") == 8.3 * u.Mpc


class TestTrap8AbMinusVega:
    def test_the_zero_points_of_the_header(self):
        header = {"F275W": 1.491, "F336W": 1.138, "F438W": -0.181, "F555W": -0.049, "F814W": 0.409}
        for band, zero in header.items():
            assert BANDS[band].ab_minus_vega == pytest.approx(zero, abs=0.026)

    @pytest.mark.parametrize("generation", GENERATIONS)
    def test_magnitudes_give_the_same_fluxes(self, generation):
        raw = phangs_like(generation)
        columns = {band: names(generation, band)[2:] for band in WFC3_BANDS}
        by_flux, by_magnitude = clusterpost.read_catalog(raw), clusterpost.read_catalog(raw, columns=columns)
        for band in WFC3_BANDS:
            np.testing.assert_allclose(by_magnitude[band], by_flux[band], rtol=1e-9)
            np.testing.assert_allclose(by_magnitude[f"{band}_err"], by_flux[f"{band}_err"], rtol=1e-9)

    def test_one_band_with_a_wrong_zero_point_is_named(self):
        raw = phangs_like()
        raw["PHANGS_F438W_VEGA"] += 0.5
        with pytest.warns(AstropyUserWarning, match=r"mJy minus Vega is F438W -0\.500 mag"):
            tbl = clusterpost.read_catalog(raw)
        np.testing.assert_array_equal(tbl["F438W"], raw["PHANGS_F438W_mJy"])

    def test_one_row_is_named(self):
        raw = phangs_like()
        raw["PHANGS_F336W_VEGA"][3] += 1
        with pytest.warns(AstropyUserWarning, match=r"1 of 6 rows, .* row 3 with -1\.000 mag in F336W"):
            clusterpost.read_catalog(raw)

    def test_limits_and_missing_magnitudes_are_not_compared(self):
        raw = with_limit()
        raw["PHANGS_F275W_VEGA"][2] = raw["PHANGS_F814W_VEGA"][0] = -9999
        clusterpost.read_catalog(raw)  # a warning would be an error here


class TestTrap9Counts:
    def test_class_1_and_2_of_dr4(self):
        targets = clusterpost.list_phangs()
        known = {str(row["target"]): (int(row["n_class1"]), int(row["n_class2"])) for row in targets}
        for target, counts in {"ngc1433": (90, 104), "ngc1559": (419, 303), "ngc1566": (393, 291),
                               "ngc3351": (140, 177), "ngc3627": (462, 312)}.items():
            assert known[target] == counts
        # The paper's five galaxies in DR3 had 2638; DR4 has a few more.
        assert sum(sum(known[t]) for t in ("ngc1433", "ngc1559", "ngc1566", "ngc3351", "ngc3627")) == 2691

    def test_reading_loses_no_row(self):
        raw = phangs_like(n=50)
        for i, band in enumerate(WFC3_BANDS):
            raw[names("PHANGS DR4", band)[0]][i::7] = -9999
        tbl = clusterpost.read_catalog(raw)
        assert list(tbl["ID_PHANGS_CLUSTER"]) == list(raw["ID_PHANGS_CLUSTER"])


class TestTrap10WhatReadersGetWrong:
    def test_the_tot_err_slip_is_no_rule(self):
        mended = phangs_like("PHANGS CR3")  # the slip is mended there
        for raw in (phangs_like("PHANGS DR4"), mended):
            tbl = clusterpost.read_catalog(raw)
            np.testing.assert_allclose(tbl["F814W_err"], photometry()[1][:, 4])
        everywhere = phangs_like()
        for band in ("F275W", "F336W", "F438W"):
            everywhere.rename_column(f"PHANGS_{band}_mJy_ERR", f"PHANGS_{band}_mJy_TOT_ERR")
        np.testing.assert_allclose(clusterpost.read_catalog(everywhere)["F275W_err"], photometry()[1][:, 0])

    @pytest.mark.parametrize("generation", GENERATIONS)
    def test_acs_galaxies_are_not_dropped(self, generation):
        tbl = clusterpost.read_catalog(phangs_like(generation, bands=ACS_FIELD))
        flux = photometry(bands=ACS_FIELD)[0]
        for i, band in enumerate(ACS_FIELD):
            np.testing.assert_allclose(tbl[band], flux[:, i], rtol=1e-12)
        assert "F555W" not in tbl.colnames

    def test_both_cameras_in_one_table_are_told_apart_row_by_row(self):
        raw = vstack([phangs_like("PHANGS DR5", seed=1), phangs_like("PHANGS DR5", seed=2, bands=ACS_FIELD)],
                     metadata_conflicts="silent")
        raw["PHANGS_GALAXY"] = ["ngc1433"] * 6 + ["ngc1300"] * 6
        tbl = clusterpost.read_catalog(raw)
        assert len(tbl) == 12
        assert np.isfinite(np.asarray(tbl["F555W"])).tolist() == [True] * 6 + [False] * 6
        assert np.isfinite(np.asarray(tbl["F814W_ACS"])).tolist() == [False] * 6 + [True] * 6
        assert np.isfinite(np.asarray(tbl["F275W"])).all()
        assert set(tbl["distance"]) == {18.94, 18.99}
        np.testing.assert_array_equal(Photometry.from_table(raw).missing, Photometry.from_table(tbl).missing)

    def test_case_does_not_matter(self):
        raw = phangs_like("PHANGS internal")
        raw.rename_columns(raw.colnames, [name.lower() for name in raw.colnames])
        tbl = clusterpost.read_catalog(raw)
        assert tbl.meta["CPLAYOUT"] == "PHANGS internal"
        np.testing.assert_allclose(tbl["F275W"], photometry()[0][:, 0])
        assert set(published_fits(tbl)) == set(STEMS)

    def test_zeros_and_999_before_logarithms(self):
        tbl = phangs_like("PHANGS CR3")
        for stem, value in (("age", 10.0), ("mass", 1e4), ("ebv", 0.2)):
            tbl[f"PHANGS_SED_{stem.upper()}"][:2] = [-999, 0]
            for suffix in ("q16", "q50", "q84", "mean", "map"):
                tbl[f"{stem}_{suffix}"] = value
            tbl[f"{stem}_modes"] = np.full((6, 1), value)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = compare_with_catalog(tbl)
        assert list(result["n"]) == [4, 4, 4]
        assert np.isfinite(result["map_offset"]).all()


def test_vega_of_the_maker_is_that_of_the_example():
    """The tables here and the bundled example were written apart from each other."""
    example = clusterpost.example_catalog()
    flux, magnitude = example["PHANGS_F275W_mJy"], example["PHANGS_F275W_VEGA"]
    rows = np.flatnonzero(flux > 0)
    np.testing.assert_allclose(vega(flux[rows], "F275W"), magnitude[rows], atol=1e-5)
