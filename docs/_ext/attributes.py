"""Leave out attributes without a description of their own.

The docstring of a class describes its attributes.  automodapi lists them once more, with their default values, in a
summary whose descriptions are empty and in a section without text.
"""

from docutils import nodes
from sphinx import addnodes
from sphinx.ext.autosummary import autosummary_table
from sphinx.transforms import SphinxTransform

HEADINGS = ("Attributes Summary", "Attributes Documentation")
#: The docstring that Python gives to a field of a named tuple.
ALIAS = "Alias for field number"


def is_empty(node):
    """Return whether a node has no text that was written for it."""
    text = "".join(child.astext() for child in node.children if not isinstance(child, nodes.comment)).strip()
    return not text or text.startswith(ALIAS)


def heading_of(node):
    """Return the rubric before a node, or None."""
    siblings = node.parent.children
    before = siblings[:siblings.index(node)]
    return next((sibling for sibling in reversed(before) if isinstance(sibling, nodes.rubric)), None)


def drop_attributes(doctree):
    """Remove attributes without a description, and headings that are left without attributes."""
    filled = set()
    for table in list(doctree.findall(autosummary_table)):
        heading = heading_of(table)
        if heading is None or heading.astext() != HEADINGS[0]:
            continue
        for row in list(table.findall(nodes.row)):
            if is_empty(row[-1]):
                row.parent.remove(row)
        if next(iter(table.findall(nodes.row)), None) is None:
            table.parent.remove(table)
        else:
            filled.add(heading)
    for attribute in list(doctree.findall(addnodes.desc)):
        if attribute["objtype"] not in ("attribute", "property"):
            continue
        heading = heading_of(attribute)
        if not is_empty(attribute[-1]):
            filled.add(heading)
            continue
        siblings = attribute.parent.children
        entry = siblings[siblings.index(attribute) - 1]
        if isinstance(entry, addnodes.index):
            attribute.parent.remove(entry)
        attribute.parent.remove(attribute)
    for heading in list(doctree.findall(nodes.rubric)):
        if heading.astext() in HEADINGS and heading not in filled:
            heading.parent.remove(heading)


class DropAttributes(SphinxTransform):
    """Drop attributes before Sphinx collects the index, at 850, and the contents of the page."""

    default_priority = 840

    def apply(self):
        drop_attributes(self.document)


def setup(app):
    app.add_transform(DropAttributes)
    return {"version": "1", "parallel_read_safe": True}
