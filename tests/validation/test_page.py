"""The page: one file, nothing from outside, nothing taken for markup that is none."""

from html.parser import HTMLParser

import numpy as np
from astropy.table import MaskedColumn, Table

from clusterpost.validation.page import Section, html_page

# The smallest PNG: one gray pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c63680000008200812d0f7d910000000049454e44ae426082"
)
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Whether tags close as they open, and what the page shows and asks for."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.sources, self.classes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.sources += [attrs[name] for name in ("src", "href") if name in attrs]
        self.classes.append(attrs.get("class"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def page_of(tmp_path, table, **section):
    (tmp_path / "figure.png").write_bytes(PNG)
    figures = [("As <Fig. 3> & more. Second sentence.", tmp_path / "figure.png")]
    return html_page("A <model>", "Right & ``exact``.", {"mocks": 10, "<b>": "<i>"},
                     [Section("Ranks", "One <p>.\n\nTwo ``code``.", [("A table", table)], figures, **section)], "End.")


def test_it_needs_no_other_file(tmp_path):
    reader = read(page_of(tmp_path, Table({"a": [1]})))
    assert {source.split(",")[0].split("-")[0] for source in reader.sources} == {"data:image/png;base64", "#part"}
    text = "".join(reader.text)
    assert "One <p>." in text
    assert "A <model>" in text
    assert "<i>" in text  # shown, not obeyed
    assert "``" not in text


def test_cells(tmp_path):
    table = Table({"name": ["a<b"], "x": [-0.12345], "n": [12345], "inside": [False], "nothing": [np.nan]})
    table["masked"] = MaskedColumn([1], mask=[True])
    table["x"].info.format = ".2f"
    table["x"].unit = "dex"
    reader = read(page_of(tmp_path, table))
    assert {"a<b", "\N{MINUS SIGN}0.12", "12,345", "no", "\N{EN DASH}", "x [dex]"} <= set(reader.text)
    assert reader.text.count("\N{EN DASH}") == 2
    assert "no" in reader.classes


def test_long_tables_are_folded(tmp_path):
    long = Table({"a": np.arange(40)})
    assert "<details>" in page_of(tmp_path, long)
    assert "<details>" not in page_of(tmp_path, long, folded=False)
    assert "<details>" not in page_of(tmp_path, long[:20])
