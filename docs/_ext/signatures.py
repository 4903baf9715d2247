"""Show the types of fields without the bounds that are checked when a model file is read, and short defaults by value.

``Annotated[int, msgspec.Meta(ge=1)]`` is shown as ``int``, and ``error_floor=AUTO`` as ``error_floor='auto'``.
"""

import re
import sys

from docutils import nodes
from sphinx.ext.autosummary import autosummary_table

SPACE = "\N{NO-BREAK SPACE}"
DEFAULT = re.compile(r"(?<== )[A-Z_]+\b")
START = re.compile(r"~?(?:typing\.)?Annotated\[")


def bare(text):
    """Replace annotated types in a signature by the types themselves."""
    while (start := START.search(text)) is not None:
        depth, comma, position = 1, None, start.end()
        while depth:
            character = text[position]
            depth += (character in "[({") - (character in "])}")
            if character == "," and depth == 1 and comma is None:
                comma = position
            position += 1
        text = text[:start.start()] + text[start.end():comma] + text[position:]
    return text


def valued(text, module):
    """Replace names of constants by their values, if these are texts or numbers."""
    def value(match):
        constant = getattr(sys.modules.get(module), match[0], None)
        return repr(constant) if isinstance(constant, str | int | float) else match[0]

    return DEFAULT.sub(value, text)


def process(app, what, name, obj, options, signature, result):
    """Return the signature to show."""
    if signature:
        signature = valued(bare(signature), getattr(obj, "__module__", None))
    return signature, bare(result) if result else result


def breakable(app, doctree):
    """Let the signatures in summaries break between their arguments, instead of not at all."""
    for table in doctree.findall(autosummary_table):
        for text in list(table.findall(nodes.Text)):
            if SPACE in text:
                text.parent.replace(text, nodes.Text(text.replace(SPACE, " ")))


def setup(app):
    app.connect("autodoc-process-signature", process)
    app.connect("doctree-read", breakable)
    return {"version": "1", "parallel_read_safe": True}
