"""Files of the archive, kept in a cache that serves only what is whole.

Beside each file lies a record of its length and sha256, and both are checked
whenever the file is used: a file that does not agree is fetched again.  A new
file appears at once and complete, and is taken only if it is as long as the
server says, ends as a file of its kind does, and has the sha256 known of it,
where one is.  A lock keeps processes apart that want the same file.  What the
cache has needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
import warnings
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from ..config import conf
from ..errors import ArchiveError
from . import transport
from .integrity import fault_of, wrong_start

__all__ = ["cache_dir", "clear_cache", "fetch_file", "known_listing", "list_cache", "list_folder",
           "verify_cache"]

_RECORD, _PART, _LISTING = ".record.json", ".part", ".listing"


def cache_dir() -> Path:
    """The folder of the downloaded files.

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


def fetch_file(path, *, sha256=None, folder=None) -> Path:
    """A file of the archive, from the cache or, where that has it not, from the network.

    Parameters
    ----------
    path : str
        Below ``clusterpost.conf.archive_url``, such as
        ``dr4/hlsp_phangs-cat_hst_multi_all_multi_v1_readme.txt``.
    sha256 : str, optional
        That it must have.
    folder : path, optional
        Of the cache, by default `cache_dir`.

    Returns
    -------
    `~pathlib.Path`
        Where it lies.

    Raises
    ------
    ArchiveError
        If the file is not in the archive, does not come, is not what it should
        be, or cannot be written.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import fetch_file
    >>> fetch_file("dr4/hlsp_phangs-cat_hst_multi_all_multi_v1_readme.txt").read_text()  # doctest: +SKIP
    """
    place = _place(path, folder)
    if _is_sound(place, sha256):
        return place
    with _lock(place):
        if _is_sound(place, sha256):  # another process was faster
            return place
        if place.exists():
            warnings.warn(f"{place} is damaged or was changed, and is fetched anew", AstropyUserWarning, stacklevel=2)
        _fetch(path, place, sha256)
    return place


def list_folder(path, *, folder=None, refresh=False) -> list[str]:
    """What a folder of the archive holds, as far as it is known or else by asking.

    Parameters
    ----------
    path : str
        Below ``clusterpost.conf.archive_url``.
    folder : path, optional
        Of the cache.
    refresh : bool
        Ask the archive again.

    Returns
    -------
    list of str
        Names; those of folders end in ``/``.

    Raises
    ------
    ArchiveError
        If there is no such folder or the archive does not tell.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import list_folder
    >>> list_folder("dr5")  # doctest: +SKIP
    """
    if not refresh and (names := known_listing(path, folder=folder)) is not None:
        return names
    place = _place(path, folder) / _LISTING
    names = transport.listing(path)
    with _lock(place), transport.writing(place.parent):
        part = _beside(place, _PART)
        part.write_text(json.dumps(names))
        _accept(path, part, place, _sha256(part))
    return names


def known_listing(path, *, folder=None) -> list[str] | None:
    """What `list_folder` answered last, without asking.

    Parameters
    ----------
    path : str
    folder : path, optional
        Of the cache.

    Returns
    -------
    list of str or None
        None if it was never asked.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import known_listing
    >>> known_listing("no/such/folder") is None
    True
    """
    place = _place(path, folder) / _LISTING
    return json.loads(place.read_text()) if _is_sound(place) else None


def list_cache() -> Table:
    """What the cache holds.

    Returns
    -------
    `~astropy.table.Table`
        ``file`` (below `cache_dir`), ``size`` in bytes, ``fetched`` (UTC) and
        ``url``; those of an unfinished download have the size so far.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import list_cache
    >>> list_cache().colnames
    ['file', 'size', 'fetched', 'url']
    """
    rows = []
    for place in _files():
        record = _read_record(place)
        size = place.stat().st_size if place.exists() else _beside(place, _PART).stat().st_size
        rows.append((_name(place), size, record.get("fetched", "unfinished"), record.get("url", "")))
    return Table(rows=rows or None, names=["file", "size", "fetched", "url"], dtype=[str, int, str, str])


def verify_cache() -> Table:
    """Check every file of the cache against its record.

    Returns
    -------
    `~astropy.table.Table`
        ``file``, and ``state``: ``whole``, ``damaged`` or ``unfinished``.
        A damaged file is fetched anew when it is next asked for.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import verify_cache
    >>> set(verify_cache()["state"]) <= {"whole", "damaged", "unfinished"}
    True
    """
    rows = []
    for place in _files():
        state = "unfinished" if not place.exists() else "whole" if _is_sound(place) else "damaged"
        rows.append((_name(place), state))
    return Table(rows=rows or None, names=["file", "state"], dtype=[str, str])


def clear_cache() -> int:
    """Remove the downloaded files, and nothing else that may lie in `cache_dir`.

    Returns
    -------
    int
        Number of files removed.

    Raises
    ------
    ArchiveError
        If one cannot be removed.

    Examples
    --------
    >>> from clusterpost.catalogs.archive import clear_cache
    >>> clear_cache()  # doctest: +SKIP
    """
    places = _files()
    for place in places:
        part = _beside(place, _PART)
        with _lock(place), transport.writing(place.parent):
            for file in (place, _beside(place, _RECORD), part, _beside(part, ".json")):
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # as long as one is empty
            for above in place.parents:
                if above == cache_dir():
                    break
                above.rmdir()
    return len(places)


# Places and records


def _place(path, folder):
    path = PurePosixPath(path)
    if path.is_absolute() or ".." in path.parts:
        raise ArchiveError(f"{path} is not below the archive's root")
    server = urlsplit(conf.archive_url)
    host = re.sub(r"[^\w.-]", "_", server.netloc or "local")
    return Path(folder or cache_dir()).joinpath(host, *PurePosixPath(server.path.strip("/")).parts, *path.parts)


def _beside(place, suffix):
    return place.with_name(f"{place.name}{suffix}")


def _name(place):
    return place.relative_to(cache_dir()).as_posix()


def _files():
    """Every file that was fetched or begun, there or not."""
    found = set()
    for suffix in (_RECORD, _PART):
        found |= {file.with_name(file.name.removesuffix(suffix)) for file in cache_dir().rglob(f"*{suffix}")}
    return sorted(found)


def _read_record(place):
    try:
        record = json.loads(_beside(place, _RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_sound(place, sha256=None):
    """Whether the file is there and as it was when it was taken."""
    record = _read_record(place)
    try:
        if not record or place.stat().st_size != record.get("length"):
            return False
        found = _sha256(place)
    except OSError:
        return False
    return found == record.get("sha256") and sha256 in (None, found)


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _lock(place):
    """Keep other processes out while the file is made."""
    from filelock import FileLock

    locks = place.parent / ".locks"
    with transport.writing(place.parent):
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(locks / f"{place.name}.lock")
        lock.acquire()  # the system frees it when a process dies
    try:
        yield
    finally:
        lock.release()


# Fetching


def _fetch(path, place, sha256):
    part = _beside(place, _PART)

    def drop():
        for file in (part, _beside(part, ".json")):
            file.unlink(missing_ok=True)

    def refuse(start):
        if reason := wrong_start(place.name, start):
            drop()
            raise ArchiveError(f"{transport.file_url(path)}: {reason}; nothing was kept. Try again later")

    transport.download(path, part, refuse)
    found = _sha256(part)
    try:
        if sha256 not in (None, found):
            raise ArchiveError(
                f"{transport.file_url(path)} is not the file that is known: its sha256 is {found} and not {sha256}. "
                "If the archive has a new version, a newer clusterpost may know it; "
                f"clusterpost.catalogs.archive.fetch_file({path!r}) gets it without this check"
            )
        if reason := fault_of(part, place.name):
            raise ArchiveError(f"{transport.file_url(path)} is corrupt as the server sent it ({reason}); nothing was "
                               "kept. Try again later")
    except ArchiveError:
        drop()
        raise
    with transport.writing(place.parent):
        _accept(path, part, place, found)
        drop()


def _accept(path, part, place, sha256):
    """Move a file that was found good into its place, with its record."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    record = {"url": transport.file_url(path), "length": part.stat().st_size, "sha256": sha256,
              "fetched": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    fresh = _beside(place, f"{_RECORD}.new")
    fresh.write_text(json.dumps(record, indent=1))
    # Killed in between, the two disagree, and the file is fetched again.
    os.replace(part, place)
    os.replace(fresh, _beside(place, _RECORD))
