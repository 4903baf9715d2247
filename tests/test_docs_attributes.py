"""Pages of classes show no attributes without a description."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
EXT = Path(__file__).parents[1] / "docs" / "_ext"


@pytest.fixture
def pieces(monkeypatch):
    """Give the module and functions that make the nodes of a class page."""
    monkeypatch.syspath_prepend(str(EXT))
    monkeypatch.delitem(sys.modules, "attributes", raising=False)
    import attributes
    from docutils import nodes
    from sphinx import addnodes

    def table(*rows):
        def cell(text):
            return nodes.entry("", nodes.paragraph("", text))

        body = nodes.tbody("", *(nodes.row("", cell(name), cell(text)) for name, text in rows))
        return attributes.autosummary_table("", "", nodes.table("", nodes.tgroup("", body)))

    def attribute(name, text):
        # numpydoc leaves a comment in what it has processed.
        content = addnodes.desc_content("", *([nodes.paragraph("", text)] if text else [nodes.comment("", "numpydoc")]))
        return [addnodes.index(entries=[name]),
                addnodes.desc("", addnodes.desc_signature(name, name), content, objtype="attribute")]

    def page(*rows):
        content = addnodes.desc_content("", nodes.rubric("", "Attributes Summary"), table(*rows),
                                        nodes.rubric("", "Methods Summary"), table(("call", "")),
                                        nodes.rubric("", "Attributes Documentation"),
                                        *(node for row in rows for node in attribute(*row)))
        return content

    return attributes.drop_attributes, page


def test_only_described_attributes_stay(pieces):
    drop, page = pieces
    doctree = page(("plain", ""), ("field", "Alias for field number 0"), ("told", "What it is."))
    drop(doctree)
    text = doctree.astext()
    shown = {word: text.count(word) for word in ("plain", "field", "told", "Attributes", "call")}
    assert shown == {"plain": 0, "field": 0, "told": 2, "Attributes": 2, "call": 1}
    assert [node["entries"] for node in doctree.findall() if node.tagname == "index"] == [["told"]]


def test_headings_without_attributes_go(pieces):
    drop, page = pieces
    doctree = page(("plain", ""))
    drop(doctree)
    assert "Attributes" not in doctree.astext()
    assert "Methods Summary" in doctree.astext()
