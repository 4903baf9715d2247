"""Two methods of download from the archive: HTTPS with pooch, and astroquery's MAST."""

from __future__ import annotations

import contextlib
import functools
import html
import re
from pathlib import Path
from threading import Event
from urllib.parse import quote, unquote, urljoin, urlsplit

from ..config import conf
from ..errors import ArchiveError
from ..utils import require

__all__ = ["NotInArchive", "download", "file_url", "folder_names"]

_CHUNK = 1 << 16
_LONGEST_PAGE = 4 << 20
_MAST_ROOT = "mast:HLSP/phangs-cat/"
_COLLECTION = "PHANGS-CAT"


class NotInArchive(ArchiveError):
    """The archive has no file or folder of that name."""


def file_url(path: str) -> str:
    """Return the address of a file below the archive's root.

    Examples
    --------
    >>> from clusterpost.catalogs.transport import file_url
    >>> file_url("dr5/a+b.fits")  # a plain + would be taken for a space
    'https://archive.stsci.edu/hlsps/phangs-cat/dr5/a%2Bb.fits'
    """
    root = urlsplit(conf.archive_url)
    if root.scheme not in ("http", "https") or not root.netloc:
        raise ArchiveError(f"setting:archive_url = {conf.archive_url!r} is not the address of a web server")
    return f"{conf.archive_url.rstrip('/')}/{quote(path)}"


def download(path: str, output: Path, given_up: Event) -> None:
    """Make one attempt to download a file, until it is abandoned.

    Raises `ArchiveError` if a retry is pointless, and an exception of requests otherwise.
    """
    if conf.archive_method == "https":
        _download_https(path, output, given_up)
    else:
        _download_mast(path, output)


def folder_names(path: str, output: Path, given_up: Event) -> list[str]:
    """Return the sorted names in a folder, those of folders ending in ``/``; raise as `download`."""
    if conf.archive_method == "https":
        _download_https(path, output, given_up)
        if output.stat().st_size > _LONGEST_PAGE:
            raise ArchiveError(f"the archive's list of the folder {path} is too long for a list of files")
        names, other = _linked_names(output.read_text("utf-8", errors="replace"), file_url(path)), "astroquery"
    else:
        names, other = _mast_names(path), "https"
    if not names:
        raise ArchiveError(f"the archive does not list the folder {path}; try setting:archive_method = "
                           f"{other!r}")
    return sorted(names)


# HTTPS


class _BoundedWriter:
    """File for pooch with a limited size, writable until the download is abandoned."""

    def __init__(self, file, url, given_up):
        self.file, self.url, self.given_up, self.flush = file, url, given_up, file.flush

    def write(self, data):
        _check_size(self.file.tell() + len(data), self.url)
        if self.given_up.is_set():
            raise TimeoutError
        self.file.write(data)


def _download_https(path, output, given_up):
    import pooch

    from .. import __version__

    # With compression in transfer, the announced length would not be that of the file.
    headers = {"User-Agent": f"clusterpost/{__version__}", "Accept-Encoding": "identity"}
    with output.open("xb") as file, contextlib.ExitStack() as answers:
        bring = pooch.HTTPDownloader(chunk_size=_CHUNK, timeout=conf.archive_timeout, headers=headers,
                                     hooks={"response": functools.partial(_check_answer, answers=answers)})
        bring(file_url(path), _BoundedWriter(file, file_url(path), given_up), None)


def _check_answer(response, *, answers, **_):
    """Raise for responses that are not files; requests calls this for every response, including redirects."""
    answers.callback(response.close)
    _check_server(response)
    url, status, headers = response.url, response.status_code, response.headers
    if response.is_redirect or status == 429 or status >= 500:  # pooch tries the latter again
        response.close()  # unread, because the body may be endless
    elif status in (404, 410):
        raise NotInArchive(f"{url} is not in the archive (status {status})")
    elif status != 200:
        raise ArchiveError(f"the archive refuses {url} (status {status} {response.reason})")
    elif not (headers.get("Content-Length", "").isdecimal()
              or "chunked" in headers.get("Transfer-Encoding", "").lower()):
        raise ArchiveError(f"{url}: the server does not say how long the file is, so its completeness is unknown")
    elif headers.get("Content-Encoding", "identity") != "identity":
        if not urlsplit(url).path.endswith(".gz"):
            raise ArchiveError(f"{url}: the server sends something compressed instead of the file")
        del response.raw.headers["Content-Encoding"]  # requests would decode .gz as an encoding


def _check_server(response, **_):
    """Raise for redirects to unlisted servers, and for files announced as too large."""
    if response.is_redirect:
        to, home = urlsplit(urljoin(response.url, response.headers["Location"])), urlsplit(conf.archive_url)
        if to.scheme not in ("https", home.scheme) or to.netloc not in (home.netloc, *conf.archive_hosts):
            raise ArchiveError(f"the archive sends {response.url} on to {to.scheme}://{to.netloc}, which is not https "
                               "to one of setting:archive_hosts")
    length = response.headers.get("Content-Length", "")
    _check_size(int(length) if length.isdecimal() else 0, response.url)


def _check_size(size, what):
    if size > conf.archive_max_size * 1e6:
        raise ArchiveError(f"{what} is larger than {conf.archive_max_size:g} MB; setting:archive_max_size "
                           "allows more")


def _linked_names(page, url):
    """Return the names that a server-generated index page links to in the folder."""
    links = re.findall(r"<a\s[^<>]*?href\s*=\s*[\"']([^\"']*)", page, re.IGNORECASE)
    paths = {urlsplit(urljoin(url, html.unescape(link))).path for link in links}
    names = {unquote(path.removeprefix(urlsplit(url).path)) for path in paths}
    return {name for name in names if name.strip("/") and "/" not in name[:-1]}


# astroquery


def _observations():
    """Return MAST's service with a time limit, which astroquery does not set for downloads."""
    from requests.adapters import HTTPAdapter

    class Limited(HTTPAdapter):
        def send(self, request, **options):
            return super().send(request, **options | {"timeout": options.get("timeout") or conf.archive_timeout})

    service = require("astroquery.mast", "archive").ObservationsClass()
    service._session.mount("https://", Limited())
    service._session.mount("http://", Limited())
    service._session.hooks["response"].append(_check_server)
    return service


def _download_mast(path, output):
    from requests.exceptions import ConnectionError

    # astroquery's own cache keeps damaged files (astroquery issue 3231).
    status, message, _ = _observations().download_file(
        f"{_MAST_ROOT}{path}", local_path=str(output), cache=False, verbose=False)
    if "404" in str(message):
        raise NotInArchive(f"MAST has no {_MAST_ROOT}{path}: {message}")
    if status != "COMPLETE" or not output.exists():
        raise ConnectionError(f"MAST answered {status}: {message}")
    _check_size(output.stat().st_size, path)


def _mast_names(folder):
    service = _observations()
    found = service.query_criteria(obs_collection="HLSP", provenance_name=_COLLECTION)
    products = service.get_unique_product_list(found) if len(found) else ()
    if not len(products):
        raise ArchiveError(f"MAST knows no products of the collection {_COLLECTION}; "
                           "try setting:archive_method = 'https'")
    root = f"{_MAST_ROOT}{folder}".lower()
    below = [uri[len(root):] for uri in map(str, products["dataURI"]) if uri.lower().startswith(root)]
    if not below:
        raise NotInArchive(f"MAST has nothing in {_MAST_ROOT}{folder}")
    return {f"{first}/" if slash else first for first, slash, _ in (name.partition("/") for name in below)}
