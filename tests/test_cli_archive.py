"""``clusterpost fetch`` and ``clusterpost cache`` against a local archive."""

import re
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

import clusterpost
from clusterpost.cli import main

sys.path.insert(0, str(Path(__file__).parent / "catalogs"))

from archive_server import BUNDLE, TARGETS, counts, make_archive, serving


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), releases=["dr4"])


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    with clusterpost.conf.set_temp("cache_dir", str(tmp_path / "cache")), serving(files) as server:
        yield server


def run(*arguments):
    return main([str(a) for a in arguments])


def test_fetch(tmp_path, server, capsys):
    path = tmp_path / "ngc1433.fits"
    assert run("fetch", "NGC1433", "-o", path) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"{path}: 194 rows of 1 targets\n")
    tbl = Table.read(path)
    assert len(tbl) == 194
    assert (tbl.meta["TARGET"], tbl.meta["RELEASE"]) == ("ngc1433", "dr4")
    assert str(tbl["PHANGS_AGE_MINCHISQ"].unit) == "Myr"
    assert run("infer", path, tmp_path / "out.fits", "-n", 20, "--quiet") == 0


@pytest.mark.slow
def test_fetch_all_without_one_lost_row(tmp_path, server, capsys):
    assert run("fetch", "all", "-o", tmp_path / "all.fits", "--quiet") == 0
    assert capsys.readouterr().err == ""
    tbl = Table.read(tmp_path / "all.fits")
    names, found = np.unique(tbl["target"], return_counts=True)
    assert dict(zip(names.tolist(), found.tolist(), strict=True)) == {t: sum(counts(t)) for t in TARGETS}


def test_options_reach_the_archive(tmp_path, server, capsys):
    path = tmp_path / "x.ecsv"
    assert run("fetch", "M74", "ngc1300", "-o", path, "--classifier", "machine", "--classes", 2, "--table", "obs",
               "--release", "cr2") == 0
    assert "rows of 3 targets" in capsys.readouterr().err
    tbl = Table.read(path)
    assert set(tbl["PHANGS_CLUSTER_CLASS_ML_VGG"]) == {2}
    assert "PHANGS_AGE_MINCHISQ" not in tbl.colnames
    asked = len(server.seen)
    assert run("fetch", "M74", "-o", path) == 2  # it exists
    assert "exists" in capsys.readouterr().err
    assert run("fetch", "M74", "-o", path, "--overwrite") == 0
    assert len(server.seen) == asked  # all in the cache


def test_list(server, capsys):
    assert run("fetch", "--list") == 0
    out = capsys.readouterr().out
    assert all(target in out for target in TARGETS)
    assert "M 74" in out
    assert server.seen == []


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "give a galaxy or 'all'"), (["NGC 1434"], "did you mean ngc1433"), (["M74", "--release", "dr9"], "release"),
    (["M74", "-o", "x.txt"], "no format is known"), (["ngc1433", "--classes", "5"], "1, 2 and 3"),
])
def test_bad_arguments(server, capsys, arguments, message):
    assert run("fetch", *arguments) == 2
    assert message in capsys.readouterr().err
    assert server.seen == []


def test_trouble_is_told_in_a_line(tmp_path, server, capsys):
    server.faults[BUNDLE.format("ngc1433")] = [("page",)]
    assert run("fetch", "ngc1433", "-o", tmp_path / "x.fits") == 2
    assert re.fullmatch(r"clusterpost: http://.*a web page instead of .*\n", capsys.readouterr().err)
    assert not (tmp_path / "x.fits").exists()


def test_no_network_is_told_in_a_line(tmp_path, server, capsys, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(
        socket.gaierror(socket.EAI_NONAME, "Name or service not known")))
    assert run("fetch", "ngc1433", "-o", tmp_path / "x.fits") == 2
    assert re.fullmatch(r"clusterpost: hlsp\S+\.tar\.gz did not come from \S+ in 1 attempt \(Name or service not "
                        r"known\)\. Check the network or try again later; .*'clusterpost cache list'.*\n",
                        capsys.readouterr().err)
    assert not (tmp_path / "x.fits").exists()


def test_astroquery_is_asked_for_early(server, capsys, monkeypatch):
    for name in ("astroquery", "astroquery.mast"):
        monkeypatch.setitem(sys.modules, name, None)
    with clusterpost.conf.set_temp("archive_method", "astroquery"):
        assert run("fetch", "ngc1433") == 2
    assert "pip install 'clusterpost[archive]'" in capsys.readouterr().err
    assert run("fetch", "ngc1433") == 0  # HTTPS does not need it


def test_cache(server, capsys):
    assert run("cache", "list") == 0
    assert capsys.readouterr().err.endswith(": 0 files\n")
    assert run("fetch", "ngc1433", "ic1954") == 0  # no output: the cache is filled
    assert "cached: " in capsys.readouterr().err
    assert run("cache", "list") == 0
    shown = capsys.readouterr()
    assert BUNDLE.format("ngc1433") in shown.out
    assert shown.err.endswith(": 2 files\n")
    assert run("cache", "verify") == 0
    assert capsys.readouterr().out.count("whole") == 2
    (file,) = Path(clusterpost.conf.cache_dir).rglob("*ic1954*.tar.gz")
    file.write_bytes(b"damage")
    assert run("cache", "verify") == 1
    shown = capsys.readouterr()
    assert re.search(r"ic1954\S+ +damaged", shown.out)
    assert "fetched again" in shown.err
    assert run("cache", "clear") == 0
    assert capsys.readouterr().err.endswith(": 2 files removed\n")
    assert not file.exists()


def test_settings_from_the_users_file(server, tmp_path):
    """The address and the cache's place, as clusterpost.cfg has them."""
    import os
    import subprocess

    folder = tmp_path / "config" / "clusterpost"
    folder.mkdir(parents=True)
    (folder / "clusterpost.cfg").write_text(
        f"[config]\narchive_url = {server.url}\ncache_dir = {tmp_path / 'there'}\narchive_method = https\n")
    done = subprocess.run([sys.executable, "-m", "clusterpost", "fetch", "ic1954", "-o", tmp_path / "x.fits"],
                          capture_output=True, text=True, timeout=120, cwd=Path(clusterpost.__file__).parents[1],
                          env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "config")})
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "there").rglob("*ic1954*.tar.gz"))
