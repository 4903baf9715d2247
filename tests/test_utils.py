import multiprocessing
import os
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from clusterpost.errors import InputError
from clusterpost.utils import check_target, exclusive, progress_bar, require, whole_file, write_whole


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_whole_file_appears_on_success(tmp_path):
    target = tmp_path / "table.fits"
    with whole_file(target) as temporary:
        assert temporary.suffix == ".fits"
        assert temporary.parent.parent == tmp_path
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["table.fits"]


def test_whole_file_keeps_the_old_file_on_failure(tmp_path):
    target = tmp_path / "table.fits"
    target.write_bytes(b"old")

    def fail_half_way():
        with whole_file(target) as temporary:
            temporary.write_bytes(b"ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["table.fits"]


def test_whole_file_that_was_never_written_fails_and_keeps_the_old_one(tmp_path):
    target = tmp_path / "table.fits"
    target.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), whole_file(target):
        pass
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["table.fits"]


def test_whole_file_is_written_where_nobody_else_can_write(tmp_path):
    with whole_file(tmp_path / "x.fits") as temporary:
        assert not temporary.exists()  # as some writers want it
        assert temporary.parent.stat().st_mode & 0o077 == 0
        temporary.write_text("new")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "x.fits").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_whole_file_says_which_folder_is_missing(tmp_path):
    with (pytest.raises(InputError, match=r"folder .*nowhere does not exist"),
          whole_file(tmp_path / "nowhere" / "x.fits")):
        pass


def test_write_whole_replaces(tmp_path):
    target = tmp_path / "data.bin"
    write_whole(target, b"one")
    write_whole(str(target), b"two")
    assert target.read_bytes() == b"two"
    assert names(tmp_path) == ["data.bin"]


def test_require_gives_the_module():
    assert require("json", "plot").dumps([]) == "[]"


def test_require_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "corner", None)
    with pytest.raises(ImportError, match="corner is required") as info:
        require("corner", "plot")
    assert "pip install 'clusterpost[plot]'" in str(info.value)


def test_require_names_the_package_not_the_submodule():
    with pytest.raises(ImportError, match=r"^no_such_package is required"):
        require("no_such_package.sub.module", "all")


def test_progress_bar_is_silent_away_from_a_terminal(capsys):
    with progress_bar(total=3) as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""
    with progress_bar(total=3, show=True) as bar:
        bar.update(3)
    assert "3/3" in capsys.readouterr().err


# Targets, locks and leftovers


def test_what_is_no_plain_file_is_no_target(tmp_path):
    (tmp_path / "there.fits").write_bytes(b"there")
    (tmp_path / "link.fits").symlink_to(tmp_path / "there.fits")
    (tmp_path / "dangling.fits").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.fits").mkdir()
    os.mkfifo(tmp_path / "pipe.fits")
    for name, said in (("link", "is a link"), ("dangling", "is a link"), ("folder", "is a folder"),
                       ("pipe", "a pipe or a device")):
        path = tmp_path / f"{name}.fits"
        with pytest.raises(InputError, match=said):
            check_target(path, overwrite=True)
        with pytest.raises(InputError, match=said):
            write_whole(path, b"new")
    with pytest.raises(InputError, match="a pipe or a device"):
        check_target("/dev/null", overwrite=True)
    with pytest.raises(InputError, match="exists; give another name"):
        check_target(tmp_path / "there.fits")
    check_target(tmp_path / "there.fits", overwrite=True)
    check_target(tmp_path / "new.fits")
    assert (tmp_path / "there.fits").read_bytes() == b"there"
    assert not (tmp_path / "nothing").exists()


_WRITES_FOR_EVER = """
import sys, time
from clusterpost.utils import whole_file
with whole_file(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print("begun", flush=True)
    time.sleep(600)
"""


def test_the_next_run_removes_what_a_killed_one_left(tmp_path):
    target = tmp_path / "table.fits"
    process = subprocess.Popen([sys.executable, "-c", _WRITES_FOR_EVER, str(target)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    process.kill()
    process.communicate()
    assert not target.exists()
    assert ".table.fits.partial" in names(tmp_path)
    write_whole(target, b"whole")
    assert target.read_bytes() == b"whole"
    assert names(tmp_path) == ["table.fits"]


def test_what_a_live_run_writes_is_left_to_it(tmp_path):
    target = tmp_path / "table.fits"
    with whole_file(target) as temporary:
        temporary.write_bytes(b"one")
        other = threading.Thread(target=write_whole, args=(target, b"two"))
        other.start()
        other.join(timeout=0.3)
        assert other.is_alive()
        assert temporary.read_bytes() == b"one"
        assert not target.exists()
    other.join(timeout=60)
    assert target.read_bytes() == b"two"
    assert names(tmp_path) == ["table.fits"]


def _enter(folder, wait, n):
    """How often this process was inside, was refused, and found another inside."""
    inside = refused = broken = 0
    for _ in range(n):
        try:
            with exclusive(folder / ".lock", wait=wait):
                try:
                    os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    broken += 1
                    continue
                time.sleep(0.0002)
                os.unlink(folder / "inside")
                inside += 1
        except TimeoutError:
            refused += 1
    return inside, refused, broken


def test_what_lies_in_the_place_of_a_lock_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("kept")
    (tmp_path / "link.lock").symlink_to(tmp_path / "thesis.txt")
    (tmp_path / "folder.lock").mkdir()
    for name in ("link.lock", "folder.lock"):
        with pytest.raises(InputError, match=f"{name} must be a regular file"), exclusive(tmp_path / name):
            pass
    assert (tmp_path / "thesis.txt").read_text() == "kept"



@pytest.mark.parametrize("wait", [True, False])
def test_the_lock_excludes(tmp_path, wait):
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        counts = np.array(list(pool.map(_enter, [tmp_path] * 4, [wait] * 4, [100] * 4)))
    assert counts[:, 2].sum() == 0
    assert counts[:, :2].sum() == 400
    assert counts[:, 0].sum() == 400 if wait else counts[:, 0].sum() > 0
    assert names(tmp_path) == []


def test_progress_bars_are_on_in_ipython(monkeypatch, capsys):
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = object
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    with progress_bar(total=2) as bar:
        assert not bar.disable
        assert bar.mininterval == 0.1
    ipython.get_ipython = lambda: None
    with progress_bar(total=2) as bar:
        assert bar.disable
    capsys.readouterr()
