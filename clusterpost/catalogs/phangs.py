"""The star-cluster catalogs of PHANGS-HST."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Sequence

import numpy as np
from astropy.table import Column, QTable

from ..errors import ArchiveError, InputError, InputWarning
from ..utils import progress_bar
from .distances import distance_table
from .phangs_releases import READERS
from .phangs_tables import stack_tables, to_qtable
from .phangs_targets import galaxy_of, target_table

__all__ = ["RELEASES", "fetch_phangs", "list_phangs"]

#: Names of the releases.
RELEASES = {"dr3": "dr3", "cr1": "dr3", "dr4": "dr4", "cr2": "dr4", "dr5": "dr5"}
_TABLES = ("obs", "sed", "both", "sed-ground-halpha", "sed-hst-halpha")
_DOI = "10.17909/jray-9798"


def list_phangs() -> QTable:
    """List the targets of the PHANGS-HST cluster catalogs.

    Returns
    -------
    `~astropy.table.QTable`
        38 galaxies in 39 targets: ``target`` (as in file names), ``galaxy``,
        ``aliases``, ``distance`` and ``distance_error`` [Mpc] (Lee et al. 2022),
        ``mw_ebv`` [mag] (Milky Way reddening, Schlafly & Finkbeiner 2011),
        ``instrument``, ``dr3`` (whether DR3 has it), and ``n_class1`` and
        ``n_class2`` (numbers of human-classified clusters in DR4, -1 if not known
        before fetching).

    References
    ----------
    Lee et al. 2022, ApJS 258, 10; Schlafly & Finkbeiner 2011, ApJ 737, 103;
    Maschmann et al. 2024, ApJS 273, 14.

    Examples
    --------
    >>> import clusterpost
    >>> targets = clusterpost.list_phangs()
    >>> len(targets), len(set(targets["galaxy"]))
    (39, 38)
    >>> targets["target", "distance"][targets["galaxy"] == "NGC 1433"]["distance"][0]
    <Quantity 18.94 Mpc>
    """
    out, known = target_table().copy(), distance_table()
    rows = [list(known["galaxy"]).index(galaxy) for galaxy in out["galaxy"]]
    for position, (name, source) in enumerate(
            {"aliases": "aliases", "distance": "distance", "distance_error": "error", "mw_ebv": "mw_ebv"}.items()):
        column = known[source][rows]
        out.add_column(Column(column, name=name, unit=column.unit, description=column.description), index=2 + position)
    return QTable(out)


def fetch_phangs(target: str | Sequence[str], *, release: str = "dr4", classifier: str = "human",
                 classes: int | Sequence[int] = (1, 2), table: str = "both", cache: bool = True,
                 progress: bool | None = None) -> QTable:
    """Fetch a star-cluster catalog of PHANGS-HST, from the cache or from the archive.

    Parameters
    ----------
    target : str or list of str
        Galaxies or targets in any usual form, or ``"all"``.  ``NGC 628``,
        ``NGC0628`` and ``M74`` mean both targets of the galaxy, ``ngc628c`` one
        of them.
    release : {"dr4", "dr3", "dr5"}
        Data release.
    classifier : {"human", "machine"}
        Classification of the clusters.
    classes : int or sequence of int
        Classes out of 1 (symmetric clusters), 2 (asymmetric clusters) and 3 (compact associations).
    table : {"both", "obs", "sed"}
        Photometry, the catalog's own fits, or both, joined on the cluster's
        number.  Some DR4 archives have ``sed-ground-halpha`` and
        ``sed-hst-halpha``.  The tables of DR5 always hold both.
    cache : bool
        Whether to use cached files and keep new ones.  False downloads to a temporary folder.
    progress : bool, optional
        Whether to show a progress bar for several targets; by default if standard error is a terminal.

    Returns
    -------
    `~astropy.table.QTable`
        The rows and columns of the archive with units and descriptions, and with
        -9999 and negative errors unchanged.  Several targets are stacked, with
        columns ``target`` and ``galaxy``.  ``meta`` has ``target``, ``galaxy``,
        ``release``, ``classby``, ``classes``, ``tables``, ``source`` (files),
        ``doi``, and ``failed`` with the targets that could not be fetched.

    Raises
    ------
    InputError
        If an option or the target is unknown.
    ArchiveError
        If the archive does not deliver the catalog, or the choice among its files is not clear.
    ImportError
        If astroquery is needed and not installed.

    Warns
    -----
    AstropyUserWarning
        If one of several targets fails and the others are returned, or if a choice
        was made or an inconsistency found.

    Notes
    -----
    If all classes of a file are requested, all its rows are returned; otherwise
    the classifier's class selects rows.  NGC 1510 lies in the field of NGC 1512
    and shares its distance.

    References
    ----------
    Lee et al. 2022, ApJS 258, 10; Maschmann et al. 2024, ApJS 273, 14; the
    collection, DOI 10.17909/jray-9798.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.fetch_phangs("NGC 1433")  # doctest: +SKIP
    >>> out = clusterpost.infer_table(tbl)  # doctest: +SKIP
    """
    if str(release).lower() not in RELEASES:
        raise InputError(f"option:release={release!r} is not one of {', '.join(RELEASES)}")
    release = RELEASES[str(release).lower()]
    classes = _checked_classes(classes)
    if classifier not in ("human", "machine"):
        raise InputError(f"option:classifier={classifier!r} is neither 'human' nor 'machine'")
    if table not in _TABLES:
        raise InputError(f"option:table={table!r} is not one of {', '.join(_TABLES)}")
    single = isinstance(target, str) and target.strip().lower() != "all"
    with _folder(cache) as folder:
        reader = READERS[release](classifier, classes, table, folder)
        wanted, failed = _wanted(target, reader)
        tables = {}
        with progress_bar(len(wanted), show=progress, desc=f"PHANGS-HST {release.upper()}", unit="target") as bar:
            for name in wanted:
                try:
                    tables[name] = reader.read(name)
                except (ArchiveError, InputError) as error:
                    if single and len(wanted) == 1:
                        raise
                    failed[name] = error
                bar.update()
    if not tables:
        first = next(iter(failed.values()))
        raise first if len(failed) == 1 else ArchiveError(
            f"none of the {len(failed)} targets could be fetched: {first.unworded}")
    for name, error in failed.items():
        warnings.warn(InputWarning(f"{name} is left out: {error.unworded}"), stacklevel=2)
    for name, tbl in tables.items() if len(tables) > 1 or not single else ():
        _add_names(tbl, name)
    out = stack_tables(list(tables.values()))
    galaxies = set(map(galaxy_of, tables))
    meta = {"target": ",".join(tables), "release": release, "classby": classifier,
            "classes": ",".join(map(str, classes)), "tables": "+".join(sorted(reader.tables)),
            "source": ";".join(reader.files), "doi": _DOI}
    if len(galaxies) == 1:
        meta["galaxy"] = galaxies.pop()
    if failed:
        text = "; ".join(f"{name}: {error}" for name, error in failed.items())
        meta["failed"] = " ".join(text.split()).encode("ascii", "replace").decode()  # plain ASCII, for FITS
    out.meta = {key: value for key, value in out.meta.items() if str(key).lower() not in meta} | meta
    return to_qtable(out, f"PHANGS-HST {release.upper()}")


def _wanted(target, reader):
    """Return unique targets in order, and the errors of unresolved names."""
    names = [target] if isinstance(target, str) else list(target)
    if not names:
        raise InputError("no target is named; give a galaxy, several, or 'all'")
    wanted, failed = {}, {}
    for name in names:
        try:
            found = reader.all() if str(name).strip().lower() == "all" else reader.resolve(name)
            wanted |= dict.fromkeys(found)
        except InputError as error:
            if len(names) == 1:
                raise
            failed[str(name)] = error
    return list(wanted), failed


def _checked_classes(classes):
    classes = tuple(sorted({int(c) for c in np.atleast_1d(classes)}))
    if not classes or not set(classes) <= {1, 2, 3}:
        raise InputError(f"option:classes={classes} may contain only 1, 2 and 3; the archive's tables of candidates "
                         "list all other sources")
    return classes


def _add_names(tbl, target):
    for name, value in (("galaxy", galaxy_of(target)), ("target", target)):
        if name not in map(str.lower, tbl.colnames):
            column = Column(np.full(len(tbl), value), name, description=f"{name.capitalize()} of PHANGS-HST")
            tbl.add_column(column, index=0)


@contextlib.contextmanager
def _folder(cache):
    if cache:
        yield None
    else:
        with tempfile.TemporaryDirectory(prefix="clusterpost-") as folder:
            yield folder
