import sys

import pytest

from clusterpost.utils import progress_bar, require, whole_file, write_whole


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_whole_file_appears_on_success(tmp_path):
    target = tmp_path / "table.fits"
    with whole_file(target) as temporary:
        assert temporary.suffix == ".fits"
        assert temporary.parent.parent == tmp_path  # on the same disk
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
    with pytest.raises(OSError, match=r"folder .*nowhere does not exist"), whole_file(tmp_path / "nowhere" / "x.fits"):
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
    with pytest.raises(ImportError, match="corner is needed") as info:
        require("corner", "plot")
    assert "pip install 'clusterpost[plot]'" in str(info.value)


def test_require_names_the_package_not_the_submodule():
    with pytest.raises(ImportError, match=r"^no_such_package is needed"):
        require("no_such_package.sub.module", "all")


def test_progress_bar_is_silent_away_from_a_terminal(capsys):
    with progress_bar(total=3) as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""
    with progress_bar(total=3, show=True) as bar:
        bar.update(3)
    assert "3/3" in capsys.readouterr().err
