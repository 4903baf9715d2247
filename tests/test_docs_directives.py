"""Code and commands that pages run when they are built."""

from pathlib import Path

import pytest

pytest.importorskip("docutils")
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    monkeypatch.chdir(tmp_path)
    return pytest.importorskip("run")


def test_commands_show_what_a_terminal_shows(run):
    text = "echo one > a.txt\ncat a.txt \\\n  a.txt; echo problem >&2"
    assert run.run_commands(text) == "$ echo one > a.txt\n$ cat a.txt \\\n  a.txt; echo problem >&2\none\none\nproblem"


def test_the_command_is_that_of_this_package(run):
    assert "BibTeX" in run.run_commands("clusterpost cite --help")


def test_a_command_that_fails_is_an_error(run):
    with pytest.raises(RuntimeError, match="ended with 3: before"):
        run.run_commands("echo before; exit 3")
