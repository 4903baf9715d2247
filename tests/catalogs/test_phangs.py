import io
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from archive_server import (
    ACS,
    BUNDLE,
    DR3,
    PRIMARY,
    TARGETS,
    clusters,
    counts,
    dr4_members,
    fits_bytes,
    make_archive,
    member,
    tar_bytes,
)
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given
from hypothesis import strategies as st

import clusterpost
from clusterpost import fetch_phangs, list_phangs
from clusterpost.catalogs import phangs_releases
from clusterpost.catalogs.distances import resolve_galaxy
from clusterpost.catalogs.phangs_tables import join_tables, stack_tables
from clusterpost.catalogs.phangs_targets import resolve_target
from clusterpost.errors import ArchiveError, ColumnError, InputError

pytestmark = pytest.mark.usefixtures("exact_by_default")

ROOT = Path(clusterpost.__file__).parents[1]


@pytest.fixture
def unpinned(monkeypatch):
    """The files of DR5 here are simulated ones."""
    monkeypatch.setattr(phangs_releases, "PINNED", {})


def served_table(path, name=None):
    """A table as the archive has it."""
    if name is None:
        return Table.read(path, mask_invalid=False)
    import tarfile

    with tarfile.open(path) as tar:
        return Table.read(io.BytesIO(tar.extractfile(name).read()), mask_invalid=False)


# Targets


def test_list_phangs():
    tbl = list_phangs()
    assert isinstance(tbl, QTable)
    assert list(tbl["target"]) == sorted(TARGETS)
    assert len(set(tbl["galaxy"])) == 38
    assert set(tbl["target"][tbl["instrument"] == "acs-uvis"]) == set(ACS)
    assert set(tbl["target"][tbl["dr3"]]) == set(DR3)
    row = tbl[list(tbl["target"]).index("ngc1433")]
    assert (row["distance"], row["distance_error"]) == (18.94 * u.Mpc, 0.56 * u.Mpc)
    assert row["mw_ebv"] == 0.0078 * u.mag
    assert (row["n_class1"], row["n_class2"]) == (90, 104)
    assert (tbl["n_class1"] == -1).sum() == 34
    assert [str(r["aliases"]) for r in tbl if r["target"].startswith("ngc0628")] == ["M 74", "M 74"]
    assert all(tbl[name].info.description for name in tbl.colnames)
    tbl["galaxy"] = "mine"
    assert list_phangs()["galaxy"][0] == "IC 1954"


@pytest.mark.parametrize("name", ["NGC 628", "NGC0628", "ngc628", "M74", "m 74", "Messier 74", "N628", "NGC-628"])
def test_a_galaxy_of_two_targets(name):
    assert resolve_target(name) == ["ngc0628c", "ngc0628e"]


@pytest.mark.parametrize(("name", "target"), [
    ("ngc628c", "ngc0628c"), ("NGC 628-E", "ngc0628e"), ("ngc0628_c", "ngc0628c"), ("M74c", "ngc0628c"),
    ("NGC 685", "ngc0685"), ("ngc0685", "ngc0685"), ("IC1954", "ic1954"), ("ic 5332", "ic5332"), ("M61", "ngc4303"),
    ("NGC 1510", "ngc1510"), ("ngc1512", "ngc1512"),
])
def test_one_target(name, target):
    assert resolve_target(name) == [target]


@given(st.sampled_from(TARGETS), st.sampled_from(["", " ", "_", "-"]), st.booleans(), st.booleans())
def test_any_way_to_write_a_target(target, between, upper, zeros):
    catalog, number, letter = re.fullmatch(r"([a-z]+)0*(\d+)([ce]?)", target).groups()
    name = f"{catalog}{between}{number.zfill(4) if zeros else number}{letter}"
    assert resolve_target(name.upper() if upper else name) == [target]


@pytest.mark.parametrize(("name", "message"), [
    ("NGC 1434", "did you mean ngc1433"), ("NGC 628w", "NGC 628, which has ngc0628c, ngc0628e"),
    ("NGC 1097A", "not a target of NGC 1097"), ("NGC 5194", "list_phangs"), ("Andromeda", "list_phangs"), ("", "list"),
])
def test_what_is_no_target(name, message, cache):
    with pytest.raises(InputError, match=message):
        fetch_phangs(name)


# DR4


def test_one_galaxy(server):
    tbl = fetch_phangs("NGC 1433")
    assert isinstance(tbl, QTable)
    assert len(tbl) == 194  # 90 of class 1, 104 of class 2
    assert (tbl["PHANGS_CLUSTER_CLASS_HUMAN"] == 1).sum() == 90
    assert tbl.meta["target"] == "ngc1433"
    assert tbl.meta["galaxy"] == "NGC 1433"
    assert tbl.meta["release"] == "dr4"
    assert tbl.meta["tables"] == "obs+sed"
    assert tbl.meta["source"] == BUNDLE.format("ngc1433").rpartition("/")[2]
    assert "target" not in tbl.colnames
    for name, unit in {"PHANGS_F275W_mJy": "mJy", "PHANGS_F555W_mJy_TOT_ERR": "mJy", "PHANGS_F814W_VEGA": "mag",
                       "PHANGS_AGE_MINCHISQ": "Myr", "PHANGS_MASS_MINCHISQ_ERR": "solMass", "PHANGS_RA": "deg",
                       "PHANGS_EBV_MINCHISQ": "mag", "PHANGS_X": "pix"}.items():
        assert tbl[name].unit == u.Unit(unit)
    assert all(tbl[name].info.description for name in tbl.colnames)
    assert "upper limit" in tbl["PHANGS_F275W_mJy_ERR"].info.description
    assert not any(hasattr(tbl[name], "mask") for name in tbl.colnames)


def test_nothing_is_changed_on_the_way(server):
    """Limits, -9999 and -999 are as the archive has them, row by row."""
    tbl = fetch_phangs("ngc1566")
    path = server.root / BUNDLE.format("ngc1566")
    obs, sed = (served_table(path, member("ngc1566", kind)) for kind in ("obs", "sed"))
    assert not np.array_equal(obs["ID_PHANGS_CLUSTER"], sed["ID_PHANGS_CLUSTER"])
    for name in obs.colnames:
        np.testing.assert_array_equal(getattr(tbl[name], "value", tbl[name]), obs[name])
    assert (tbl["PHANGS_F275W_mJy"].value == -9999).any()
    assert (tbl["PHANGS_F275W_mJy_ERR"].value < 0).any()
    row = {number: i for i, number in enumerate(sed["ID_PHANGS_CLUSTER"])}
    picked = sed[[row[number] for number in tbl["ID_PHANGS_CLUSTER"]]]
    for name in sed.colnames:
        np.testing.assert_array_equal(getattr(tbl[name], "value", tbl[name]), picked[name])
    assert (tbl["PHANGS_AGE_MINCHISQ"].value == -999).sum() == 1


@pytest.mark.parametrize("target", [*ACS, "ngc1433"])
def test_file_names_of_either_camera(server, target):
    """The bundle always says acs-uvis, its members uvis where all is from WFC3."""
    tbl = fetch_phangs(target)
    assert len(tbl) == sum(counts(target))
    assert ("PHANGS_F435W_mJy" in tbl.colnames) is (target in ACS)


def test_tables(server):
    obs, sed, both = (fetch_phangs("ngc1300", table=table) for table in ("obs", "sed", "both"))
    assert "PHANGS_AGE_MINCHISQ" not in obs.colnames
    assert "PHANGS_F275W_mJy" not in sed.colnames
    assert set(both.colnames) == set(obs.colnames) | set(sed.colnames)
    assert [t.meta["tables"] for t in (obs, sed, both)] == ["obs", "sed", "obs+sed"]


def test_classes_and_classifiers(server):
    n1, n2 = counts("ngc3627")
    column = "PHANGS_CLUSTER_CLASS_HUMAN"
    assert len(fetch_phangs("ngc3627", classes=1)) == n1
    assert set(fetch_phangs("ngc3627", classes=[2])[column]) == {2}
    assert len(fetch_phangs("ngc3627", classes=(3,))) == 3
    every = fetch_phangs("ngc3627", classes=(3, 1, 2))
    assert len(every) == n1 + n2 + 3
    assert every.meta["classes"] == "1,2,3"
    machine = fetch_phangs("ngc1300", classifier="machine")
    assert len(machine) == 9
    assert len(fetch_phangs("ngc1300", classifier="machine", classes=2)) == 3
    assert len(fetch_phangs("ngc1300", classifier="machine", classes=3)) == 4
    assert machine.meta["classby"] == "machine"


@pytest.mark.parametrize(("options", "message"), [
    ({"release": "dr6"}, "release='dr6' is not one of dr3"), ({"classifier": "ml"}, "neither 'human' nor 'machine'"),
    ({"table": "seds"}, "table='seds'"), ({"classes": (1, 4)}, "only 1, 2 and 3"), ({"classes": ()}, "only 1"),
])
def test_options_that_are_none(cache, options, message):
    with pytest.raises(InputError, match=message):
        fetch_phangs("ngc1433", **options)
    with pytest.raises(InputError, match="no target is named"):
        fetch_phangs([])


def test_a_galaxy_of_two_targets_is_stacked(server):
    tbl = fetch_phangs("M74")
    assert list(dict.fromkeys(tbl["target"])) == ["ngc0628c", "ngc0628e"]
    assert tbl.colnames[:2] == ["target", "galaxy"]
    assert (tbl["target"] == "ngc0628c").sum() == sum(counts("ngc0628c")) == 12
    assert set(tbl["galaxy"]) == {"NGC 628"}
    assert (tbl.meta["target"], tbl.meta["galaxy"]) == ("ngc0628c,ngc0628e", "NGC 628")


@pytest.mark.slow
def test_all_targets_without_one_lost_row(server, capsys):
    tbl = fetch_phangs("all", progress=True)
    assert re.search(r"39/39", capsys.readouterr().err)
    expected = {t: len(served_table(server.root / BUNDLE.format(t), member(t, "obs"))) for t in TARGETS}
    names, found = np.unique(tbl["target"], return_counts=True)
    assert dict(zip(names.tolist(), found.tolist(), strict=True)) == expected
    assert len(tbl) == sum(expected.values())
    wfc3 = ~np.isin(tbl["target"], ACS)
    np.testing.assert_array_equal(np.isnan(tbl["PHANGS_F435W_mJy"]), wfc3)
    np.testing.assert_array_equal(np.isnan(tbl["PHANGS_F438W_mJy"]), ~wfc3)
    assert tbl["PHANGS_F435W_mJy"].unit == u.mJy
    assert {resolve_galaxy(name) for name in tbl["galaxy"]} == set(list_phangs()["galaxy"])
    assert "failed" not in tbl.meta


def test_one_bad_target_does_not_lose_the_rest(server, tmp_path):
    server.faults[BUNDLE.format("ngc1300")] = [("page",)]
    with pytest.warns(AstropyUserWarning) as caught:
        tbl = fetch_phangs(["NGC 1433", "NGC 1300", "no such", "IC 1954", "ngc1433"])
    assert [str(w.message).partition(" is left out")[0] for w in caught] == ["no such", "ngc1300"]
    assert list(dict.fromkeys(tbl["target"])) == ["ngc1433", "ic1954"]
    assert re.search("no such: .*; ngc1300: .*web page", tbl.meta["failed"])
    clusterpost.write_catalog(tbl, tmp_path / "two.fits")
    back = Table.read(tmp_path / "two.fits")
    assert back.meta["FAILED"] == tbl.meta["failed"]
    assert len(fetch_phangs("NGC 1300")) == sum(counts("ngc1300"))


def test_all_bad(server):
    server.faults[BUNDLE.format("ngc1300")] = [("status", 403)]
    with pytest.raises(ArchiveError, match="403"):
        fetch_phangs("ngc1300")
    with pytest.raises(ArchiveError, match=r"none of the 2 targets could be fetched: 'x' is"):
        fetch_phangs(["x", "y"])


def test_no_network_when_it_is_cached(server, monkeypatch):
    before = fetch_phangs(["NGC 1433", "M74"])
    monkeypatch.setattr(socket, "socket", None)
    after = fetch_phangs(["NGC 1433", "M74"])
    assert before.meta == after.meta
    np.testing.assert_array_equal(before["PHANGS_F275W_mJy"], after["PHANGS_F275W_mJy"])


def test_without_a_cache(server, cache):
    assert len(fetch_phangs("ngc1433", cache=False)) == 194
    assert not list(cache.rglob("*"))
    assert len(fetch_phangs("ngc1433", cache=False)) == 194
    assert len(server.asked(BUNDLE.format("ngc1433"))) == 2


def test_two_processes_fetch_the_same_galaxy(server):
    code = f"""
        import clusterpost
        clusterpost.conf.archive_url = {server.url!r}
        clusterpost.conf.cache_dir = {clusterpost.conf.cache_dir!r}
        print(len(clusterpost.fetch_phangs("NGC 3627")))
    """
    server.faults[BUNDLE.format("ngc3627")] = [("drip", 0.005)]
    both = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for run in both:
        out, err = run.communicate(timeout=120)
        assert out.strip() == "774", err
    assert len(server.asked(BUNDLE.format("ngc3627"))) == 1


@pytest.mark.parametrize("distance", [None, 8.3])
def test_inference_takes_it_as_it_is(server, distance):
    tbl = fetch_phangs("NGC 1433")[:12]
    out = clusterpost.infer_table(tbl, n_samples=50, distance=distance)
    assert len(out) == 12
    assert np.isfinite(out["age_q50"]).sum() >= 8
    assert "NGC 1433" in out.meta["CPDIST"] or distance


def test_a_file_of_it_is_read_back(server, tmp_path):
    tbl = fetch_phangs(["ngc1433", "ngc1559"])
    for suffix in ("fits", "ecsv"):
        clusterpost.write_catalog(tbl, tmp_path / f"x.{suffix}")
        back = clusterpost.read_catalog(tmp_path / f"x.{suffix}")
        assert len(back) == len(tbl)
        meta = {k.lower(): v for k, v in back.meta.items()}
        assert {k: meta[k] for k in tbl.meta} == dict(tbl.meta)
        np.testing.assert_array_equal(back["PHANGS_F275W_mJy"], tbl["PHANGS_F275W_mJy"].value)


# DR4, when the archive is not quite as it was described


@pytest.fixture
def odd(small_server):
    """An archive whose bundle of ngc1433 a test makes."""

    def make(members, name=None):
        place = small_server.root / (name or BUNDLE.format("ngc1433"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(tar_bytes(members))
        return small_server

    return make


def test_a_bundle_of_another_name_is_found_by_the_list(odd, monkeypatch):
    name = "dr4/bundles/hlsp_phangs-cat_hst_uvis_ngc1433_multi_v2_cats.tar.gz"
    server = odd(dr4_members("ngc1433"), name)
    assert len(fetch_phangs("ngc1433")) == 194
    assert server.asked("dr4/bundles/")
    monkeypatch.setattr(socket, "socket", None)
    assert fetch_phangs("ngc1433").meta["source"] == name.rpartition("/")[2]


def test_no_bundle_says_what_there_is(odd):
    odd(dr4_members("ngc1300"), BUNDLE.format("ngc1300"))
    with pytest.raises(ArchiveError, match=r"does not clearly have .*ngc1433.*it has '.*ngc1300"):
        fetch_phangs("ngc1433")


def test_members_of_any_camera_name_are_taken(odd):
    members = {name.replace("hst_uvis", "hst_acs-uvis"): data for name, data in dr4_members("ngc1433").items()}
    odd(members)
    assert len(fetch_phangs("ngc1433")) == 194


def test_a_table_that_is_absent_is_not_dropped_in_silence(odd):
    members = dr4_members("ngc1433")
    odd({name: data for name, data in members.items() if "_sed-human" not in name})
    with pytest.raises(ArchiveError, match=r"no table sed of human class 12 .* has .*obs-human-cluster-class12"):
        fetch_phangs("ngc1433")
    assert len(fetch_phangs("ngc1433", table="obs")) == 194
    assert len(fetch_phangs("ngc1433", classifier="machine")) > 0


def test_two_versions_are_ambiguous(odd):
    members = dr4_members("ngc1433")
    odd(members | {name.replace("_v1_", "_v2_"): data for name, data in members.items()})
    with pytest.raises(ArchiveError, match=r"several tables could be sed: .*_v1_.*_v2_"):
        fetch_phangs("ngc1433")


@pytest.mark.parametrize("kinds", [["sed-ground-halpha"], ["sed-ground-halpha", "sed-hst-halpha"]])
def test_later_names_of_sed(odd, kinds):
    odd({name.replace("_sed-", f"_{kind}-"): data for name, data in dr4_members("ngc1433").items() for kind in kinds})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tbl = fetch_phangs("ngc1433")
    assert tbl.meta["tables"] == "obs+sed-ground-halpha"
    chosen = [str(w.message) for w in caught]
    assert len(chosen) == len(kinds) - 1
    assert all("sed-ground-halpha is used" in text for text in chosen)
    if len(kinds) == 2:
        assert fetch_phangs("ngc1433", table="sed-hst-halpha").meta["tables"] == "sed-hst-halpha"


def test_the_companion_of_ngc1512(odd):
    name = BUNDLE.format("ngc1512")
    companion = {member("ngc1510", t): fits_bytes(tbl)
                 for t, tbl in zip(("obs", "sed"), clusters("ngc1510", [1, 2, 2], 9), strict=True)}
    odd(dr4_members("ngc1512") | companion, name)
    with pytest.warns(AstropyUserWarning, match="also has tables of ngc1510"):
        assert len(fetch_phangs("NGC 1512")) == sum(counts("ngc1512"))
    tbl = fetch_phangs("NGC 1510")
    assert len(tbl) == 3
    assert (tbl.meta["target"], tbl.meta["galaxy"]) == ("ngc1510", "NGC 1512")  # whose distance it has


def test_no_companion(odd):
    odd(dr4_members("ngc1512"), BUNDLE.format("ngc1512"))
    with pytest.raises(ArchiveError, match=r"ngc1510: no table .* in the archive of ngc1512, which has"):
        fetch_phangs("NGC 1510")


# Joining and stacking


def pair(n=6):
    return clusters("ngc1433", [1] * n, 4)


def test_clusters_of_one_table_only():
    obs, sed = pair()
    lost, kept = sed["ID_PHANGS_CLUSTER"][0], obs["ID_PHANGS_CLUSTER"][-1]
    with pytest.warns(AstropyUserWarning, match="x: of 6 clusters, 1 in obs only and 1 in sed only"):
        out = join_tables(obs[obs["ID_PHANGS_CLUSTER"] != kept], sed[1:], "x")
    assert sorted(out["ID_PHANGS_CLUSTER"]) == sorted(obs["ID_PHANGS_CLUSTER"])
    assert np.isnan(out["PHANGS_MASS_MINCHISQ"][out["ID_PHANGS_CLUSTER"] == lost]).all()
    only_sed = out["ID_PHANGS_CLUSTER"] == kept
    assert np.isnan(out["PHANGS_F275W_mJy"][only_sed]).all()
    assert out["PHANGS_NON_DETECTION_FLAG"][only_sed][0] == -999
    np.testing.assert_array_equal(out["PHANGS_MASS_MINCHISQ"][only_sed],
                                  sed["PHANGS_MASS_MINCHISQ"][sed["ID_PHANGS_CLUSTER"] == kept])


def test_empty_tables():
    obs, sed = pair()
    assert len(join_tables(obs[:0], sed[:0], "x")) == 0
    with pytest.warns(AstropyUserWarning, match="6 in obs only"):
        assert np.isnan(join_tables(obs, sed[:0], "x")["PHANGS_AGE_MINCHISQ"]).all()


def test_values_that_differ_are_both_kept():
    obs, sed = pair()
    sed["PHANGS_F275W_mJy"] = 1.0
    sed["PHANGS_X"] += 1
    with pytest.warns(AstropyUserWarning, match="differ in 'PHANGS_F275W_mJy'; those of sed are kept"):
        out = join_tables(obs, sed, "x")
    np.testing.assert_array_equal(out["PHANGS_F275W_mJy"], obs["PHANGS_F275W_mJy"])
    assert set(out["PHANGS_F275W_mJy_SED"]) == {1.0}
    np.testing.assert_allclose(out["PHANGS_X_SED"], out["PHANGS_X"] + 1)
    assert "PHANGS_Y_SED" not in out.colnames


def test_numbers_that_do_not_tell_clusters_apart():
    obs, sed = pair()
    obs["ID_PHANGS_CLUSTER"][:2] = 7
    with pytest.raises(ColumnError, match=r"ID_PHANGS_CLUSTER 7 is 2 times in obs.*table='obs'"):
        join_tables(obs, sed, "x")
    with pytest.raises(ColumnError, match="one of them lacks it"):
        join_tables(obs, sed["PHANGS_X",], "x")
    obs["ID_PHANGS_CLUSTER"], sed["ID_PHANGS_CLUSTER"] = -999, -999  # none has a number, and all in one order
    sed["PHANGS_X"], sed["PHANGS_Y"] = obs["PHANGS_X"], obs["PHANGS_Y"]
    assert len(join_tables(obs, sed, "x")) == 6


@given(st.permutations(range(8)), st.permutations(range(8)))
def test_the_order_of_rows_does_not_matter(first, second):
    obs, sed = pair(8)
    expected = join_tables(obs, sed, "x")
    out = join_tables(obs[first], sed[second], "x")
    for name in expected.colnames:
        np.testing.assert_array_equal(out[name], expected[name][first])


def test_stacking_of_unlike_tables():
    first = Table({"a": [1, 2], "s": ["x", "yy"]}, meta={"k": 1, "one": 1})
    second = Table({"a": [3], "b": [0.5], "i": [4], "t": [True], "s": ["long name"]}, meta={"k": 1, "one": 2})
    second["b"].unit = "mJy"
    out = stack_tables([first, second])
    assert list(out["a"]) == [1, 2, 3]
    assert list(out["s"]) == ["x", "yy", "long name"]
    assert np.isnan(out["b"][:2]).all()
    assert out["b"].unit == u.mJy
    assert (list(out["i"]), list(out["t"])) == ([-999, -999, 4], [False, False, True])
    assert out.meta == {"k": 1}
    assert stack_tables([first]) is first


# DR5


def test_dr5_is_pinned(server):
    with pytest.raises(ArchiveError, match="not the expected file"):
        fetch_phangs("ngc1433", release="dr5")


@pytest.mark.usefixtures("unpinned")
def test_dr5(server):
    tbl = fetch_phangs("NGC 1433", release="dr5")
    assert len(tbl) == 194
    assert set(tbl["PHANGS_GALAXY"]) == {"ngc1433"}
    assert tbl["PHANGS_DR5_THILKER25_AGE"].unit == u.Myr
    assert tbl["PHANGS_DR5_THILKER25_MASS_LIMLO"].unit == u.solMass
    assert tbl.meta["source"].endswith("human-class1+2-primary.fits")
    assert server.asked(PRIMARY.format("human", "1+2"))  # the server had it as %2B
    assert [len(fetch_phangs(name, release="DR5")) for name in ("M74", "ngc628c")] == [18, 12]
    assert len(fetch_phangs("ngc1300", release="dr5", classes=(1, 3))) == counts("ngc1300")[0] + 1
    with pytest.raises(InputError, match="'NGC 5194' is not in this table of DR5, which has ic1954"):
        fetch_phangs("NGC 5194", release="dr5")


@pytest.mark.usefixtures("unpinned")
def test_all_of_dr5(server):
    tbl = fetch_phangs("all", release="dr5")
    assert len(tbl) == len(served_table(server.root / PRIMARY.format("human", "1+2")))
    assert set(tbl["target"]) == set(TARGETS)


@pytest.fixture
def odd_dr5(small_server, unpinned):
    def make(tbl, name=None):
        place = small_server.root / (name or PRIMARY.format("human", "1+2"))
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(fits_bytes(tbl))
        return small_server

    return make


def test_dr5_with_more_galaxies_and_other_spellings(odd_dr5):
    obs, _ = pair(5)
    obs["PHANGS_GALAXY"] = ["NGC0628 ", "NGC5194", "NGC 5194", "NGC1433", "NGC1433"]
    odd_dr5(obs)
    assert len(fetch_phangs("NGC 5194", release="dr5")) == 2
    assert len(fetch_phangs("M74", release="dr5")) == 1
    with pytest.warns(AstropyUserWarning, match="does not tell ngc628c from the rest of ngc0628"):
        assert len(fetch_phangs("ngc628c", release="dr5")) == 1
    assert len(fetch_phangs("all", release="dr5")) == 5


def test_dr5_without_a_galaxy(odd_dr5):
    odd_dr5(pair()[0])
    with pytest.raises(ArchiveError, match="does not tell the galaxy of a row; its columns are 'INDEX'"):
        fetch_phangs("ngc1433", release="dr5")


def test_dr5_of_another_name(odd_dr5):
    obs, _ = pair()
    obs["PHANGS_GALAXY"] = "ngc1433"
    odd_dr5(obs, PRIMARY.format("human", "1+2").replace("_v1_", "_v1p1_"))
    assert "_v1p1_" in fetch_phangs("ngc1433", release="dr5").meta["source"]
    with pytest.raises(ArchiveError, match=r"does not clearly have .*machine-class1.2.*it has .*human"):
        fetch_phangs("ngc1433", release="dr5", classifier="machine")


# DR3


def test_dr3(server):
    tbl = fetch_phangs("NGC 1433", release="dr3")
    assert list(tbl["PHANGS_CLUSTER_CLASS_HUMAN"]) == [1, 2, 1, 2]
    assert tbl["PHANGS_F275W_mJy_TOT"].unit == u.mJy
    assert tbl["PHANGS_F275W_vega_tot"].unit == u.mag
    assert tbl["PHANGS_AGE_MINCHISQ"].unit == u.Myr
    assert len(fetch_phangs("NGC 1433", release="cr1", classifier="machine", classes=2)) == 2
    assert len(fetch_phangs("all", release="dr3")) == 20
    with pytest.raises(InputError, match=r"DR3 has ngc1433, ngc1559, .* and not ngc1300"):
        fetch_phangs("NGC 1300", release="dr3")
    assert np.isfinite(clusterpost.infer_table(tbl, n_samples=50)["age_q50"]).any()


def test_dr3_needs_no_network_twice(server, monkeypatch):
    fetch_phangs("NGC 1433", release="dr3")
    monkeypatch.setattr(socket, "socket", None)
    assert len(fetch_phangs("NGC 1433", release="dr3")) == 4


def dr3_folder(server, files):
    folder = server.root / "ngc1433"
    folder.mkdir()
    for name, tbl in files.items():
        (folder / name).write_bytes(fits_bytes(tbl))
    (folder / "hlsp_phangs-cat_hst_uvis_ngc1433_f555w_v1_drc.fits").write_bytes(b"image")


def test_dr3_in_two_tables(small_server):
    obs, sed = pair()
    dr3_folder(small_server, {"hlsp_ngc1433_obs-human.fits": obs, "hlsp_ngc1433_sed-human.fits": sed,
                              "hlsp_ngc1433_obs-ml.fits": obs})
    assert "PHANGS_AGE_MINCHISQ" in fetch_phangs("ngc1433", release="dr3").colnames
    assert "PHANGS_AGE_MINCHISQ" not in fetch_phangs("ngc1433", release="dr3", table="obs").colnames
    with pytest.raises(ArchiveError, match="machine catalog of ngc1433"):
        fetch_phangs("ngc1433", release="dr3", classifier="machine")


def test_dr3_by_class(small_server):
    obs, _ = pair()
    other, _ = clusters("ngc1433", [3, 3], 5)
    dr3_folder(small_server, {"hlsp_ngc1433_v1_human-class12.fits": obs, "hlsp_ngc1433_v1_human-class3.fits": other})
    assert len(fetch_phangs("ngc1433", release="dr3")) == 6
    assert len(fetch_phangs("ngc1433", release="dr3", classes=(1, 2, 3))) == 8


@pytest.mark.parametrize("names", [["a_ngc1433_x.fits", "b_ngc1433_y.fits"], [], ["other_ngc1559.fits"],
                                   ["a_ngc1433_obs.fits"]])
def test_dr3_that_is_not_clear_says_what_there_is(small_server, names):
    dr3_folder(small_server, {name: pair()[0] for name in names})
    with pytest.raises(ArchiveError, match=r"does not clearly have the human catalog of ngc1433") as caught:
        fetch_phangs("ngc1433", release="dr3")
    assert all(name in str(caught.value) for name in names if "1433" in name)
    assert "clusterpost.catalogs.archive.fetch_file gets one of them" in str(caught.value)


def test_dr3_asks_again_when_the_list_is_old(small_server):
    dr3_folder(small_server, {})
    with pytest.raises(ArchiveError):
        fetch_phangs("ngc1433", release="dr3")
    (small_server.root / "ngc1433" / "a_ngc1433.fits").write_bytes(fits_bytes(pair()[0]))
    assert len(fetch_phangs("ngc1433", release="dr3")) == 6


# The real archive


@pytest.mark.remote_data
@pytest.mark.parametrize("release", ["dr3", "dr4", "dr5"])
def test_the_real_archive(cache, release):
    tbl = fetch_phangs("NGC 1433", release=release)
    if release == "dr4":
        assert (tbl["PHANGS_CLUSTER_CLASS_HUMAN"] == 1).sum() == 90
        assert (tbl["PHANGS_CLUSTER_CLASS_HUMAN"] == 2).sum() == 104
    assert len(clusterpost.infer_table(tbl, n_samples=50)) == len(tbl)


@pytest.mark.remote_data
def test_the_real_dr4_has_all_clusters(cache):
    assert len(fetch_phangs("all")) == 15437


def test_the_archive_made_here_is_that_of_the_description(tmp_path):
    """Names and numbers that were written down of the real one."""
    root = make_archive(tmp_path / "again", ["ngc1433", "ngc0628c"])
    names = {p.relative_to(root).as_posix() for p in root.rglob("*.tar.gz") if "dr4" in p.parts}
    assert names == {f"dr4/bundles/hlsp_phangs-cat_hst_acs-uvis_{t}_multi_v1_cats.tar.gz"
                     for t in ("ngc1433", "ngc0628c")}
    for target, cameras in (("ngc1433", "uvis"), ("ngc0628c", "acs-uvis")):
        name = f"catalogs/hlsp_phangs-cat_hst_{cameras}_{target}_multi_v1_obs-human-cluster-class12.fits"
        tbl = served_table(root / BUNDLE.format(target), name)
        assert {"PHANGS_F275W_mJy_ERR", "PHANGS_F555W_mJy_TOT_ERR", "ID_PHANGS_CLUSTER"} <= set(tbl.colnames)
    assert (root / "dr5/hlsp_phangs-cat_hst_acs-uvis_dr5-targets_v1_human-class1+2-primary.fits").exists()
    shutil.rmtree(root)
