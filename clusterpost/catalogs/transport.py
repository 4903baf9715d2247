"""The two ways from the archive to a file on disk: plain HTTPS, and astroquery's MAST.

A partial file, ``<name>.part``, outlives an interruption; over HTTPS the next
attempt goes on where it ends, if the file on the server is still the same.
Whether what arrived is whole is for `clusterpost.catalogs.archive` to judge.
"""

from __future__ import annotations

import contextlib
import json
import time
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit

from ..config import conf
from ..errors import ArchiveError

__all__ = ["NotInArchive", "download", "file_url", "listing", "writing"]

_FIRST_WAIT = 1.0  # seconds before the first repetition, doubled for each further one
_CHUNK = 1 << 14  # also the most that an interruption loses
_COLLECTION = "PHANGS-CAT"
_MAST_ROOT = "mast:HLSP/phangs-cat/"


class NotInArchive(ArchiveError):
    """The archive has no file or folder of that name."""


class _Unfinished(Exception):
    """Worth another attempt."""


def file_url(path) -> str:
    """The address of a file of the archive.

    Parameters
    ----------
    path : str
        Below the archive's root.

    Returns
    -------
    str
        With ``+`` as ``%2B``, which the archive insists on.

    Examples
    --------
    >>> from clusterpost.catalogs.transport import file_url
    >>> file_url("dr5/a+b.fits")
    'https://archive.stsci.edu/hlsps/phangs-cat/dr5/a%2Bb.fits'
    """
    return f"{conf.archive_url.rstrip('/')}/{quote(path)}"


def download(path, part, refuse):
    """Bring a file of the archive, as `clusterpost.conf` says.

    Parameters
    ----------
    path : str
        Below the archive's root.
    part : `~pathlib.Path`
        Where to; what an interrupted download left there is gone on with.
    refuse : callable
        Given the first bytes of the file, it raises if they cannot be those of such a file.

    Raises
    ------
    NotInArchive
        If there is no such file.
    ArchiveError
        If it does not come, after the repetitions of ``conf.archive_retries``.
    """
    attempt = _mast_file if conf.archive_method == "astroquery" else _https_file
    _repeat(lambda: attempt(path, part, refuse), path)


def listing(folder) -> list[str]:
    """The names in a folder of the archive, those of folders ending in ``/``.

    Parameters
    ----------
    folder : str
        Below the archive's root.

    Returns
    -------
    list of str

    Raises
    ------
    NotInArchive
        If there is no such folder.
    ArchiveError
        If the archive does not tell.
    """
    folder = f"{folder.strip('/')}/".lstrip("/")  # nothing, for the root
    names = _repeat(lambda: (_mast_names if conf.archive_method == "astroquery" else _https_names)(folder), folder)
    if not names:
        other = "https" if conf.archive_method == "astroquery" else "astroquery"
        raise ArchiveError(f"the archive does not list the folder {folder}; try clusterpost.conf.archive_method = "
                           f"{other!r}")
    return sorted(names)


@contextlib.contextmanager
def writing(folder):
    """Turn what the file system complains of into an `ArchiveError` with the remedy.

    Parameters
    ----------
    folder : path
        That is written to.
    """
    try:
        yield
    except ArchiveError:
        raise
    except OSError as error:
        raise ArchiveError(
            f"cannot write to the cache, {folder} ({error.strerror or error}): make room there, name another folder in "
            "clusterpost.conf.cache_dir, or pass cache=False to keep nothing"
        ) from error


def _repeat(attempt, path):
    for number in range(conf.archive_retries + 1):
        if number:
            time.sleep(min(_FIRST_WAIT * 2 ** (number - 1), 60))
        try:
            return attempt()
        except _Unfinished as error:
            reason = error
    raise ArchiveError(
        f"{file_url(path)} did not come in {conf.archive_retries + 1} attempts, the last one: {reason}. Try again "
        "later (what came is kept), or raise clusterpost.conf.archive_timeout and archive_retries"
    )


# Plain HTTPS


@contextlib.contextmanager
def _answer(path, **headers):
    import requests
    import urllib3

    from .. import __version__

    # Compressed on the way, the length would not be that of the file.
    headers = {"User-Agent": f"clusterpost/{__version__}", "Accept-Encoding": "identity", **headers}
    url = file_url(path)
    try:
        with requests.get(url, headers=headers, stream=True, timeout=conf.archive_timeout) as response:
            _check_status(response, url)
            yield response
    except ArchiveError:  # which is an OSError, as those of requests are
        raise
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema) as error:
        raise ArchiveError(f"clusterpost.conf.archive_url = {conf.archive_url!r} is no address: {error}") from error
    except requests.exceptions.Timeout:
        raise _Unfinished(f"no answer within {conf.archive_timeout:g} s") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Unfinished(f"{type(error).__name__}: {error}") from error


def _check_status(response, url):
    status = response.status_code
    if status in (404, 410):
        raise NotInArchive(f"{url} is not in the archive (status {status})")
    if status == 429 or status >= 500:
        raise _Unfinished(f"status {status} {response.reason}")
    if status >= 400 and status != 416:
        raise ArchiveError(f"the archive refuses {url} (status {status} {response.reason})")


def _https_file(path, part, refuse):
    record = part.with_name(f"{part.name}.json")
    start, validator = _resumable(part, record)
    conditions = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
    with _answer(path, **conditions) as response:
        if response.status_code == 416 or (response.status_code == 206 and _first_byte(response) != start):
            part.unlink(missing_ok=True)
            raise _Unfinished("the server could not go on where the last attempt ended")
        append = response.status_code == 206
        length = _length(response, start if append else 0)
        with writing(part.parent):
            if not append:
                part.unlink(missing_ok=True)
                record.write_text(json.dumps(_validator(response)))
            file = part.open("ab" if append else "wb", buffering=0)
        with file:
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                if file.tell() == 0:
                    refuse(chunk)
                with writing(part.parent):
                    while chunk:  # an unbuffered write may take a part only
                        chunk = chunk[file.write(chunk):]
            size = file.tell()
    if length is not None and size != length:
        if size > length:
            part.unlink()
        raise _Unfinished(f"{size} of {length} bytes came")


def _resumable(part, record):
    """Where to go on, and what tells the server which file that was."""
    try:
        validator = json.loads(record.read_text())
        size = part.stat().st_size
    except (OSError, ValueError):
        return 0, None
    return (size, validator) if isinstance(validator, str) else (0, None)


def _validator(response):
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _first_byte(response):
    span = response.headers.get("Content-Range", "")
    try:
        return int(span.removeprefix("bytes ").partition("-")[0])
    except ValueError:
        return None


def _length(response, start):
    """Of the whole file; None for a chunked answer, whose end is marked otherwise."""
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit():
        return start + int(declared)
    if "chunked" in response.headers.get("Transfer-Encoding", "").lower():
        return None
    raise ArchiveError(f"{response.url}: the server does not say how long the file is, so that it cannot be told whole")


class _Links(HTMLParser):
    """The addresses that a page links to."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.found += [value for name, value in attributes if name == "href" and value]


def _https_names(folder):
    """What a page of the server's own making links to, as far as it lies in the folder."""
    with _answer(folder) as response:
        url, page = response.url, response.content.decode("utf-8", "replace")
    links = _Links()
    links.feed(page)
    base = urlsplit(url).path
    names = set()
    for link in links.found:
        below = urlsplit(urljoin(url, link)).path.removeprefix(base)
        if below and "/" not in below[:-1] and not below.startswith("/"):
            names.add(unquote(below))
    return names


# astroquery


def _observations():
    """MAST's service, with a time limit, which astroquery sets for no download."""
    from astroquery.mast import ObservationsClass
    from requests.adapters import HTTPAdapter

    class Limited(HTTPAdapter):
        def send(self, request, **options):
            return super().send(request, **options | {"timeout": options.get("timeout") or conf.archive_timeout})

    service = ObservationsClass()
    for scheme in ("https://", "http://"):
        service._session.mount(scheme, Limited())
    return service


def _mast_file(path, part, refuse):
    import requests

    with writing(part.parent):
        part.unlink(missing_ok=True)
        part.touch()  # complain of the disk as such, and not of the service
        part.unlink()
    try:
        # Its own cache keeps damaged files (astroquery issue 3231).
        status, message, _ = _observations().download_file(
            f"{_MAST_ROOT}{path}", local_path=str(part), cache=False, verbose=False)
    except requests.exceptions.RequestException as error:
        raise _Unfinished(f"{type(error).__name__}: {error}") from error
    except OSError as error:
        with writing(part.parent):
            raise error
    if "404" in str(message):
        raise NotInArchive(f"MAST has no {_MAST_ROOT}{path}: {message}")
    if status != "COMPLETE" or not part.exists():
        raise _Unfinished(f"MAST answered {status}: {message}")
    with part.open("rb") as file:
        refuse(file.read(_CHUNK))


def _mast_names(folder):
    import requests

    service = _observations()
    try:
        found = service.query_criteria(obs_collection="HLSP", provenance_name=_COLLECTION)
        products = service.get_unique_product_list(found) if len(found) else ()
    except requests.exceptions.RequestException as error:
        raise _Unfinished(f"{type(error).__name__}: {error}") from error
    if not len(products):
        raise ArchiveError(f"MAST knows no products of the collection {_COLLECTION}; "
                           "try clusterpost.conf.archive_method = 'https'")
    root = f"{_MAST_ROOT}{folder}".lower()
    below = [uri[len(root):] for uri in map(str, products["dataURI"]) if uri.lower().startswith(root)]
    if not below:
        raise NotInArchive(f"MAST has nothing in {_MAST_ROOT}{folder}")
    return {f"{first}/" if slash else first for first, slash, _ in (name.partition("/") for name in below)}
