"""Files of the archive, kept in a local cache that serves only complete files.

pooch downloads them; beside each lies a record of its sha256, which is checked
whenever the file is used: a file that does not agree is fetched again.  A new
file appears at once and complete.  A lock keeps processes apart that want the
same file.  What the cache has needs no network.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import warnings
from concurrent.futures import Future
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pooch
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from ..config import conf
from ..errors import ArchiveError
from . import transport
from .integrity import fault_of

if TYPE_CHECKING:
    from threading import Event

__all__ = ["cache_dir", "clear_cache", "fetch_file", "known_listing", "list_cache", "list_folder",
           "verify_cache"]

_RECORD, _PART, _LISTING = ".record.json", ".part", ".listing"
_THREAD = "clusterpost download"


def cache_dir() -> Path:
    """Return the folder of the downloaded files.

    Returns
    -------
    `~pathlib.Path`
        ``clusterpost.conf.cache_dir``, or ``clusterpost`` in astropy's cache.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.catalogs.archive import cache_dir
    >>> with clusterpost.conf.set_temp("cache_dir", "/data/clusterpost"):
    ...     cache_dir().as_posix()
    '/data/clusterpost'
    """
    if conf.cache_dir:
        return Path(conf.cache_dir).expanduser()
    from astropy.config.paths import get_cache_dir

    return Path(get_cache_dir()) / "clusterpost"


def fetch_file(path: str, *, sha256: str | None = None, folder: str | Path | None = None) -> Path:
    """Fetch a file of the archive, from the cache if it is there and otherwise from the network.

    Parameters
    ----------
    path : str
        Path below ``clusterpost.conf.archive_url``, such as
        ``dr4/hlsp_phangs-cat_hst_multi_all_multi_v1_readme.txt``.
    sha256 : str, optional
        Checksum that the file must have.
    folder : path, optional
        Folder of the cache, by default `cache_dir`.

    Returns
    -------
    `~pathlib.Path`
        Path of the file in the cache.

    Raises
    ------
    ArchiveError
        If the file is not in the archive, cannot be downloaded, fails a check,
        or cannot be written, or if ``path`` is not a valid file name.
    ImportError
        If astroquery is needed and not installed.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import fetch_file
    >>> fetch_file("dr4/hlsp_phangs-cat_hst_multi_all_multi_v1_readme.txt").read_text()  # doctest: +SKIP
    """
    place = _place(path, folder)
    if not PurePosixPath(path).parts:
        raise ArchiveError("no file is named; give a path below the archive's root")
    if not _is_sound(place, sha256):
        _fetch(place, path, folder, transport.download, sha256)
    return place


def list_folder(path: str, *, folder: str | Path | None = None, refresh: bool = False) -> list[str]:
    """List a folder of the archive, from the cache or the network.

    Parameters
    ----------
    path : str
        Path below ``clusterpost.conf.archive_url``.
    folder : path, optional
        Folder of the cache.
    refresh : bool
        Whether to request the list from the archive again.

    Returns
    -------
    list of str
        Names of files and folders; those of folders end in ``/``.

    Raises
    ------
    ArchiveError
        If the folder does not exist or the archive cannot list it.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import list_folder
    >>> list_folder("dr5")  # doctest: +SKIP
    """
    if not refresh and (names := known_listing(path, folder=folder)) is not None:
        return names

    def bring(path: str, output: Path, given_up: Event) -> None:
        """Write the names of the folder's files to a file."""
        names = transport.folder_names(path, output, given_up)
        output.write_text(json.dumps([name for name in names if _is_name(name)]))

    place = _place(path, folder) / _LISTING
    _fetch(place, f"{path.strip('/')}/".lstrip("/"), folder, bring, refresh=True)
    return json.loads(place.read_text())


def known_listing(path: str, *, folder: str | Path | None = None) -> list[str] | None:
    """Return the cached list of a folder, or None if `list_folder` has not requested it.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import known_listing
    >>> known_listing("no/such/folder") is None
    True
    """
    place = _place(path, folder) / _LISTING
    return json.loads(place.read_text()) if _is_sound(place) else None


def list_cache() -> Table:
    """List the files of the cache.

    Returns
    -------
    `~astropy.table.Table`
        ``file`` (below `cache_dir`), ``size`` in bytes, ``fetched`` (UTC, or
        ``unfinished``) and ``url``.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import list_cache
    >>> list_cache().colnames
    ['file', 'size', 'fetched', 'url']
    """
    rows = []
    for place in _files():
        record = _read_record(place)
        size = place.stat().st_size if place.exists() else 0
        rows.append((place.relative_to(cache_dir()).as_posix(), size, record.get("fetched", "unfinished"),
                     record.get("url", "")))
    return Table(rows=rows or None, names=["file", "size", "fetched", "url"], dtype=[str, int, str, str])


def verify_cache() -> Table:
    """Check every file of the cache against its record.

    Returns
    -------
    `~astropy.table.Table`
        ``file``, and ``state``: ``whole``, ``damaged`` or ``unfinished``.
        A damaged file is downloaded again on its next use.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import verify_cache
    >>> set(verify_cache()["state"]) <= {"whole", "damaged", "unfinished"}
    True
    """
    rows = []
    for place in _files():
        state = "unfinished" if not place.exists() else "whole" if _is_sound(place) else "damaged"
        rows.append((place.relative_to(cache_dir()).as_posix(), state))
    return Table(rows=rows or None, names=["file", "state"], dtype=[str, str])


def clear_cache() -> int:
    """Remove the downloaded files, and no other files in `cache_dir`.

    Returns
    -------
    int
        Number of files removed.

    Raises
    ------
    ArchiveError
        If a file cannot be removed.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import clear_cache
    >>> clear_cache()  # doctest: +SKIP
    """
    places = _files()
    for place in places:
        with _locked(place):
            for file in (place, _record_of(place)):
                file.unlink(missing_ok=True)
    return len(places)


# Places and records


def _is_name(part):
    # Hidden names and records are reserved for the cache.
    return part.isprintable() and not (part.startswith((".", "/")) or "\\" in part or part.endswith(_RECORD))


def _place(path, folder):
    parts = PurePosixPath(path).parts
    if not all(map(_is_name, parts)):
        raise ArchiveError(f"{path!r} is not the path of a file below the archive's root")
    server = urlsplit(transport.file_url(""))
    return Path(folder or cache_dir(), re.sub(r"[^\w.-]", "_", server.netloc), server.path.strip("/"), *parts)


def _record_of(place):
    return place.with_name(f"{place.name}{_RECORD}")


def _files():
    """Return every file with a finished or unfinished download, including missing files."""
    found = {file.with_name(file.name.removesuffix(_RECORD)) for file in cache_dir().rglob(f"*{_RECORD}")}
    begun = cache_dir().rglob(f".*-????????{_PART}")
    return sorted(found | {part.with_name(re.sub(r"^\.(.*)-.{8}\..*$", r"\1", part.name)) for part in begun})


def _read_record(place):
    try:
        record = json.loads(_record_of(place).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_sound(place, sha256=None):
    """Return whether the file exists and is unchanged since its download."""
    known = _read_record(place).get("sha256")
    return known is not None and sha256 in (None, known) and place.is_file() and pooch.file_hash(place) == known


@contextlib.contextmanager
def _locked(place, root=None):
    """Lock the file while it is written or removed, and explain errors of the disk."""
    from filelock import FileLock

    locks = place.parent / ".locks"
    try:
        # In a shared cache, another user could plant a link that redirects writes elsewhere.
        if not locks.resolve().is_relative_to(Path(root or cache_dir()).resolve()):
            raise ArchiveError(f"a link leads out of the cache, from {locks.parent}; remove the link")
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{place.name}.lock"):  # the system frees it when a process dies
            for left in place.parent.glob(f".{glob.escape(place.name)}-????????{_PART}"):  # by a killed process
                shutil.rmtree(left, ignore_errors=True)
            yield
    except ArchiveError:
        raise
    except OSError as error:
        raise ArchiveError(
            f"cannot write to the cache, {place.parent} ({error.strerror or error}): make room "
            "there, or name another folder in setting:cache_dir"
        ) from error


# Fetching


def _fetch(place, path, root, bring, sha256=None, *, refresh=False):
    """Store a file in its place, with its record."""
    with _locked(place, root):
        if not refresh and _is_sound(place, sha256):  # another process was faster
            return
        if place.exists() and not refresh:
            warnings.warn(f"{place} is damaged or was changed, and is fetched again", AstropyUserWarning,
                          stacklevel=4)
        # The name is random and the folder private, so that no other user can write to it.
        with tempfile.TemporaryDirectory(prefix=f".{place.name}-", suffix=_PART, dir=place.parent,
                                         ignore_cleanup_errors=True) as private:
            new = _download(path, private, bring, sha256)
            record = _record_of(new)
            record.write_text(json.dumps({"url": transport.file_url(path), "sha256": pooch.file_hash(new),
                                          "fetched": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}))
            # After a kill in between, the two disagree and the file is fetched again.  Links are not followed.
            os.replace(new, place)
            os.replace(record, _record_of(place))


def _download(path, private, bring, sha256):
    """Download a file into a private folder with pooch, which retries failed downloads, and check it."""
    from requests.exceptions import RequestException

    url, name, seconds = transport.file_url(path), PurePosixPath(path).name or "its list", conf.archive_total_time
    given_up = threading.Event()

    def failure(error, attempts):
        return ArchiveError(
            f"{name} did not come from {urlsplit(url).netloc} in {attempts} attempt{'s' * (attempts > 1)} "
            f"({_why(error)}). Check the network or try again later; files in 'clusterpost cache list' need no network"
        )

    def attempt(_, output, __):
        if given_up.is_set():
            raise TimeoutError
        output = Path(output)
        output.unlink()  # pooch's file is readable by its owner only, and a group may share the cache
        try:
            bring(path, output, given_up)
        except RequestException as error:
            if isinstance(_cause(error), socket.gaierror):  # without a network, a retry is pointless
                raise failure(error, 1) from error
            raise
        _check_new(output, path, sha256)

    files = pooch.Pooch(private, base_url="", registry={name: None}, urls={name: url},
                        retry_if_failed=conf.archive_retries)
    pooch.get_logger().addFilter(_is_of_others)
    try:
        return Path(_within(seconds, lambda: files.fetch(name, downloader=attempt)))
    except TimeoutError:
        raise ArchiveError(f"{url} did not come within {seconds:g} s; try again later, or raise "
                           "setting:archive_total_time") from None
    except (RequestException, ValueError) as error:  # pooch retries these
        raise failure(error, conf.archive_retries + 1) from error
    finally:
        given_up.set()


def _check_new(file, path, sha256):
    """Raise for an invalid new file, which pooch would download again and again."""
    url = transport.file_url(path)
    if fault := fault_of(file, PurePosixPath(path).name, largest=conf.archive_max_size * 1e6):
        raise ArchiveError(f"{url}: {fault}; nothing was kept. Try again later")
    if sha256 not in (None, found := pooch.file_hash(file)):
        raise ArchiveError(
            f"{url} is not the expected file: its sha256 is {found} and not {sha256}. If the archive has a new "
            f"version, update clusterpost; from Python, clusterpost.catalogs.archive.fetch_file gets "
            f"{path} without this check"
        )


def _is_of_others(message):
    """Suppress pooch's messages on standard error, which would disturb a progress bar."""
    return message.threadName != _THREAD


def _within(seconds, work):
    """Run a function with a time limit, and abandon its thread if it takes longer."""
    future = Future()

    def run():
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=_THREAD, daemon=True).start()
    return future.result(timeout=seconds)


def _why(error):
    """Return in a few words why a request failed; urllib3's messages have hundreds of characters."""
    from requests.exceptions import ChunkedEncodingError, HTTPError, Timeout

    if isinstance(error, HTTPError):
        return f"status {error.response.status_code} {error.response.reason}"
    if isinstance(error, Timeout):
        return f"no answer within {conf.archive_timeout:g} s"
    if isinstance(error, ChunkedEncodingError):
        return "the connection ended before the file did"
    cause = _cause(error)
    return str(getattr(cause, "strerror", None) or cause)[:100]


def _cause(error):
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error
