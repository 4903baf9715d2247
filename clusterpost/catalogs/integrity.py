"""Check that a downloaded file is complete and of the type that its name says, and unpack it."""

from __future__ import annotations

import gzip
import tarfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import ArchiveError

if TYPE_CHECKING:
    from ..typing import PathLike

__all__ = ["fault_of", "read_bundle"]

_MAGIC = {".fits": b"SIMPLE  =", ".gz": b"\x1f\x8b"}
_BLOCK = 2880  # every FITS file is a multiple of this many bytes


def fault_of(path: Path, name: str, *, largest: float = float("inf")) -> str | None:
    """Return why a downloaded file is invalid, or None if it is valid.

    Parameters
    ----------
    path : `~pathlib.Path`
    name : str
        File name in the archive.  FITS, gzip and tar files are read to the end, because the announced length of an
        incomplete download can match.
    largest : float
        Largest unpacked size of a compressed file, in bytes.

    Returns
    -------
    str or None
    """
    suffixes = PurePosixPath(name).suffixes
    with path.open("rb") as file:
        start = file.read(512)
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return f"the server sent a web page instead of {name}"
    if not start.startswith(_MAGIC.get(suffixes[-1], b"") if suffixes else b""):
        return f"the server sent something that begins with {start[:12]!r} instead of {name}"
    if not start:
        return f"the server sent nothing instead of {name}"
    fault = None
    if suffixes[-1:] == [".fits"]:
        fault = _fits_fault(path)
    elif suffixes[-1:] == [".gz"]:
        fault = _gzip_fault(path, largest, is_tar=".tar" in suffixes)
    return fault and f"corrupt as the server sent it ({fault})"


def read_bundle(path: PathLike, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Unpack files of a tar archive in memory.

    Parameters
    ----------
    path : path
    wanted : callable
        Function that takes a file name without folders and returns whether to unpack it.

    Returns
    -------
    dict
        Contents by file name.

    Raises
    ------
    ArchiveError
        If the archive is corrupt, if the path of a member leads out of the
        target folder, or if two wanted files have the same name.  Links,
        devices and the like are not unpacked.

    Examples
    --------
    >>> from clusterpost.catalogs.integrity import read_bundle
    >>> read_bundle("cats.tar.gz", lambda name: name.endswith(".fits"))  # doctest: +SKIP
    """
    found = {}
    try:
        with tarfile.open(path, "r:*") as tar:
            for member in tar:
                _check_member(member, path)
                name = PurePosixPath(member.name).name
                # macOS adds ._ files, which hold no data
                if not member.isreg() or name.startswith("._") or not wanted(name):
                    continue
                if name in found:
                    raise ArchiveError(f"{path} has two files called {name}")
                found[name] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"{path} is not a valid tar archive ({error}); clusterpost cache clear, then fetch it again"
                           ) from error
    return found


def _gzip_fault(path, largest, *, is_tar):
    size = 0
    try:
        with gzip.open(path) as file:  # to its end, where the checksum is
            while data := file.read(1 << 20):
                size += len(data)
                if size > largest:
                    return f"more than {largest / 1e6:g} MB when unpacked"
        if is_tar:
            read_bundle(path, lambda _: False)
    except (OSError, EOFError, zlib.error) as error:
        return str(error)
    return None


def _fits_fault(path):
    from astropy.io import fits

    size = path.stat().st_size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False) as hdus:
                info = [hdu.fileinfo() for hdu in hdus]
    except Exception as error:  # astropy raises many kinds of errors
        return f"{type(error).__name__}: {error}"
    end = info[-1]["datLoc"] + info[-1]["datSpan"]
    return f"{size} bytes of {end}" if size < end or size % _BLOCK else None


def _check_member(member, path):
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise ArchiveError(f"{path} has a member {member.name!r}, which leads out of its folder; nothing was unpacked")
    if member.isreg():
        tarfile.data_filter(member, "/unpacked")  # Python's own safety checks
