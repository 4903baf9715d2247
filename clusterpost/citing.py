"""What a result rests on, as BibTeX."""

from __future__ import annotations

import re
from importlib import resources

from astropy.table import Table

from .catalogs.distances import distance_and_source
from .catalogs.metadata import LAYOUT_KEY, meta_value
from .flow.modelfile import find_family
from .provenance import recorded_model, recorded_settings

__all__ = ["cite", "reference_keys"]

_METHOD = ("walter2025",)
# Of the name of a table's layout, and of where distances are from, how they begin.
_CATALOGS = {"PHANGS": ("lee2022", "maschmann2024"), "LEGUS": ("calzetti2015", "adamo2017"), "NSA": ("blanton2011",)}
_DISTANCES = {"lee2022": ("lee2022",), "legus": ("calzetti2015",)}
_PACKAGE = """@software{{clusterpost,
  author  = {{{{clusterpost developers}}}},
  title   = {{clusterpost: posteriors for tables of star-cluster photometry}},
  year    = {{2026}},
  version = {{{version}}},
}}"""


def cite(tbl: Table | None = None, *, prefix: str | None = None) -> str:
    """Return the references that a result rests on.

    Parameters
    ----------
    tbl : `~astropy.table.Table`, optional
        From `~clusterpost.infer_table` or `~clusterpost.sample_posterior`; by default what a result of the default
        model rests on.
    prefix : str, optional
        The ``prefix`` that `~clusterpost.infer_table` was given, where the table has several results.

    Returns
    -------
    str
        BibTeX: the package in the version that made the result, the method, the stellar populations, isochrones and
        extinction of its model, and the catalogs and distances that are recognized.

    Examples
    --------
    >>> import clusterpost
    >>> out = clusterpost.infer_table(clusterpost.example_catalog()[:2], model="any_bands", n_samples=100)
    >>> [line for line in clusterpost.cite(out).splitlines() if line.startswith("@")][:3]
    ['@software{clusterpost,', '@article{walter2025,', '@article{bruzual2003,']
    """
    from . import __version__

    tbl = Table() if tbl is None else tbl
    entries = _entries()
    version = meta_value(tbl, "CPVERS") or __version__
    return "\n".join([_PACKAGE.format(version=version), *(entries[key] for key in reference_keys(tbl, prefix))]) + "\n"


def reference_keys(tbl, prefix=None) -> list[str]:
    """Return the keys of the papers that a result rests on.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    prefix : str, optional
        As for `cite`.

    Returns
    -------
    list of str
        Without the package itself.
    """
    exact = (settings := recorded_settings(tbl, prefix)) is not None and settings.model == "exact grid"
    family = find_family(recorded_model(tbl, prefix))
    layout, distance = (str(meta_value(tbl, key) or "") for key in (LAYOUT_KEY, "CPDIST"))
    if galaxy := re.fullmatch(r"galaxy (.+)", distance):
        distance = distance_and_source(galaxy[1])[1]
    found = [*(() if exact else _METHOD), *family.references]
    found += [key for name, keys in _CATALOGS.items() if layout.upper().startswith(name) for key in keys]
    found += [key for name, keys in _DISTANCES.items() if name in distance for key in keys]
    return list(dict.fromkeys(found))


def _entries():
    """Return the entries of the package's BibTeX file by their keys."""
    text = resources.files(__package__).joinpath("data/references.bib").read_text(encoding="utf-8")
    parts = re.split(r"\n(?=@)", text.strip())
    return {re.match(r"@\w+\{(\w+),", part)[1]: part for part in parts}
