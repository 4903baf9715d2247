"""Reading the NASA-Sloan Atlas and tables of CasJobs."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

import clusterpost
from clusterpost.catalogs.nsa import (
    AB_OFFSETS,
    FLOORS,
    SDSS_BANDS,
    SOFTENING,
    nanomaggies_of_asinh,
    read_nsa,
    read_sdss,
)
from clusterpost.errors import ColumnError, InputError
from clusterpost.photometry import Photometry

MAG = 2.5 / np.log(10)
MJY = 3.631e-3


def atlas(prefix="", n=4, **more):
    """A table in the layout of the atlas: seven bands, of which the first two are ultraviolet."""
    flux = np.outer(np.arange(1, n + 1), [0.5, 0.7, 10.0, 40.0, 80.0, 110.0, 140.0])
    tbl = Table({f"{prefix}NMGY": flux, f"{prefix}NMGY_IVAR": (25 / flux) ** 2, "Z": np.full(n, 0.02),
                 "ZDIST": np.full(n, 0.021), f"{prefix}MASS": np.full(n, 1e10)})
    for name, value in more.items():
        tbl[name] = value
    return tbl


def test_first_version():
    tbl = read_nsa(atlas())
    np.testing.assert_allclose(tbl["r_SDSS"], 80 * MJY * np.arange(1, 5))
    assert tbl["u_SDSS"].unit == u.mJy
    np.testing.assert_allclose(tbl["u_SDSS_err"] / tbl["u_SDSS"], 1 / 25)
    np.testing.assert_allclose(tbl["redshift"], 0.02)
    np.testing.assert_allclose(tbl["nsa_mass"], 1e10 / 0.6777**2)
    assert tbl["clean"].all()
    assert "NMGY" in tbl.colnames


def test_second_version_has_both_kinds():
    tbl = atlas("SERSIC_")
    tbl["ELPETRO_NMGY"] = tbl["SERSIC_NMGY"] * 0.9
    tbl["ELPETRO_NMGY_IVAR"] = tbl["SERSIC_NMGY_IVAR"]
    tbl["ELPETRO_MASS"] = 5e9
    sersic, petrosian = read_nsa(tbl), read_nsa(tbl, photometry="petrosian")
    np.testing.assert_allclose(petrosian["g_SDSS"], 0.9 * sersic["g_SDSS"])
    np.testing.assert_allclose(petrosian["nsa_mass"], 0.5 * sersic["nsa_mass"])


def test_redshift_of_the_distance():
    np.testing.assert_allclose(read_nsa(atlas(), redshift="zdist")["redshift"], 0.021)


def test_names_in_any_case_and_floats_of_a_fits_file(tmp_path):
    tbl = atlas()
    for name in tbl.colnames:
        tbl.rename_column(name, name.lower())
    tbl["nmgy"] = tbl["nmgy"].astype(">f4")
    tbl.write(tmp_path / "nsa.fits")
    np.testing.assert_allclose(read_nsa(tmp_path / "nsa.fits")["z_SDSS"], 140 * MJY * np.arange(1, 5), rtol=1e-6)


def test_no_floor_is_added_again():
    """The floor that the atlas has put in is recorded, so that inference adds none."""
    from clusterpost.catalogs.metadata import FLOOR_COLUMNS_KEY, FLOOR_KEY

    tbl = read_nsa(atlas())
    assert float(tbl.meta[FLOOR_KEY]) > 0
    assert set(tbl.meta[FLOOR_COLUMNS_KEY].split(", ")) == {f"{band}_err" for band in SDSS_BANDS}


def test_what_is_missing_stays_missing():
    tbl = atlas()
    tbl["NMGY_IVAR"][1, 4] = 0  # r
    tbl["Z"][2] = -1
    tbl["MASS"][3] = 0
    out = read_nsa(tbl)
    assert np.isnan(out["r_SDSS"][1])
    assert np.isnan(out["r_SDSS_err"][1])
    assert np.isfinite(out["g_SDSS"]).all()
    assert np.isnan(out["redshift"][2])
    assert np.isnan(out["nsa_mass"][3])
    assert out["clean"].tolist() == [True, False, True, True]


def test_flagged_galaxies_are_not_clean():
    flags = np.zeros((4, 7), int)
    flags[0, 3] = 1  # g
    flags[1, 0] = 1  # far ultraviolet: no matter
    out = read_nsa(atlas(DFLAGS=flags, OK=[1, 1, 0, 1]))
    assert out["clean"].tolist() == [False, True, False, True]


def test_petrosian_fluxes_of_the_first_version_are_corrected_here():
    flux = np.tile([1.0, 1, 100, 100, 100, 100, 100], (2, 1))
    tbl = atlas(n=2, PETROFLUX=flux, PETROFLUX_IVAR=np.full((2, 7), 1.0), EXTINCTION=np.full((2, 7), 0.1))
    out = read_nsa(tbl, photometry="petrosian")
    for band, offset, floor in zip(SDSS_BANDS, AB_OFFSETS, FLOORS, strict=True):
        np.testing.assert_allclose(out[band], 100 * MJY * 10 ** (0.4 * (0.1 - offset)))
        np.testing.assert_allclose(out[f"{band}_err"] / out[band], np.hypot(0.01, floor / MAG))


def test_corrections_are_those_of_the_atlas(shared_data):
    """What this package does to uncorrected fluxes gives the corrected ones of the atlas, errors and all."""
    rows = Table.read(shared_data / "galaxies" / "nsa.ecsv")
    rows = rows[np.asarray(rows["clean"], bool)]

    def seven(pattern):
        five = np.column_stack([np.asarray(rows[pattern.format(b)], float) for b in "ugriz"])
        return np.column_stack([np.zeros((len(rows), 2)), five])

    corrected, uncorrected = seven("nmgy_{}"), seven("sersic_{}")
    with np.errstate(divide="ignore"):
        tbl = Table({"NMGY": corrected, "NMGY_IVAR": seven("nmgy_err_{}") ** -2.0, "PETROFLUX": uncorrected,
                     "PETROFLUX_IVAR": seven("sersic_err_{}") ** -2.0, "EXTINCTION": seven("ext_{}"), "Z": rows["z"]})
    theirs, ours = read_nsa(tbl), read_nsa(tbl, photometry="petrosian")
    for band in SDSS_BANDS:
        np.testing.assert_allclose(ours[band], theirs[band], rtol=2e-5)
        np.testing.assert_allclose(ours[f"{band}_err"], theirs[f"{band}_err"], rtol=2e-3)


def casjobs(**more):
    columns = {f"modelMag_{b}": [17.0, 17.5, 18.0] for b in "ugriz"}
    columns |= {f"err_{b}": [0.01, 0.02, 0.03] for b in "ugriz"}
    columns |= {f"extinction_{b}": [0.1, 0.1, 0.1] for b in "ugriz"}
    return Table(columns | {"z": [0.05, 0.06, 0.07]} | more)


def test_casjobs():
    out = read_sdss(casjobs())
    for k, band in enumerate(SDSS_BANDS):
        magnitude = np.array([17.0, 17.5, 18.0]) - 0.1 + AB_OFFSETS[k]
        np.testing.assert_allclose(out[band], 3631e3 * 10 ** (-0.4 * magnitude), rtol=3e-4)  # asinh
        relative = np.hypot([0.01, 0.02, 0.03], FLOORS[k]) / MAG
        np.testing.assert_allclose(out[f"{band}_err"] / out[band], relative, rtol=3e-4)
    np.testing.assert_allclose(out["redshift"], [0.05, 0.06, 0.07])


def test_casjobs_sentinels_and_faint_fluxes():
    tbl = casjobs()
    tbl["modelMag_u"][0] = -9999
    tbl["err_g"][1] = -1000
    tbl["modelMag_u"][2] = 25.0  # an asinh magnitude below zero flux
    out = read_sdss(tbl)
    assert np.isnan(out["u_SDSS"][0])
    assert np.isnan(out["g_SDSS_err"][1])
    assert out["u_SDSS"][2] < 0 < out["u_SDSS_err"][2]


def test_asinh_magnitudes_are_the_survey_s():
    """Zero flux has the magnitude -2.5 log10 b, which the survey lists as 24.63 in u and 24.80 in r."""
    for softening, zero in zip(SOFTENING, (24.63, 25.11, 24.80, 24.36, 22.83), strict=True):
        flux, _ = nanomaggies_of_asinh(np.array([zero]), np.array([0.1]), softening)
        assert abs(flux[0]) < 0.01
    magnitude = np.array([20.0])
    step = (nanomaggies_of_asinh(magnitude + 1e-4, magnitude, 1e-10)[0]
            - nanomaggies_of_asinh(magnitude - 1e-4, magnitude, 1e-10)[0]) / 2e-4
    _, sigma = nanomaggies_of_asinh(magnitude, np.ones(1), 1e-10)
    np.testing.assert_allclose(-step, sigma, rtol=1e-6)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: read_nsa(Table({"a": [1]})), ColumnError, "NMGY"),
    (lambda: read_nsa(atlas(), photometry="model"), InputError, "sersic, petrosian"),
    (lambda: read_nsa(atlas(), redshift="cmb"), InputError, "z, zdist"),
    (lambda: read_nsa(atlas(), photometry="petrosian"), ColumnError, "PETROFLUX"),
    (lambda: read_nsa(Table({"NMGY": [1.0], "NMGY_IVAR": [1.0], "Z": [0.1]})), ColumnError, "seven numbers"),
    (lambda: read_nsa(atlas(u_SDSS=np.ones(4))), ColumnError, "u_SDSS"),
    (lambda: read_nsa("nowhere.fits"), InputError, "nsatlas"),
    (lambda: read_nsa(5), InputError, "int"),
    (lambda: read_sdss(Table({"modelMag_u": [17.0]})), ColumnError, "err_u"),
])
def test_what_cannot_be_read(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("tbl", [atlas(), atlas("SERSIC_"), casjobs()])
def test_read_catalog_knows_them(tbl, tmp_path):
    """From a file, with its photometry in mJy and no floor added; and reading again changes nothing."""
    tbl.write(tmp_path / "galaxies.fits")
    out = clusterpost.read_catalog(tmp_path / "galaxies.fits")
    for band in SDSS_BANDS:
        assert out[band].unit == out[f"{band}_err"].unit == u.mJy
        assert not out[f"{band}_limit"].any()
    assert "redshift" in out.colnames
    again = clusterpost.read_catalog(out)
    assert again.colnames == out.colnames
    np.testing.assert_array_equal(again["u_SDSS_err"], out["u_SDSS_err"])
    held = Photometry.from_table(out, distance=1.0).select(SDSS_BANDS)
    np.testing.assert_allclose(held.error[:, 0], out["u_SDSS_err"])


def test_columns_chosen_by_hand_are_taken_instead():
    tbl = casjobs(mine=[1.0, 2.0, 3.0], mine_err=[0.1, 0.1, 0.1])
    tbl["mine"].unit = tbl["mine_err"].unit = u.mJy
    out = clusterpost.read_catalog(tbl, columns={"u_SDSS": ("mine", "mine_err")})
    np.testing.assert_allclose(out["u_SDSS"], [1, 2, 3])


def test_a_file_that_is_no_table(tmp_path):
    (tmp_path / "x.fits").write_text("no table")
    with pytest.raises(InputError, match="cannot be read"):
        read_nsa(tmp_path / "x.fits")


def test_the_table_given_is_not_changed():
    tbl = atlas()
    before = list(tbl.colnames)
    read_nsa(tbl)
    assert tbl.colnames == before
    assert not tbl.meta
