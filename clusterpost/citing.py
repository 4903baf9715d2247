"""References for a result in BibTeX format."""

from __future__ import annotations

import re
import unicodedata
from importlib import resources

from astropy.table import Table

from .catalogs.distances import distance_and_source
from .catalogs.metadata import LAYOUT_KEY, meta_value
from .flow.modelfile import find_family
from .provenance import recorded_model, recorded_settings

__all__ = ["cite", "distance_keys", "reference_keys", "short_citation"]

# References by the beginning of the layout name.
_CATALOGS = {"PHANGS": ("lee2022", "maschmann2024"), "LEGUS": ("calzetti2015", "adamo2017"), "NSA": ("blanton2011",)}
_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "c": "\u0327"}  # combining
_DISTANCES = {"lee2022": ("lee2022",), "legus": ("calzetti2015",)}
_PACKAGE = """@software{{clusterpost,
  author  = {{{{clusterpost developers}}}},
  title   = {{clusterpost: posteriors for tables of star-cluster photometry}},
  year    = {{2026}},
  version = {{{version}}},
}}"""


def cite(tbl: Table | None = None, *, prefix: str | None = None) -> str:
    """Return the references for a result.

    .. versionadded:: 0.2

    Parameters
    ----------
    tbl : `~astropy.table.Table`, optional
        Output of `~clusterpost.infer_table` or `~clusterpost.sample_posterior`; by default a result of the default
        model.
    prefix : str, optional
        The ``prefix`` passed to `~clusterpost.infer_table`, if the table has several results.

    Returns
    -------
    str
        BibTeX entries of the package version that made the result, the method, the stellar populations, isochrones, and
        extinction of its model, and the recognized catalogs and distances.

    Examples
    --------
    >>> import clusterpost
    >>> out = clusterpost.infer_table(clusterpost.example_catalog()[:2],
    ...                               model="any_bands", n_samples=100)
    >>> lines = clusterpost.cite(out).splitlines()
    >>> [line for line in lines if line.startswith("@")][:3]
    ['@software{clusterpost,', '@article{walter2025,', '@article{bruzual2003,']
    """
    from . import __version__

    tbl = Table() if tbl is None else tbl
    entries = _entries()
    version = meta_value(tbl, "CPVERS") or __version__
    return "\n".join([_PACKAGE.format(version=version), *(entries[key] for key in reference_keys(tbl, prefix))]) + "\n"


def reference_keys(tbl: Table, prefix: str | None = None) -> list[str]:
    """Return the BibTeX keys of the papers for a result.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    prefix : str, optional
        As for `cite`.

    Returns
    -------
    list of str
        Keys, without that of the package itself.
    """
    exact = (settings := recorded_settings(tbl, prefix)) is not None and settings.model == "exact grid"
    family = find_family(recorded_model(tbl, prefix))
    layout, distance = (str(meta_value(tbl, key) or "") for key in (LAYOUT_KEY, "CPDIST"))
    found = [*(() if exact else family.method), *family.references]
    found += [key for name, keys in _CATALOGS.items() if layout.upper().startswith(name) for key in keys]
    return list(dict.fromkeys([*found, *distance_keys(distance)]))


def distance_keys(source: str) -> list[str]:
    """Return the BibTeX keys of the papers for a source of distances, as a result records it.

    Parameters
    ----------
    source : str
        Value of ``meta["CPDIST"]``.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from clusterpost.citing import distance_keys
    >>> distance_keys("galaxy NGC 628"), distance_keys("column 'distance'")
    (['lee2022'], [])
    """
    if galaxy := re.fullmatch(r"galaxy (.+)", source):
        source = distance_and_source(galaxy[1])[1]
    return [key for name, keys in _DISTANCES.items() if name in source for key in keys]


def short_citation(key: str) -> str:
    """Return the short citation of a paper, such as author and year.

    Parameters
    ----------
    key : str
        Key in the package's BibTeX file.

    Returns
    -------
    str

    Examples
    --------
    >>> from clusterpost.citing import short_citation
    >>> [short_citation(key) for key in ("walter2025", "bruzual2003", "chabrier2003")]
    ['Walter et al. 2026', 'Bruzual & Charlot 2003', 'Chabrier 2003']
    """
    fields = dict(re.findall(r"^  (\w+) += \{(.*)\},$", _entries()[key], re.MULTILINE))
    names = [_plain(author.split(",")[0]) for author in fields["author"].split(" and ")]
    shown = " & ".join(names) if len(names) < 3 and names[-1] != "others" else f"{names[0]} et al."
    return f"{shown} {fields['year']}"


def _plain(text):
    """Convert TeX accents to Unicode and remove braces."""
    accented = re.sub(r"\\([^\w\s]|c )(\w)", lambda found: found[2] + _ACCENTS[found[1][0]], text)
    return unicodedata.normalize("NFC", re.sub("[{}]", "", accented))


def _entries():
    """Return the entries of the package's BibTeX file by key."""
    text = resources.files(__package__).joinpath("data/references.bib").read_text(encoding="utf-8")
    parts = re.split(r"\n(?=@)", text.strip())
    return {re.match(r"@\w+\{(\w+),", part)[1]: part for part in parts}
