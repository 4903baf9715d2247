"""A directive that runs a page's code when the page is built, and shows what it gives.

The blocks of a page share their variables.  ``:hide:`` runs a block unseen;
``:figure: name`` shows the figure of that variable below it.  What fails,
fails the build.
"""

import ast
import contextlib
import io
import os
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives


def run_block(code, variables):
    """Run statement by statement, as at the prompt; the text that one would see there."""
    lines, shown = code.splitlines(), []
    for statement in ast.parse(code).body:
        source = lines[statement.lineno - 1 : statement.end_lineno]
        shown += [f"{'... ' if i else '>>> '}{line}".rstrip() for i, line in enumerate(source)]
        output = io.StringIO()
        piece = ast.unparse(statement)
        with contextlib.redirect_stdout(output):
            if isinstance(statement, ast.Expr):
                value = eval(piece, variables)
                if value is not None:
                    print(repr(value))
            else:
                exec(piece, variables)
        shown += output.getvalue().rstrip().splitlines()
    return "\n".join(shown)


class Run(Directive):
    has_content = True
    option_spec = {  # noqa: RUF012
        "hide": directives.flag, "figure": directives.unchanged, "alt": directives.unchanged,
        "width": directives.unchanged,
    }

    def run(self):
        env = self.state.document.settings.env
        variables = env.temp_data.setdefault("run", {"__name__": "__page__"})
        try:
            text = run_block("\n".join(self.content), variables)
        except Exception as error:
            raise self.error(f"this block does not run: {type(error).__name__}: {error}") from error
        shown = [] if "hide" in self.options else [nodes.literal_block(text, text, language="pycon")]
        if "figure" in self.options:
            shown.append(self.image(env, variables[self.options["figure"]]))
        return shown

    def image(self, env, figure):
        path = Path(env.app.doctreedir) / "run" / f"{env.docname.replace('/', '_')}_{env.new_serialno('run')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        uri = Path(os.path.relpath(path, Path(env.doc2path(env.docname)).parent)).as_posix()
        return nodes.image(uri=uri, alt=self.options.get("alt", ""), width=self.options.get("width", "100%"),
                           align="center")


def setup(app):
    app.add_directive("run", Run)
    return {"version": "1", "parallel_read_safe": True}
