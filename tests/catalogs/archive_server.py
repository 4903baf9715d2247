"""An archive of the layout of the PHANGS catalogs, made of simulated clusters, and a server that can misbehave.

Used by the tests, and by the documentation, whose pages run against it.
"""

import contextlib
import functools
import gzip
import html
import io
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from astropy.table import vstack

import clusterpost
from clusterpost.catalogs.distances import galaxy_distance

_NGC = (628, 685, 1087, 1097, 1300, 1317, 1365, 1385, 1433, 1512, 1559, 1566, 1672, 1792, 2775, 2835, 2903, 3351, 3621,
        3627, 4254, 4298, 4303, 4321, 4535, 4536, 4548, 4569, 4571, 4654, 4689, 4826, 5068, 5248, 6744, 7496)
TARGETS = ("ic1954", "ic5332", "ngc0628c", "ngc0628e", *(f"ngc{number:04d}" for number in _NGC[1:]))
ACS = ("ngc0628c", "ngc0628e", "ngc1300", "ngc1672", "ngc3621")
# Human class 1 and 2 in DR4 where they are published; for the others any small numbers.
COUNTS = {"ngc1433": (90, 104), "ngc1559": (419, 303), "ngc1566": (393, 291), "ngc3351": (140, 177),
          "ngc3627": (462, 312)} | {"ngc0628c": (7, 5)}
DR3 = ("ngc1433", "ngc1559", "ngc1566", "ngc3351", "ngc3627")
BUNDLE = "dr4/bundles/hlsp_phangs-cat_hst_acs-uvis_{}_multi_v1_cats.tar.gz"
PRIMARY = "dr5/hlsp_phangs-cat_hst_acs-uvis_dr5-targets_v1_{}-class{}-primary.fits"
SEEN = {"human": "PHANGS_CLUSTER_CLASS_HUMAN", "machine": "PHANGS_CLUSTER_CLASS_ML_VGG"}


def counts(target):
    number = TARGETS.index(target)
    return COUNTS.get(target, (2 + number % 4, 1 + number % 3))


@functools.cache
def _example():
    tbl = clusterpost.example_catalog()
    tbl.meta.clear()
    return tbl


def clusters(target, classes, seed, name="PHANGS_CLUSTER_CLASS_HUMAN"):
    """Observed and fitted properties of as many clusters as there are classes."""
    rng = np.random.default_rng([seed, *target.encode()])
    n = len(classes)
    example = _example()
    picked = rng.permutation(len(example))[:n] if n <= len(example) else rng.integers(0, len(example), n)
    obs = example[picked]
    truth = {q: np.array(obs[f"{q}_true"]) for q in ("age", "mass", "ebv")}
    # The example's clusters are at 15 Mpc; as bright at the galaxy's distance, they have this mass.
    truth["mass"] *= (galaxy_distance(target).to_value("Mpc") / 15) ** 2
    obs.remove_columns(["age_true", "mass_true", "ebv_true"])
    obs["INDEX"], obs["ID_PHANGS_CLUSTER"] = np.arange(n), rng.permutation(5 * n)[:n] + 1
    for column in SEEN.values():
        obs[column] = np.array(classes, dtype=float)
    if target in ACS:
        for column in obs.colnames:
            obs.rename_column(column, column.replace("F438W", "F435W"))
    sed = obs["ID_PHANGS_CLUSTER", "PHANGS_X", "PHANGS_Y"].copy()
    for quantity, unit, scatter in (("age", "Myr", 0.2), ("mass", "solMass", 0.1), ("ebv", "mag", 0.0)):
        value = truth[quantity] * 10 ** rng.normal(0, scatter, n)
        if quantity == "age":
            value = np.clip(value, 1, 13750)  # the ends of the survey's grid
        column = f"PHANGS_{quantity.upper()}_MINCHISQ"
        sed[column], sed[f"{column}_ERR"] = value, np.maximum(0.3 * value, 0.02)
        sed[column].unit = sed[f"{column}_ERR"].unit = unit
    sed["PHANGS_REDUCEDCHISQ_MINCHISQ"] = rng.chisquare(2, n) / 2
    if n > 2:  # one without a fit
        for column in sed.colnames[3:]:
            sed[column][1] = -999
    return obs, sed[rng.permutation(n)]  # another order: joined by hand, they get mixed up


def fits_bytes(tbl):
    buffer = io.BytesIO()
    tbl.write(buffer, format="fits")
    return buffer.getvalue()


def tar_bytes(members):
    """A gzipped tar of files by name."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as zipped, \
            tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(target, table, classifier="human", kind="cluster-class12"):
    cameras = "acs-uvis" if target in ACS else "uvis"
    return f"catalogs/hlsp_phangs-cat_hst_{cameras}_{target}_multi_v1_{table}-{classifier}-{kind}.fits"


@functools.cache
def _pair(like, classes, seed):
    return [fits_bytes(tbl) for tbl in clusters(like, classes, seed)]


def dr4_members(target):
    """All tables of a target in DR4, by name."""
    n1, n2 = counts(target)
    like = "ngc1300" if target in ACS else "ngc1433"  # what few tests look at is the same in all targets
    tables = {("human", "cluster-class12"): _pair(target, (1,) * n1 + (2,) * n2, 0),
              ("machine", "cluster-class12"): _pair(like, (1,) * 6 + (2,) * 3, 1),
              ("human", "compact-association-class3"): _pair(like, (3,) * 3, 2),
              ("machine", "compact-association-class3"): _pair(like, (3,) * 4, 3)}
    members = {member(target, table, *kind): data for kind, pair in tables.items()
               for table, data in zip(("obs", "sed"), pair, strict=True)}
    candidates = f"catalogs/hlsp_phangs-cat_hst_uvis_{target}_multi_v1_obs-sed-candidates.fits"
    return members | {candidates: b"many", "catalogs/._hidden.fits": b"\0", "catalogs/readme.txt": b"words"}


def dr3_table(target):
    """As inferred for DR3: the team's internal names, in mixed case, human and machine classes in one table."""
    obs, sed = clusters(target, [1, 2, 3, 4, 1, 2], 3)
    obs["ID_PHANGS_CLUSTER"] = np.arange(len(obs))
    for name in obs.colnames:
        new = name.replace("_mJy_TOT_ERR", "_mJy_ERR").replace("_mJy", "_mJy_TOT").replace("_VEGA", "_vega_tot")
        obs.rename_column(name, new.replace("_vega_tot_ERR", "_vega_tot_err"))
    for name in sed.colnames[3:]:
        obs[name.replace("REDUCEDCHISQ_MINCHISQ", "REDUCED_MINCHISQ")] = sed[name]
    obs[SEEN["machine"]] = [2.0, 2, 3, 4, 4, 1]
    return obs


def dr5_table(classifier, kind, targets):
    tables = []
    for target in targets:
        classes = [1] * counts(target)[0] + [2] * counts(target)[1] if kind == "1+2" else [3]
        obs, sed = clusters(target, classes, 5 + (classifier == "human"))
        row = {number: i for i, number in enumerate(sed["ID_PHANGS_CLUSTER"])}
        fitted = sed[[row[number] for number in obs["ID_PHANGS_CLUSTER"]]]
        obs["PHANGS_GALAXY"] = target
        for q in ("AGE", "MASS"):
            obs[f"PHANGS_DR5_THILKER25_{q}"] = fitted[f"PHANGS_{q}_MINCHISQ"]
            obs[f"PHANGS_DR5_THILKER25_{q}_LIMLO"] = fitted[f"PHANGS_{q}_MINCHISQ"] * 0.7
            obs[f"PHANGS_DR5_THILKER25_{q}_LIMHI"] = fitted[f"PHANGS_{q}_MINCHISQ"] * 1.4
        tables.append(obs)
    return vstack(tables, metadata_conflicts="silent").filled(-9999.0) if len(tables) > 1 else tables[0]


def make_archive(root, targets=TARGETS, releases=("dr3", "dr4", "dr5")):
    """Write an archive's files below a folder."""
    root = Path(root)
    files = {}
    if "dr4" in releases:
        files |= {BUNDLE.format(target): tar_bytes(dr4_members(target)) for target in targets}
        files["dr4/hlsp_phangs-cat_hst_multi_all_multi_v1_readme.txt"] = b"DR4 of the PHANGS-HST cluster catalogs\n"
    if "dr5" in releases:
        for classifier in SEEN:
            for kind in ("1+2", "3"):
                files[PRIMARY.format(classifier, kind)] = fits_bytes(dr5_table(classifier, kind, targets))
        files["dr5/hlsp_phangs-cat_dr5-targets_v1_primary-readme.txt"] = b"DR5\n"
    for target in set(targets) & set(DR3) if "dr3" in releases else ():
        stem = f"{target}/hlsp_phangs-cat_hst_uvis_{target}"
        files[f"{stem}_multi_v1_catalog.fits"] = fits_bytes(dr3_table(target))
        files[f"{stem}_f555w_v1_drc.fits"] = b"an image"
        files[f"{stem}_multi_v1_assoc.tar.gz"] = b"associations"
    for path, data in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return root


class ArchiveServer(ThreadingHTTPServer):
    """Serves a folder on the loopback device.

    ``faults[path]`` is a list of what goes wrong at the next requests of that
    file, one each: ``("status", 503)``, ``("slow", seconds)``, ``("cut", bytes)``
    (then the connection ends), ``("length", bytes)`` (announced, and not more
    sent), ``("page",)``, ``("drip", seconds)`` (between blocks of 4 kB),
    ``("header drip", seconds)`` (between bytes, before the answer), ``("no length",)``,
    ``("chunked",)``, ``("encoding", name)``, ``("sent on", address)``.  ``seen`` has the paths asked for.
    """

    daemon_threads = True

    def __init__(self, root):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.faults, self.seen = Path(root), {}, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hlsps/phangs-cat"

    def handle_error(self, request, client_address):
        pass  # a client that was killed

    def asked(self, path):
        return [seen for seen in self.seen if seen == path]


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        raw = self.path.removeprefix("/hlsps/phangs-cat/")
        path = unquote(raw)
        self.server.seen.append(path)
        faults = self.server.faults.get(path) or [()]
        fault, *value = (faults.pop(0) if self.server.faults.get(path) else ()) or (None,)
        value = value[0] if value else None
        place = self.server.root / path
        if fault == "slow":
            time.sleep(value)
        if fault == "header drip":
            with contextlib.suppress(ConnectionError):
                for byte in b"HTTP/1.0 200 OK\r\n" + b"X: " + b"x" * 60000:
                    self.wfile.write(bytes([byte]))
                    time.sleep(value)
        elif fault == "sent on":
            self._send(302, b"elsewhere", "text/plain", Location=value)
        elif fault == "status":
            self._send(value, b"" if value == 204 else b"trouble", "text/plain")
        elif fault == "page":
            self._send(200, b"<!DOCTYPE html>\n<html><body>Down for maintenance</body></html>", "text/html")
        elif "+" in raw or not place.exists():
            self._send(404, b"<html>not found</html>", "text/html")
        elif place.is_dir():
            self._send(200, self._index(place), "text/html")
        else:
            with contextlib.suppress(ConnectionError):
                self._file(place.read_bytes(), fault, value)

    def _send(self, status, data, kind, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _index(self, place):
        links = ["?C=N;O=D", "/hlsps/", "https://www.stsci.edu/"]
        links += [quote(p.name) + "/" * p.is_dir() for p in sorted(place.iterdir())]
        rows = "".join(f'<tr><td><a href="{html.escape(x)}">{html.escape(unquote(x))}</a></td></tr>' for x in links)
        return f"<html><head><title>Index of</title></head><body><table>{rows}</table></body></html>".encode()

    def _file(self, data, fault, value):
        self.send_response(200)
        if fault == "encoding":
            self.send_header("Content-Encoding", value)
        if fault == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif fault != "no length":
            self.send_header("Content-Length", str(value if fault == "length" else len(data)))
        self.end_headers()
        body = data[:value] if fault in ("cut", "length") else data
        if fault == "chunked":
            self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
            return
        for i in range(0, len(body), 4096):
            self.wfile.write(body[i:i + 4096])
            if fault == "drip":
                self.wfile.flush()
                time.sleep(value)


@contextlib.contextmanager
def serving(root):
    """A server of a folder, and clusterpost's settings for it."""
    server = ArchiveServer(root)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with clusterpost.conf.set_temp("archive_url", server.url):
            yield server
    finally:
        if not sys.is_finalizing():  # when its thread stands still, and would be waited for in vain
            server.shutdown()
            server.server_close()
            thread.join()
