import errno
import gzip
import hashlib
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import warnings
from pathlib import Path

import pytest
from archive_server import BUNDLE, PRIMARY, fits_bytes, tar_bytes
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

import clusterpost
from clusterpost.catalogs import archive, transport
from clusterpost.catalogs.archive import clear_cache, fetch_file, list_cache, list_folder, verify_cache
from clusterpost.catalogs.integrity import read_bundle
from clusterpost.errors import ArchiveError

FITS = fits_bytes(Table({"x": range(5000)}))  # several blocks on the wire
TARBALL = tar_bytes({"catalogs/a.fits": os.urandom(60000)})
ROOT = Path(clusterpost.__file__).parents[1]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def served(small_server):
    """A server of two files."""
    for name, data in (("a.fits", FITS), ("b.tar.gz", TARBALL), ("c.txt", b"words\n")):
        (small_server.root / name).write_bytes(data)
    return small_server


def kept(cache):
    """Files in the cache, without locks."""
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and p.parent.name != ".locks")


# What is fetched, and what is kept


@pytest.mark.parametrize(("name", "data"), [("a.fits", FITS), ("b.tar.gz", TARBALL), ("c.txt", b"words\n")],
                         ids=["fits", "tar", "text"])
def test_a_file_is_fetched_once(served, cache, name, data):
    for _ in range(3):
        assert fetch_file(name).read_bytes() == data
    assert len(served.asked(name)) == 1
    assert kept(cache) == [name, f"{name}.record.json"]


def test_no_network_for_what_is_cached(served, monkeypatch):
    fetch_file("a.fits")
    names = list_folder("")
    monkeypatch.setattr(socket, "socket", None)
    assert fetch_file("a.fits").read_bytes() == FITS
    assert list_folder("") == names
    with pytest.raises(TypeError):  # the socket that is none
        fetch_file("b.tar.gz")


def test_each_server_has_files_of_its_own(served, cache):
    first = fetch_file("c.txt")
    with clusterpost.conf.set_temp("archive_url", served.url.replace("127.0.0.1", "localhost")):
        assert fetch_file("c.txt") != first
    assert {p.is_relative_to(cache) for p in (first,)} == {True}


def test_the_cache_is_in_astropys_by_default(monkeypatch, tmp_path):
    (tmp_path / "astropy").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert archive.cache_dir() == tmp_path / "astropy" / "clusterpost"
    with clusterpost.conf.set_temp("cache_dir", "~/there"):
        assert archive.cache_dir() == Path.home() / "there"


def test_plus_is_escaped(served):
    name = "hlsp_human-class1+2-primary.fits"
    (served.root / name).write_bytes(FITS)
    assert "class1%2B2-" in transport.file_url(name)
    assert fetch_file(name).name == name
    with pytest.raises(ArchiveError, match="404"):  # the server does as the real one: a plain + is a space
        fetch_file("hlsp_human-class1 2-primary.fits")


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "dr4/../../x", "x\0y.txt", "a\nb", "a\\..\\b",
                                  "\udc80.txt", ".listing", "dr4/.locks/x", "c.txt.record.json"])
def test_a_path_stays_below_the_root_and_is_a_name(served, path):
    with pytest.raises(ArchiveError, match="not the path of a file below the archive's root"):
        fetch_file(path)
    with pytest.raises(ArchiveError, match="not the path of a file below the archive's root"):
        list_folder(path)
    assert served.seen == []


def test_no_path(served):
    with pytest.raises(ArchiveError, match="no file is named"):
        fetch_file("")


def test_pinned(served, cache):
    with pytest.raises(ArchiveError, match=r"sha256 is \w+ and not 0000.*update clusterpost"):
        fetch_file("a.fits", sha256="0" * 64)
    assert kept(cache) == []
    assert fetch_file("a.fits", sha256=sha256(FITS)).read_bytes() == FITS
    with pytest.warns(AstropyUserWarning, match="fetched again"), pytest.raises(ArchiveError, match="sha256"):
        fetch_file("a.fits", sha256="0" * 64)  # the cached one is not it, either


def test_the_real_archive_is_pinned():
    from clusterpost.catalogs.phangs_releases import PINNED

    assert set(PINNED) == {PRIMARY.format("human", "1+2"), PRIMARY.format("machine", "1+2")}
    assert {value[:8] for value in PINNED.values()} == {"66c87809", "f919e3dc"}


# Damage in the cache


@pytest.mark.parametrize("harm", ["flip", "shorten", "empty", "record", "no record", "no file", "record of another"])
def test_a_damaged_file_is_never_served(served, harm):
    place = fetch_file("a.fits")
    record = place.with_name(f"{place.name}.record.json")
    if harm == "flip":
        place.write_bytes(FITS[:3000] + bytes([FITS[3000] ^ 1]) + FITS[3001:])
    elif harm == "shorten":
        place.write_bytes(FITS[:-2880])
    elif harm == "empty":
        place.write_bytes(b"")
    elif harm == "record":
        record.write_text('{"length":')
    elif harm == "no record":
        record.unlink()
    elif harm == "no file":
        place.unlink()
    else:
        record.write_text(json.dumps({"length": 5, "sha256": "0"}))
    states = {row["file"].rpartition("/")[2]: row["state"] for row in verify_cache()}
    assert states == ({} if harm == "no record" else {"a.fits": "unfinished" if harm == "no file" else "damaged"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert fetch_file("a.fits").read_bytes() == FITS
    assert [str(w.message) for w in caught if "fetched again" in str(w.message)] or harm == "no file"
    assert len(served.asked("a.fits")) == 2
    assert list(verify_cache()["state"]) == ["whole"]


def test_a_damaged_file_is_not_served_when_the_server_is_away(served):
    place = fetch_file("a.fits")
    place.write_bytes(FITS[:-1])
    served.faults["a.fits"] = [("status", 503)] * 9
    with pytest.warns(AstropyUserWarning, match="damaged"), pytest.raises(ArchiveError, match="status 503"):
        fetch_file("a.fits")


# What can go wrong on the way


def test_absent(served, cache):
    with pytest.raises(transport.NotInArchive, match=r"nothing\.fits is not in the archive \(status 404\)"):
        fetch_file("nothing.fits")
    assert len(served.asked("nothing.fits")) == 1  # no use in asking again
    assert kept(cache) == []


def test_refused(served):
    served.faults["a.fits"] = [("status", 403)]
    with pytest.raises(ArchiveError, match=r"refuses .* 403"):
        fetch_file("a.fits")
    assert len(served.asked("a.fits")) == 1


def test_a_server_in_trouble_is_asked_again(served):
    served.faults["a.fits"] = [("status", 503), ("status", 429), ("status", 500)]
    assert fetch_file("a.fits").read_bytes() == FITS
    assert len(served.asked("a.fits")) == 4


def test_the_repetitions_end(served, capfd):
    served.faults["a.fits"] = [("status", 503)] * 9
    with clusterpost.conf.set_temp("archive_retries", 2), pytest.raises(ArchiveError, match=r"3 attempts.*status 503"):
        fetch_file("a.fits")
    assert len(served.asked("a.fits")) == 3
    assert capfd.readouterr().err == ""


def test_a_slow_answer(served):
    served.faults["a.fits"] = [("slow", 1.0)]
    with clusterpost.conf.set_temp("archive_timeout", 0.2):
        started = time.monotonic()
        assert fetch_file("a.fits").read_bytes() == FITS
        assert time.monotonic() - started < 0.9
        served.faults["b.tar.gz"] = [("slow", 1.0)] * 2
        with clusterpost.conf.set_temp("archive_retries", 1), pytest.raises(ArchiveError, match=r"within 0\.2 s"):
            fetch_file("b.tar.gz")


@pytest.mark.parametrize("name", ["a.fits", "b.tar.gz"])
def test_a_connection_cut_half_way(served, cache, name):
    served.faults[name] = [("cut", 30000), ("cut", 7000)]
    assert fetch_file(name).read_bytes() == (FITS if name == "a.fits" else TARBALL)
    assert len(served.asked(name)) == 3
    assert kept(cache) == [name, f"{name}.record.json"]


@pytest.mark.parametrize("status", [202, 204, 206, 300, 302])
def test_only_status_200_is_a_file(served, cache, status):
    """A part that nobody asked for, nothing, a choice, and being sent on to nowhere."""
    served.faults["c.txt"] = [("status", status)]
    with pytest.raises(ArchiveError, match=f"refuses .*status {status}"):
        fetch_file("c.txt")
    assert kept(cache) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/c.txt", "https://example.org/c.txt", "file:///etc/passwd",
                                     "//user@archive.stsci.edu/c.txt", "https://archive.stsci.edu.example.org/c.txt"])
def test_the_archive_may_not_send_on_to_anywhere(served, cache, address):
    served.faults["c.txt"] = [("sent on", address)]
    with pytest.raises(ArchiveError, match=r"on to .* not https to one of clusterpost\.conf\.archive_hosts"):
        fetch_file("c.txt")
    assert kept(cache) == []
    assert len(served.seen) == 1


def test_the_archive_may_send_on_to_servers_that_are_named(served):
    served.faults["c.txt"] = [("sent on", f"{served.url}/a.fits")] * 2
    assert fetch_file("c.txt").read_bytes() == FITS
    other = served.url.replace("127.0.0.1", "localhost")
    served.faults["d.txt"] = [("sent on", f"{other}/a.fits")] * 2
    with pytest.raises(ArchiveError, match="archive_hosts"):
        fetch_file("d.txt")
    with clusterpost.conf.set_temp("archive_hosts", [other.split("/")[2]]):
        assert fetch_file("d.txt").read_bytes() == FITS


def test_https_is_not_left():
    class Answer:
        url, headers, is_redirect = "https://archive.stsci.edu/a", {"Location": "http://archive.stsci.edu/a"}, True

    with pytest.raises(ArchiveError, match="on to http://"):
        transport._check_server(Answer)
    Answer.headers = {"Location": "https://mast.stsci.edu/a"}
    transport._check_server(Answer)


@pytest.mark.parametrize("fault", [("slow", 0.0), ("chunked",)], ids=["announced", "not announced"])
def test_a_file_that_is_too_large(served, cache, fault):
    served.faults["a.fits"] = [fault]
    with clusterpost.conf.set_temp("archive_max_size", 0.03), pytest.raises(ArchiveError, match=r"than 0\.03 MB"):
        fetch_file("a.fits")
    assert kept(cache) == []
    assert len(served.seen) == 1


def test_a_file_that_unpacks_to_too_much(served, cache):
    (served.root / "bomb.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    with clusterpost.conf.set_temp("archive_max_size", 1.0), pytest.raises(ArchiveError, match="1 MB when unpacked"):
        fetch_file("bomb.gz")
    assert kept(cache) == []


@pytest.mark.parametrize("fault", ["drip", "header drip"])
def test_a_server_that_drips_does_not_go_on_for_ever(served, cache, fault):
    served.faults["b.tar.gz"] = [(fault, 0.2)]
    with clusterpost.conf.set_temp("archive_total_time", 0.5), pytest.raises(ArchiveError, match=r"within 0\.5 s"):
        fetch_file("b.tar.gz")
    assert kept(cache) == []
    assert fetch_file("b.tar.gz").read_bytes() == TARBALL


def test_what_is_given_up_does_not_go_on_in_the_background(served, cache, monkeypatch):
    before = set(threading.enumerate())
    served.faults["a.fits"] = [("drip", 0.5)]
    monkeypatch.setattr(transport, "_CHUNK", 1000)
    with clusterpost.conf.set_temp("archive_total_time", 0.3), pytest.raises(ArchiveError, match=r"within 0\.3 s"):
        fetch_file("a.fits")
    (left,) = (thread for thread in threading.enumerate()
               if thread.name == "clusterpost download" and thread not in before)
    left.join(timeout=3)  # the whole file takes longer
    assert not left.is_alive()
    assert len(served.seen) == 1


@pytest.mark.parametrize(("name", "announced"), [("a.fits", len(FITS) - 2880), ("a.fits", len(FITS) - 7),
                                                 ("b.tar.gz", len(TARBALL) - 9), ("b.tar.gz", 20000)],
                         ids=["fits block", "fits bytes", "tarball end", "tarball half"])  # a tarball's size varies
def test_a_wrong_length(served, cache, name, announced):
    served.faults[name] = [("length", announced)]  # and just as much is sent: only the file itself tells
    with pytest.raises(ArchiveError, match="corrupt as the server sent it"):
        fetch_file(name)
    assert kept(cache) == []
    assert fetch_file(name).is_file()


def test_a_length_beyond_the_file(served):
    served.faults["a.fits"] = [("length", len(FITS) + 100)]
    with clusterpost.conf.set_temp("archive_retries", 0), pytest.raises(ArchiveError, match="did not come"):
        fetch_file("a.fits")


def test_no_length_is_no_proof(served):
    served.faults["c.txt"] = [("no length",)]
    with pytest.raises(ArchiveError, match="does not say how long"):
        fetch_file("c.txt")


def test_the_end_of_a_chunked_answer_is_marked(served):
    served.faults["c.txt"] = [("chunked",)]
    assert fetch_file("c.txt").read_bytes() == b"words\n"


def test_a_tar_is_kept_compressed(served):
    """Some servers call .gz an encoding, which clients undo unasked."""
    served.faults["b.tar.gz"] = [("encoding", "x-gzip")]
    assert fetch_file("b.tar.gz").read_bytes() == TARBALL


def test_what_is_compressed_on_the_way_is_not_the_file(served, cache):
    served.faults["c.txt"] = [("encoding", "gzip")]
    with pytest.raises(ArchiveError, match="something compressed"):
        fetch_file("c.txt")
    assert kept(cache) == []


@pytest.mark.parametrize("name", ["a.fits", "b.tar.gz", "c.txt"])
def test_a_page_instead_of_the_file(served, cache, name):
    served.faults[name] = [("page",)]
    with pytest.raises(ArchiveError, match=f"a web page instead of {name}"):
        fetch_file(name)
    assert kept(cache) == []
    assert fetch_file(name).is_file()


CORRUPT = {
    "garbage.fits": b"SIMPLE  = garbage", "gzip.fits": TARBALL, "short.fits": FITS[: 2880 * 3],
    "flipped.tar.gz": TARBALL[:1000] + b"\0" * 500 + TARBALL[1500:], "short.tar.gz": TARBALL[:-20],
    "empty.txt": b"", "fits.tar.gz": FITS, "text.tar.gz": gzip.compress(b"no tar"),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_a_corrupt_file_is_not_taken(served, cache, name):
    data = CORRUPT[name]
    (served.root / name).write_bytes(data)
    with pytest.raises(ArchiveError, match=r"corrupt as the server sent it|instead of"):
        fetch_file(name)
    assert kept(cache) == []


def test_an_address_that_is_none(cache):
    with clusterpost.conf.set_temp("archive_url", "nowhere"), pytest.raises(ArchiveError, match="archive_url"):
        fetch_file("a.fits")
    with clusterpost.conf.set_temp("archive_url", "http://127.0.0.1:9"), pytest.raises(ArchiveError, match="refused"):
        fetch_file("a.fits")


def test_no_network_is_told_in_a_few_words(served, monkeypatch, capfd):
    fetch_file("a.fits")

    asked = []

    def unknown(*arguments, **options):
        asked.append(arguments)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ArchiveError, match=r"\(Name or service not known\)\. Check the network .*cache list") as caught:
        fetch_file("c.txt")
    assert len(str(caught.value)) < 250
    assert len(asked) == 1  # again and again, it would take long to learn that one is offline
    assert capfd.readouterr().err == ""
    assert fetch_file("a.fits").read_bytes() == FITS


# Folders


def test_list_folder(served):
    (served.root / "sub").mkdir()
    (served.root / "a+b c.fits").write_bytes(FITS)
    expected = ["a+b c.fits", "a.fits", "b.tar.gz", "c.txt", "sub/"]
    assert list_folder("") == expected
    (served.root / "d.txt").write_bytes(b"new")
    assert list_folder("") == expected
    assert list_folder("", refresh=True) == sorted([*expected, "d.txt"])
    with pytest.raises(ArchiveError, match=r"does not list the folder sub.*'astroquery'"):
        list_folder("sub")
    with pytest.raises(transport.NotInArchive):
        list_folder("absent")


def test_names_that_no_file_can_have_are_not_listed(served, monkeypatch):
    links = ["%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00.fits", "a%2Fb", "/", "//elsewhere.org/x", ".listing", "a%5cb",
             "b.fits"]
    page = "".join(f"<a class='x' href='{link}'>x</a>" for link in links)
    monkeypatch.setattr("archive_server._Handler._index", lambda self, place: page.encode())
    assert list_folder("") == ["b.fits"]


def test_a_list_that_is_none(served, monkeypatch):
    page = b"<a " * 2_000_000  # and for which a careless pattern takes hours
    monkeypatch.setattr("archive_server._Handler._index", lambda self, place: page[:1_000_000])
    with pytest.raises(ArchiveError, match="does not list"):
        list_folder("")
    monkeypatch.setattr("archive_server._Handler._index", lambda self, place: page)
    with pytest.raises(ArchiveError, match="too long"):
        list_folder("")


# Disks


def test_a_folder_that_cannot_be_written(served, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with clusterpost.conf.set_temp("cache_dir", str(tmp_path / "file" / "cache")), \
            pytest.raises(ArchiveError, match=r"cannot write to the cache.*folder in clusterpost\.conf\.cache_dir"):
        fetch_file("a.fits")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_serves_what_it_has(served, cache):
    place = fetch_file("a.fits")
    place.parent.chmod(0o555)
    try:
        assert fetch_file("a.fits") == place
        with pytest.raises(ArchiveError, match=r"cannot write to the cache.*Permission denied"):
            fetch_file("b.tar.gz")
    finally:
        place.parent.chmod(0o755)


def test_what_is_there_needs_no_lock(served, monkeypatch):
    place = fetch_file("a.fits")
    monkeypatch.setattr(archive, "_locked", None)
    assert fetch_file("a.fits") == place
    with pytest.raises(TypeError):
        fetch_file("b.tar.gz")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_disk(served, cache, monkeypatch, number):
    def write(self, data):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(transport._BoundedWriter, "write", write)
    with pytest.raises(ArchiveError, match=f"cannot write to the cache.*{os.strerror(number)}.*make room") as caught:
        fetch_file("a.fits")
    assert caught.value.__cause__.errno == number
    assert len(served.asked("a.fits")) == 1


def test_a_disk_that_fills_up(served):
    """The system itself ends the file, in a process of its own."""
    run = script("""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        try:
            fetch_file("a.fits")
        except ArchiveError as error:
            print(error)
    """, served)
    out, err = run.communicate(timeout=60)
    assert "cannot write to the cache" in out, err
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20000
    assert fetch_file("a.fits").read_bytes() == FITS


@pytest.mark.parametrize("name", ["c.txt", "c.txt.record.json", ".c.txt-abcd_123.part"])
def test_a_link_is_replaced_and_not_followed(served, cache, tmp_path, name):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    folder = fetch_file("a.fits").parent
    for target in (mine / "thesis.txt", mine):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)
            assert fetch_file("c.txt").read_bytes() == b"words\n"
        assert not (folder / "c.txt").is_symlink()
        assert [file.read_text() for file in mine.iterdir()] == ["mine"]
        clear_cache()


def test_a_link_in_place_of_a_lock(served, cache, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    lock = fetch_file("a.fits").parent / ".locks" / "c.txt.lock"
    lock.symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(ArchiveError, match="cannot write to the cache"):
        fetch_file("c.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_link_that_leads_out_of_the_cache(served, cache, tmp_path):
    (tmp_path / "mine").mkdir()
    cache.mkdir()
    (cache / served.url.split("/")[2].replace(":", "_")).symlink_to(tmp_path / "mine")
    with pytest.raises(ArchiveError, match="a link leads out of the cache"):
        fetch_file("c.txt")
    assert not list((tmp_path / "mine").iterdir())
    with clusterpost.conf.set_temp("cache_dir", str(tmp_path / "linked")):
        (tmp_path / "linked").symlink_to(tmp_path / "mine")  # a cache that the user has put elsewhere
        assert fetch_file("c.txt").read_bytes() == b"words\n"


# Processes


def script(code, server):
    head = f"""
import clusterpost
from clusterpost.catalogs.archive import fetch_file
from clusterpost.errors import ArchiveError
clusterpost.conf.archive_url = {server.url!r}
clusterpost.conf.cache_dir = {clusterpost.conf.cache_dir!r}
"""
    return subprocess.Popen([sys.executable, "-c", head + textwrap.dedent(code)], text=True, cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_two_processes_fetch_the_same_file_at_once(served):
    served.faults["b.tar.gz"] = [("drip", 0.05)]
    both = [script("print(fetch_file('b.tar.gz').stat().st_size)", served) for _ in range(2)]
    for run in both:
        out, err = run.communicate(timeout=60)
        assert out.strip() == str(len(TARBALL)), err
    assert len(served.asked("b.tar.gz")) == 1  # one waited for the other
    assert list(verify_cache()["state"]) == ["whole"]


def test_threads(served):
    from concurrent.futures import ThreadPoolExecutor

    served.faults["a.fits"] = [("drip", 0.01)]
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(lambda _: fetch_file("a.fits"), range(8)))
    assert {p.read_bytes() for p in places} == {FITS}
    assert len(served.asked("a.fits")) == 1


def test_killed_during_a_download(served, cache):
    served.faults["b.tar.gz"] = [("drip", 0.1)]
    run = script("fetch_file('b.tar.gz')", served)
    deadline = time.monotonic() + 60
    while not list(cache.rglob("*.part/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert "b.tar.gz" not in kept(cache)
    assert list(verify_cache()["state"]) == list(list_cache()["fetched"]) == ["unfinished"]
    assert fetch_file("b.tar.gz").read_bytes() == TARBALL
    assert kept(cache) == ["b.tar.gz", "b.tar.gz.record.json"]
    assert not list(cache.rglob("*.part"))


def test_killed_while_a_file_is_put_in_place(served, cache, monkeypatch):
    place = fetch_file("a.fits")
    replaced = os.replace
    other = fits_bytes(Table({"y": range(4000)}))
    (served.root / "a.fits").write_bytes(other)
    place.write_bytes(b"damaged")

    def dies(source, target):
        if str(target).endswith(".record.json"):
            raise KeyboardInterrupt
        replaced(source, target)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.warns(AstropyUserWarning), pytest.raises(KeyboardInterrupt):
        fetch_file("a.fits")
    monkeypatch.setattr(os, "replace", replaced)
    with pytest.warns(AstropyUserWarning, match="fetched again"):  # new file, old record
        assert fetch_file("a.fits").read_bytes() == other


# Keeping order


def test_clear_removes_only_its_own(served, cache):
    fetch_file("a.fits")
    list_folder("")
    (next(cache.rglob("a.fits")).parent / ".b.tar.gz-abcd_123.part").mkdir()  # what a killed process leaves
    (cache / "thesis.txt").write_text("mine")
    assert len(list_cache()) == 3
    assert clear_cache() == 3
    assert kept(cache) == ["thesis.txt"]
    assert not list(cache.rglob("*.part"))
    assert (len(list_cache()), len(verify_cache()), clear_cache()) == (0, 0, 0)


# Tar archives


def bundle(path, **attributes):
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("catalogs/good.fits"), io.BytesIO())
        info = tarfile.TarInfo(attributes.pop("name", "catalogs/x.fits"))
        for name, value in attributes.items():
            setattr(info, name, value)
        tar.addfile(info, io.BytesIO(b"data"))
    return path


@pytest.mark.parametrize("name", ["../x.fits", "catalogs/../../x.fits", "/tmp/x.fits", "..", "catalogs/../x.fits"])
def test_a_member_that_leads_out_is_refused(tmp_path, served, cache, name):
    path = bundle(tmp_path / "bad.tar.gz", name=name, size=4)
    with pytest.raises(ArchiveError, match="leads out of its folder"):
        read_bundle(path, lambda _: True)
    (served.root / "bad.tar.gz").write_bytes(path.read_bytes())
    with pytest.raises(ArchiveError, match="leads out of its folder"):
        fetch_file("bad.tar.gz")
    assert kept(cache) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_only_regular_files_are_unpacked(tmp_path, kind):
    path = bundle(tmp_path / "odd.tar.gz", type=kind, linkname="/etc/passwd")
    assert list(read_bundle(path, lambda _: True)) == ["good.fits"]


def test_two_members_of_one_name(tmp_path):
    path = tmp_path / "two.tar.gz"
    path.write_bytes(tar_bytes({"catalogs/a.fits": b"1", "old/a.fits": b"2"}))
    with pytest.raises(ArchiveError, match=r"two files called a\.fits"):
        read_bundle(path, lambda _: True)
    assert read_bundle(path, lambda name: name == "b") == {}


# astroquery


class Service:
    """MAST's service as astroquery has it, over the files of a folder."""

    def __init__(self, root, log):
        self.root, self.log, self.answer = root, log, ("COMPLETE", None)

    def download_file(self, uri, *, local_path, cache, verbose):
        assert not cache  # its cache keeps damaged files
        self.log.append(uri)
        file = self.root / uri.removeprefix("mast:HLSP/phangs-cat/")
        if self.answer[0] != "COMPLETE":
            return *self.answer, "url"
        if not file.exists():
            return "ERROR", "HTTPError: 404 Client Error: Not Found", "url"
        Path(local_path).write_bytes(file.read_bytes())
        return "COMPLETE", None, None

    def query_criteria(self, *, obs_collection, provenance_name):
        assert (obs_collection, provenance_name) == ("HLSP", "PHANGS-CAT")
        return Table({"obsid": [1]}) if any(self.root.iterdir()) else Table({"obsid": []})

    def get_unique_product_list(self, observations):
        uris = [f"mast:HLSP/phangs-cat/{p.relative_to(self.root)}" for p in self.root.rglob("*") if p.is_file()]
        return Table({"dataURI": uris})


@pytest.fixture
def service(served, monkeypatch):
    log = []
    service = Service(served.root, log)
    monkeypatch.setattr(transport, "_observations", lambda: service)
    with clusterpost.conf.set_temp("archive_method", "astroquery"):
        yield service
    assert served.seen == []


def test_astroquery(service, cache):
    assert fetch_file("a.fits").read_bytes() == FITS
    assert fetch_file("a.fits").read_bytes() == FITS
    assert service.log == ["mast:HLSP/phangs-cat/a.fits"]
    assert kept(cache) == ["a.fits", "a.fits.record.json"]
    with pytest.raises(transport.NotInArchive, match=r"no mast:HLSP/phangs-cat/nothing\.fits"):
        fetch_file("nothing.fits")


def test_astroquery_that_fetches_nothing_says_so(service):
    service.answer = ("ERROR", "File was not downloaded")
    with pytest.raises(ArchiveError, match=r"5 attempts.*MAST answered ERROR: File was not downloaded"):
        fetch_file("a.fits")
    assert len(service.log) == 5


def test_what_astroquery_brings_is_checked(service, cache):
    (service.root / "a.fits").write_bytes(FITS[:-2880])
    with pytest.raises(ArchiveError, match="corrupt as the server sent it"):
        fetch_file("a.fits")
    (service.root / "a.fits").write_bytes(b"<html>")
    with pytest.raises(ArchiveError, match="web page"):
        fetch_file("a.fits")
    assert kept(cache) == []


def test_astroquery_lists(service):
    (service.root / "dr5" / "x").mkdir(parents=True)
    (service.root / "dr5" / "x" / "y.fits").write_bytes(FITS)
    (service.root / "dr5" / "z.fits").write_bytes(FITS)
    assert list_folder("dr5") == ["x/", "z.fits"]
    with pytest.raises(transport.NotInArchive, match="nothing in"):
        list_folder("dr6")


def test_astroquery_of_an_unknown_collection(cache, tmp_path, monkeypatch):
    (tmp_path / "none").mkdir()
    monkeypatch.setattr(transport, "_observations", lambda: Service(tmp_path / "none", []))
    with clusterpost.conf.set_temp("archive_method", "astroquery"), \
            pytest.raises(ArchiveError, match=r"knows no products of the collection PHANGS-CAT.*'https'"):
        list_folder("dr5")


def test_the_true_astroquery_has_what_is_used_of_it(served):
    """Its own class, over HTTP, against a local server in MAST's place."""
    service = transport._observations()
    served.faults["a.fits"] = [("slow", 5.0)] * 2
    from requests.exceptions import Timeout

    with clusterpost.conf.set_temp("archive_timeout", 0.2), pytest.raises(Timeout):
        service._session.get(f"{served.url}/a.fits")
    asked = []
    service._session.request = lambda method, url, **options: asked.append(url) or (_ for _ in ()).throw(Timeout)
    with pytest.raises(Timeout):
        service.download_file("mast:HLSP/phangs-cat/dr5/a+b.fits", local_path="x.part", cache=False, verbose=False)
    assert asked[0].endswith("?uri=mast:HLSP/phangs-cat/dr5/a%2Bb.fits")


# The real archive


@pytest.mark.remote_data
@pytest.mark.parametrize("method", ["https", "astroquery"])
def test_the_real_archive(cache, method):
    with clusterpost.conf.set_temp("archive_method", method):
        place = fetch_file(BUNDLE.format("ngc1433"))
        names = read_bundle(place, lambda name: name.endswith("class12.fits"))
        assert {n.split("_")[-1].split("-")[0] for n in names} >= {"obs", "sed"}
        assert len(list_folder("dr4/bundles")) >= 39
