"""Directives that run a page's code and commands during the build, and show their output.

``run`` runs Python; the blocks of a page share their variables.  ``:hide:`` runs a block unseen;
``:figure: name`` shows the figure of that variable below it.

``shell`` runs commands.  ``:files: names`` first copies files from beside the page; ``:figure: name`` shows a picture,
and ``:page: name`` links an HTML page, that the commands wrote.

All blocks of a page run in one new folder.

A failure stops the build.
"""

import ast
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives

ROOT = Path(__file__).parents[2]


def run_block(code, variables):
    """Run statement by statement, as at the prompt, and return the text of the session."""
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


def run_commands(text):
    """Run command by command, as in a terminal, and return the text of the session."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    program = f'clusterpost() {{ "{sys.executable}" -m clusterpost "$@"; }}\n'
    shown = []
    for command in text.replace("\\\n", "\\\0").splitlines():
        command = command.replace("\0", "\n")
        done = subprocess.run(["bash", "-c", program + command], env=os.environ | {"PYTHONPATH": path},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{command!r} ended with {done.returncode}: {done.stdout}")
        shown += [f"$ {command}", *done.stdout.rstrip().splitlines()]
    return "\n".join(shown)


class _Shown(Directive):
    has_content = True
    option_spec = {  # noqa: RUF012
        "figure": directives.unchanged, "alt": directives.unchanged, "width": directives.unchanged,
    }

    @property
    def env(self):
        return self.state.document.settings.env

    def output(self, function, **options):
        """Run the block in the page's folder; an exception is reported as an error of this block."""
        try:
            with contextlib.chdir(self.folder):
                return function("\n".join(self.content), **options)
        except Exception as error:
            raise self.error(f"this block does not run: {type(error).__name__}: {error}") from error

    @property
    def folder(self):
        """Return the page's folder, which exists while the page is read."""
        return Path(self.env.temp_data.setdefault("folder", tempfile.TemporaryDirectory()).name)

    def picture(self):
        """Return the path of a picture of this page, kept until the pages are written."""
        path = Path(self.env.app.doctreedir) / "run"
        path.mkdir(parents=True, exist_ok=True)
        return path / f"{self.env.docname.replace('/', '_')}_{self.env.new_serialno('run')}.png"

    def image(self, path):
        uri = Path(os.path.relpath(path, Path(self.env.doc2path(self.env.docname)).parent)).as_posix()
        return nodes.image(uri=uri, alt=self.options.get("alt", ""), width=self.options.get("width", "100%"),
                           align="center")


class Run(_Shown):
    option_spec = _Shown.option_spec | {"hide": directives.flag}

    def run(self):
        variables = self.env.temp_data.setdefault("run", {"__name__": "__page__"})
        text = self.output(run_block, variables=variables)
        shown = [] if "hide" in self.options else [nodes.literal_block(text, text, language="pycon")]
        if "figure" in self.options:
            path = self.picture()
            variables[self.options["figure"]].savefig(path, dpi=110)
            shown.append(self.image(path))
        return shown


class Shell(_Shown):
    option_spec = _Shown.option_spec | {"files": directives.unchanged, "page": directives.unchanged}

    def run(self):
        source = Path(self.env.doc2path(self.env.docname)).parent
        for name in self.options.get("files", "").split():
            self.env.note_dependency(str(source / name))
            shutil.copy(source / name, self.folder)
        text = self.output(run_commands)
        # Long lines wrap, as in a terminal.
        shown = [nodes.literal_block(text, text, language="console", classes=["terminal"])]
        if "figure" in self.options:
            shown.append(self.image(shutil.copy(Path(self.folder, self.options["figure"]), self.picture())))
        if "page" in self.options:
            target = Path(self.env.app.outdir, self.env.docname).with_name(self.options["page"])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(self.folder, self.options["page"]), target)
            link = nodes.reference("", "Open the page that this command wrote.", refuri=self.options["page"])
            shown.append(nodes.paragraph("", "", link))
        return shown


def setup(app):
    app.add_directive("run", Run)
    app.add_directive("shell", Shell)
    return {"version": "1", "parallel_read_safe": True}
