"""Show the types of fields without the bounds that are checked when a model file is read, and short defaults by value.

``Annotated[int, msgspec.Meta(ge=1)]`` is shown as ``int``, and ``error_floor=AUTO`` as ``error_floor='auto'``.
"""

import re
import sys

from sphinx.ext import autosummary

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


def unchanged(translator, node):
    """Write a summary as it is; autosummary would join the words of its first column by spaces that do not break."""


def setup(app):
    app.connect("autodoc-process-signature", process)
    app.setup_extension("sphinx.ext.autosummary")
    # A sentence does not end with these, such as "Walter et al. (2025), Sect. 2.2".
    autosummary.WELL_KNOWN_ABBREVIATIONS += ("Sect.", "Eq.", "Eqs.", "Fig.", "Figs.")
    app.add_node(autosummary.autosummary_table, override=True, html=(unchanged, unchanged))
    return {"version": "1", "parallel_read_safe": True}
