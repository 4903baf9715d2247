"""The page on catalogs runs as it is written."""

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_page_runs(monkeypatch):
    pytest.importorskip("docutils")
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "catalogs"))
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    from docutils.core import publish_doctree
    from docutils.parsers.rst import Directive, directives
    from run import run_block

    blocks = []

    class Block(Directive):
        has_content = True
        option_spec = dict.fromkeys(("hide", "figure", "alt"), directives.unchanged)

        def run(self):
            blocks.append("\n".join(self.content))
            return []

    directives.register_directive("run", Block)
    publish_doctree((DOCS / "catalogs.rst").read_text(), settings_overrides={"report_level": 5})
    variables = {"__name__": "__page__"}
    shown = "\n".join(run_block(block, variables) for block in blocks)
    assert "(194, 'ngc1433', 'dr4', 'obs+sed')" in shown
    assert "'ngc0628c': 12" in shown
    assert len(variables["out"]) == 194
    assert {"log_age", "log_mass", "ebv"} <= set(variables["result"]["parameter"])
    assert len(variables["fig"].axes) >= 6
    assert sys.modules["clusterpost"].conf.cache_dir == ""
