"""Pages of tables and figures as self-contained HTML files."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

__all__ = ["Section", "html_page"]

_PIXELS = 1.4  # figure pixels per page pixel
_FOLDED = 30  # rows
_STYLE = """
:root { --ink: #1d2733; --soft: #5b6875; --line: #d8dee5; --pale: #f5f7f9; --blue: #0072b2; --fail: #b34700; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 64rem; color: var(--ink); background: #fff;
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { border-bottom: 3px solid var(--blue); margin-bottom: 1.5rem; padding-bottom: 1rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .4rem; padding-top: .4rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0 .9rem; }
.lead { font-size: 1.08rem; margin: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: .6rem 1.5rem;
         margin: 1rem 0; }
.facts dt { color: var(--soft); font-size: .8rem; } .facts dd { margin: 0; overflow-wrap: anywhere; }
nav { font-size: .92rem; columns: 2; margin: 1rem 0; } nav a { display: block; color: var(--blue); }
.wide { overflow-x: auto; margin: .3rem 0 1.4rem; }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
.caption { color: var(--soft); font-size: .88rem; margin: 1.2rem 0 0; }
th, td { padding: .28rem .7rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { border-bottom: 2px solid var(--line); font-weight: 600; vertical-align: bottom; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.text { min-width: 9rem; max-width: 22rem; }
.yes { color: var(--blue); } .no { color: var(--fail); font-weight: 600; }
.figures { display: flex; flex-wrap: wrap; gap: 0 1.5rem; }
figure { margin: 1rem 0 1.6rem; max-width: 100%; } img { max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .88rem; max-width: 46rem; width: 0; min-width: 100%; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--blue); }
code { background: var(--pale); padding: .1em .3em; border-radius: 3px; font-size: .9em; overflow-wrap: anywhere; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; } nav { display: none; } .wide { overflow: visible; }
  figure, tr { break-inside: avoid; } h2, .caption { break-after: avoid; } table { font-size: 8pt; }
  td, th { white-space: normal !important; min-width: 0 !important; }
}
"""


@dataclass
class Section:
    """A part of the page.

    Attributes
    ----------
    title : str
    text : str
        Paragraphs separated by empty lines; ````...```` marks code.
    tables : list of (str, Table)
        Captions and tables.
    figures : list of (str, path)
        Captions and PNG files.
    folded : bool
        Whether long tables are folded.
    """

    title: str
    text: str = ""
    tables: list = field(default_factory=list)
    figures: list = field(default_factory=list)
    folded: bool = True


def html_page(title: str, lead: str, facts: dict[str, str], sections: list[Section], footer: str = "") -> str:
    """Return a page of HTML with embedded style and figures.

    Parameters
    ----------
    title, lead : str
        Heading and summary sentence.
    facts : dict of str
        Facts in the header, by name.
    sections : list of Section
    footer : str

    Returns
    -------
    str

    Examples
    --------
    >>> from clusterpost.validation.page import Section, html_page
    >>> page = html_page("A model", "It is calibrated.", {"mocks": "100"},
    ...                  [Section("Ranks", "They are uniform.")])
    >>> "<h2 id='part-1'>Ranks</h2>" in page
    True
    """
    named = [(f"part-{i}", section) for i, section in enumerate(sections, start=1)]
    links = "".join(f"<a href='#{name}'>{escape(section.title)}</a>" for name, section in named)
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(fact))}</dd></div>" for name, fact in facts.items())
    body = "\n".join(_section(name, section) for name, section in named)
    return (f"<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
            f"<meta name='viewport' content='width=device-width, initial-scale=1'>\n<title>{escape(title)}</title>\n"
            f"<style>{_STYLE}</style>\n</head>\n<body>\n<header><h1>{escape(title)}</h1>\n"
            f"<p class='lead'>{_inline(lead)}</p></header>\n<dl class='facts'>{listed}</dl>\n<nav>{links}</nav>\n"
            f"<main>\n{body}\n</main>\n<footer>{_paragraphs(footer)}</footer>\n</body>\n</html>\n")


def _section(name, section):
    return "\n".join([f"<section>\n<h2 id='{name}'>{escape(section.title)}</h2>", _paragraphs(section.text),
                      *(_table(caption, table, section.folded) for caption, table in section.tables),
                      "<div class='figures'>", *(_figure(*figure) for figure in section.figures), "</div>",
                      "</section>"])


def _paragraphs(text):
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text):
    """Return escaped text with ``code`` marked up."""
    parts = escape(text, quote=False).split("``")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _figure(caption, path):
    data = Path(path).read_bytes()
    width = int.from_bytes(data[16:20], "big") / _PIXELS  # of the PNG
    alt = escape(caption.split(".")[0].replace("``", ""), quote=True)
    inside = base64.b64encode(data).decode()
    return (f"<figure><img width='{width:.0f}' src='data:image/png;base64,{inside}' alt='{alt}'>"
            f"<figcaption>{_inline(caption)}</figcaption></figure>")


def _table(caption, table, folded):
    numeric = {name: table[name].dtype.kind in "if" for name in table.colnames}
    head = "".join(f"<th{' class=number' if numeric[name] else ''}>{escape(_heading(table[name]))}</th>"
                   for name in table.colnames)
    rows = "".join("<tr>" + "".join(_cell(table[name], i) for name in table.colnames) + "</tr>\n"
                   for i in range(len(table)))
    html = f"<div class='wide'><table>\n<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    if folded and len(table) > _FOLDED:
        return f"<details><summary>{_inline(caption)} ({len(table)} rows)</summary>{html}</details>"
    return f"<p class='caption'>{_inline(caption)}</p>\n{html}"


def _heading(column):
    return column.name.replace("_", " ") + (f" [{column.unit}]" if column.unit else "")


def _cell(column, i):
    value, kind = column[i], column.dtype.kind
    if np.ma.is_masked(value) or (kind == "f" and not np.isfinite(value)):
        return "<td class='number'>\N{EN DASH}</td>"
    if kind == "b":
        return f"<td class='{'yes' if value else 'no'}'>{'yes' if value else 'no'}</td>"
    if kind in "if":
        form = column.info.format
        text = f"{value:{form.lstrip('%')}}" if form else (f"{value:,}" if kind == "i" else f"{value:.4g}")
        return f"<td class='number'>{escape(text).replace('-', chr(0x2212))}</td>"
    return f"<td class='text'>{_inline(str(value))}</td>"
