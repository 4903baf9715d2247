"""Whether a file is what its name says, and whole; unpacking what is."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
import warnings
import zlib
from pathlib import PurePosixPath

from ..errors import ArchiveError

__all__ = ["fault_of", "read_bundle", "wrong_start"]

_MAGIC = {".fits": b"SIMPLE  =", ".gz": b"\x1f\x8b"}
_BLOCK = 2880  # every FITS file is a multiple of this many bytes


def wrong_start(name, start):
    """Why a file cannot begin like this.

    Parameters
    ----------
    name : str
        Of the file.
    start : bytes
        Its first bytes, few or many.

    Returns
    -------
    str or None
        None if it can.

    Examples
    --------
    >>> from clusterpost.catalogs.integrity import wrong_start
    >>> wrong_start("a.fits", b"<html>")
    'the server sent a web page instead of a.fits'
    """
    magic = _MAGIC.get(PurePosixPath(name).suffix, b"")
    page = start.lstrip().lower().startswith((b"<!doctype", b"<html"))
    if start[: len(magic)] == magic[: len(start)] and not page:
        return None
    what = "a web page" if page else f"something that begins with {start[:12]!r}"
    return f"the server sent {what} instead of {name}"


def fault_of(path, name):
    """Why a file is not whole; its length may be as announced, and it yet be a part of one.

    Parameters
    ----------
    path : `~pathlib.Path`
    name : str
        That tells its kind: FITS, gzip and tar files are checked.

    Returns
    -------
    str or None
        None if nothing is wrong.
    """
    suffixes = PurePosixPath(name).suffixes
    if suffixes[-1:] == [".fits"]:
        return _fits_fault(path)
    if suffixes[-1:] != [".gz"]:
        return None
    try:
        with gzip.open(path) as file:  # to its end, where the checksum is
            while file.read(1 << 20):
                pass
        if ".tar" in suffixes:
            read_bundle(path, lambda _: False)
    except (OSError, EOFError, zlib.error) as error:
        return str(error)
    return None


def read_bundle(path, wanted) -> dict[str, bytes]:
    """The files of a tar archive that are wanted, unpacked in memory.

    Parameters
    ----------
    path : path
    wanted : callable
        Given the name of a file without its folders, whether to unpack it.

    Returns
    -------
    dict
        Contents by that name.

    Raises
    ------
    ArchiveError
        If the archive is corrupt, if a member leads out of the folder that it
        would be unpacked in, or if two wanted ones have the same name.  Links,
        devices and the like are not unpacked.

    Examples
    --------
    >>> from clusterpost.catalogs.integrity import read_bundle
    >>> read_bundle("cats.tar.gz", lambda name: name.endswith(".fits"))  # doctest: +SKIP
    """
    found = {}
    with _reading_tar(path) as tar:
        for member in tar:
            _check_member(member, path)
            name = PurePosixPath(member.name).name
            # macOS adds ._ files, which hold no data
            if not member.isreg() or name.startswith("._") or not wanted(name):
                continue
            if name in found:
                raise ArchiveError(f"{path} has two files called {name}")
            found[name] = tar.extractfile(member).read()
    return found


def _fits_fault(part):
    from astropy.io import fits

    size = part.stat().st_size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(part, memmap=False) as hdus:
                info = [hdu.fileinfo() for hdu in hdus]
    except Exception as error:  # astropy raises many kinds
        return f"{type(error).__name__}: {error}"
    end = info[-1]["datLoc"] + info[-1]["datSpan"]
    return f"{size} bytes of {end}" if size < end or size % _BLOCK else None


@contextlib.contextmanager
def _reading_tar(path):
    try:
        with tarfile.open(path, "r:*") as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"{path} is no sound tar archive ({error}); clusterpost cache clear, then fetch it again"
                           ) from error


def _check_member(member, path):
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise ArchiveError(f"{path} has a member {member.name!r}, which leads out of its folder; nothing was unpacked")
    if member.isreg():
        tarfile.data_filter(member, "/unpacked")  # what Python itself holds unsafe
