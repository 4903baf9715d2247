"""Locations of the tables in the releases of the PHANGS-HST cluster catalogs.

=======  ========================================  ==============================================
release  files                                     reference
=======  ========================================  ==============================================
DR3      a folder per galaxy, five of them         Thilker et al. 2022
DR4      a tar archive per target, of 39           Maschmann et al. 2024; Thilker et al. 2025
DR5      one table for all galaxies per class      DOI 10.17909/jray-9798
=======  ========================================  ==============================================

File names in DR4 and DR5 are known.  For a missing file, and for DR3, the
folder's list decides; an ambiguous list raises an error that shows its files.
"""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from typing import ClassVar

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

from ..errors import ArchiveError, InputError, InputWarning
from .archive import fetch_file, known_listing, list_folder
from .columns import find, some
from .integrity import read_bundle
from .phangs_tables import join_tables, read_fits, select_classes, stack_tables
from .phangs_targets import WITHIN, name_key, resolve_target, target_table
from .transport import NotInArchive

__all__ = ["PINNED", "READERS"]

_SED = ("sed", "sed-ground-halpha", "sed-hst-halpha")
_BUNDLE = "dr4/bundles/hlsp_phangs-cat_hst_acs-uvis_{}_multi_v1_cats.tar.gz"  # acs-uvis for all cameras
_MEMBER = re.compile(
    r"hlsp_phangs-cat_hst_(?P<cameras>[a-z0-9-]+)_(?P<target>[a-z0-9]+)_multi_(?P<version>v[\w.]+?)_"
    r"(?P<table>obs|sed(?:-[a-z-]+?)?)-(?P<classifier>human|machine)-"
    r"(?:cluster-class(?P<clusters>12)|compact-association-class(?P<associations>3))\.fits")
_PRIMARY = "dr5/hlsp_phangs-cat_hst_acs-uvis_dr5-targets_v1_{}-class{}-primary.fits"
#: sha256 of known files.
PINNED = {
    _PRIMARY.format("human", "1+2"): "66c8780960ecd88f1f14001c8baf3e74ddea7bc7133b933f924560f425ec3c71",
    _PRIMARY.format("machine", "1+2"): "f919e3dc2f31196e1d94f0561ed8a3bb4e14ba07c3bce57388f757326719f244",
}


class _Reader:
    """Reader of the targets of a release; subclasses define its files."""

    def __init__(self, classifier, classes, table, folder):
        self.classifier, self.classes, self.table, self.folder = classifier, classes, table, folder
        self.files, self.tables = {}, {}

    def all(self):
        return list(map(str, target_table()["target"]))

    def resolve(self, name):
        return resolve_target(name)

    def fetch(self, path):
        file = fetch_file(path, sha256=PINNED.get(path), folder=self.folder)
        self.files[path.rpartition("/")[2]] = None
        return file

    def located(self, path, wanted):
        """Fetch a file by its known name, or otherwise the matching file of its folder."""
        folder, _, name = path.rpartition("/")
        listed = known_listing(folder, folder=self.folder)
        if listed is None or name in listed:
            with contextlib.suppress(NotInArchive):
                return self.fetch(path)
        for refresh in (False, True):
            names = list_folder(folder, folder=self.folder, refresh=refresh)
            found = [name for name in names if wanted(name)]
            if len(found) == 1:
                return self.fetch(f"{folder}/{found[0]}")
        raise _unclear(folder, found or names, f"{name}, which is missing")

    def parts(self):
        """Yield the kinds of files to read: the class in their names, and the wanted classes if not all."""
        for kind, name in (((1, 2), "12"), ((3,), "3")):
            if wanted := [c for c in kind if c in self.classes]:
                yield name, wanted if len(wanted) < len(kind) else None

    def select(self, tbl, wanted):
        return tbl if wanted is None else select_classes(tbl, self.classifier, wanted)


class _DR4(_Reader):
    def read(self, target):
        home = WITHIN.get(target, target)
        bundle = self.located(_BUNDLE.format(home), lambda name: f"_{home}_" in name and name.endswith(".tar.gz"))
        contents = read_bundle(bundle, lambda name: _MEMBER.fullmatch(name) is not None)
        members = [(_MEMBER.fullmatch(name), data) for name, data in contents.items()]
        others = {match["target"] for match, _ in members} - {target}
        if others and target not in WITHIN:
            warnings.warn(f"the archive of {target} also has tables of {', '.join(sorted(others))}", AstropyUserWarning,
                          stacklevel=3)
        tables = []
        for kind, wanted in self.parts():
            found = [(match, data) for match, data in members if match["target"] == target
                     and match["classifier"] == self.classifier and kind in (match["clusters"], match["associations"])]
            tables.append(self.select(self.joined(found, target, kind, list(contents)), wanted))
        return stack_tables(tables)

    def joined(self, found, target, kind, names):
        def one(tables):
            for table in tables:
                fitting = [(match, data) for match, data in found if match["table"] == table]
                if len(fitting) > 1:
                    raise ArchiveError(f"{target}: several tables could be {table}: "
                                       + ", ".join(match.string for match, _ in fitting))
                if fitting:
                    self.tables[table] = None
                    return read_fits(fitting[0][1])
            raise ArchiveError(f"{target}: no table {tables[0]} of {self.classifier} class {kind} in the archive of "
                               f"{WITHIN.get(target, target)}, which has {some(names)}")

        if self.table == "obs":
            return one(("obs",))
        if self.table not in ("sed", "both"):
            return one((self.table,))
        there = [table for table in _SED if any(match["table"] == table for match, _ in found)]
        if "sed" not in there and len(there) > 1:
            warnings.warn(InputWarning(f"there is no plain sed table, only {', '.join(there)}; {there[0]} is used. "
                                       "option:table selects another"), stacklevel=4)
        sed = one(_SED)
        return sed if self.table == "sed" else join_tables(one(("obs",)), sed, target)


class _DR5(_Reader):
    def all(self):
        return sorted({value for _, keys in self.primary for value in keys.tolist()})

    @functools.cached_property
    def primary(self):
        """Read each table, with the target of every row."""
        out = []
        for kind, wanted in self.parts():
            label = "1+2" if kind == "12" else kind
            path, like = _PRIMARY.format(self.classifier, label), f"{self.classifier}-class{label}-"
            file = self.located(path, lambda name, like=like: like in name and name.endswith(".fits"))
            tbl = self.select(read_fits(file), wanted)
            galaxy = find(tbl.colnames, "PHANGS_GALAXY", "GALAXY", "TARGET")
            if galaxy is None:
                raise ArchiveError(f"{path} does not tell the galaxy of a row; its columns are {some(tbl.colnames)}")
            out.append((tbl, np.array([str(value).strip().lower() for value in tbl[galaxy]], dtype=str)))
        self.tables["primary"] = None
        return out

    def resolve(self, name):
        # All galaxies of the table, which in this release go beyond the list of targets.
        present = self.all()
        wanted = {name_key(name)}
        with contextlib.suppress(InputError):
            keys = [name_key(target) for target in resolve_target(name)]
            wanted |= set(keys) if name_key(name)[1] else {(key, "") for key, _ in keys}
        found = [value for value in present if name_key(value) in wanted or (name_key(value)[0], "") in wanted]
        if found:
            return found
        galaxy = [value for value in present if name_key(value) in {(key, "") for key, _ in wanted}]
        if galaxy:
            warnings.warn(f"the table of DR5 does not tell {name} from the rest of {galaxy[0]}; all rows are used",
                          AstropyUserWarning, stacklevel=4)
            return galaxy
        raise InputError(f"{name!r} is not in this table of DR5, which has {', '.join(present)}")

    def read(self, target):
        return stack_tables([tbl[keys == target] for tbl, keys in self.primary])


class _DR3(_Reader):
    """Reader of DR3, whose file names are not known and come from the folder's list."""

    _CLASSIFIERS: ClassVar = {"human": {"human"}, "machine": {"machine", "ml"}}
    _OTHER: ClassVar = {"drc", "img", "assoc", "association", "associations", "candidates"}

    def all(self):
        return [str(target) for target in target_table()["target"][target_table()["dr3"]]]

    def read(self, target):
        if target not in self.all():
            raise InputError(f"DR3 has {', '.join(self.all())} and not {target}")
        for refresh in (False, True):
            names = list_folder(target, folder=self.folder, refresh=refresh)
            found = [name for name in names if self.is_catalog(name, target)]
            if chosen := self.choice(found):
                break
        else:
            what = f"the {self.classifier} catalog of {target} (option:table={self.table!r})"
            raise _unclear(target, found or names, what)
        return stack_tables([self.select_from(files, classes, target) for files, classes in chosen])

    def is_catalog(self, name, target):
        words = _words(name)
        wrong = {w for classifier, ws in self._CLASSIFIERS.items() if classifier != self.classifier for w in ws}
        # A table without a classifier in its name has the classes of both.
        return name.endswith((".fits", ".fits.gz")) and target in words and not words & (wrong | self._OTHER)

    def choice(self, names):
        """Choose files to read and the classes to select, or None if the names are ambiguous."""
        plain = [name for name in names if "class" not in name]
        if plain:
            tables = self.pair(plain) if len(plain) == len(names) else None
            return tables and [(tables, self.classes)]
        chosen = []
        for kind, _ in self.parts():
            pattern = re.compile(r"class1\+?2" if kind == "12" else "class3")
            tables = self.pair([name for name in names if pattern.search(name)])
            if tables is None:
                return None
            chosen.append((tables, [c for c in self.classes if str(c) in kind]))
        return chosen

    def pair(self, names):
        """Return one file with all requested properties, or one of observed and one of fitted properties."""
        kinds = {table: [name for name in names if table in _words(name)] for table in ("obs", "sed")}
        if len(names) == 1 and not any(kinds.values()):
            return names
        wanted = ("obs", "sed") if self.table == "both" else (self.table,)
        if all(len(kinds.get(table, ())) == 1 for table in wanted):
            return [kinds[table][0] for table in wanted]
        return None

    def select_from(self, files, classes, target):
        tables = [read_fits(self.fetch(f"{target}/{file}")) for file in files]
        self.tables |= dict.fromkeys(("obs", "sed") if len(files) == 2 else ("catalog",))
        return select_classes(join_tables(*tables, target) if len(files) == 2 else tables[0], self.classifier, classes)


def _words(name):
    return set(re.split(r"[-_.]", name.lower()))


def _unclear(folder, names, what):
    return ArchiveError(
        f"the archive's folder {folder} does not clearly have {what}; it has {some(names)}. "
        "From Python, clusterpost.catalogs.archive.fetch_file gets one of them for clusterpost.read_catalog"
    )


#: Readers of the releases.
READERS = {"dr3": _DR3, "dr4": _DR4, "dr5": _DR5}
