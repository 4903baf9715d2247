"""Every public name is documented: a docstring, an example that runs, and a place in the guide."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import clusterpost
import clusterpost.plotting
import clusterpost.report

DOCS = Path(__file__).parents[1] / "docs"
LISTS = {"api.rst", "developer_api.rst", "changes.rst"}
MODULES = (clusterpost, clusterpost.plotting, clusterpost.report)
NAMES = sorted({(module.__name__, name) for module in MODULES for name in module.__all__
                if inspect.isroutine(getattr(module, name))})


def test_the_names_are_found():
    """The tests below run over the names that are found here."""
    assert len(NAMES) >= 40
    assert {"infer_table", "plot_posterior", "write_report", "simulate"} <= {name for _, name in NAMES}
    listed = set(re.findall(r"automodapi:: ([\w.]+)", (DOCS / "api.rst").read_text()))
    assert {module.__name__ for module in MODULES} <= listed


def nominal_docstrings(source):
    """First lines that are no noun and no imperative but a clause; a property may say *Whether*."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and (text := ast.get_docstring(node)):
            is_property = any("property" in ast.unparse(d) for d in getattr(node, "decorator_list", ()))
            first = text.split()[0]
            if first in ("What", "How", "Which", "Where", "Who", "Those") or (first == "Whether" and not is_property):
                yield text.splitlines()[0]


def test_docstrings_are_nouns_or_imperatives():
    assert list(nominal_docstrings('''def f():
        "What it is."''')) == ["What it is."]
    package = Path(clusterpost.__file__).parent
    assert not [(path.name, line) for path in package.rglob("*.py") for line in nominal_docstrings(path.read_text())]


@pytest.fixture(scope="module")
def guide():
    """All of the guide but the lists of names."""
    pages = [path for pattern in ("*.rst", "*/*.rst", "*/*.md", "*/*.ipynb") for path in DOCS.glob(pattern)
             if path.name not in LISTS and "_build" not in path.parts and "api" not in path.parts]
    return "\n".join(path.read_text(encoding="utf-8") for path in pages)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_function(module, name, guide):
    function = getattr(import_module(module), name)
    text = inspect.getdoc(function)
    assert text, "it has no docstring"
    first = text.splitlines()[0].split()[0].rstrip(".")
    assert first[0].isupper()
    assert not first.endswith("ing"), "the first line is imperative"
    examples = re.findall(r"(?:>>>|\.\.\.) (.*)", text)
    assert any(f"{name}(" in line for line in examples) or "fetch" in name or "list_phangs" in name, "no example"
    assert re.search(rf"\b{name}\b", guide), "no page of the guide names it"


def test_public_signatures_are_typed_or_documented():
    for module, name in NAMES:
        function = getattr(import_module(module), name)
        text = inspect.getdoc(function)
        for parameter in inspect.signature(function).parameters.values():
            assert parameter.name in text, f"{name}: {parameter.name} is not documented"


def test_the_stub_and_the_module_agree():
    for module in (clusterpost, clusterpost.plotting):
        stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text())
        named = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert named <= set(module.__all__)


def test_the_mask_for_topcat_is_that_of_is_good():
    from clusterpost.flags import FLAGS, is_good

    mask = sum(flag.bit for flag in FLAGS if not is_good(flag.bit))
    page = (DOCS / "howto" / "topcat.rst").read_text()
    assert set(re.findall(r"flag & (\d+)\) == 0", page)) == {str(mask)}


@pytest.mark.parametrize("word", ["TOPCAT", "JWST", "F606W", "CSV", "Vega", "globular", "GPU", "BibTeX"])
def test_pages_are_found_by_the_words_of_users(word):
    assert any(word in path.read_text() for path in (DOCS / "howto").glob("*.rst"))


def test_every_page_is_in_a_group():
    listed = {line.strip() for path in DOCS.glob("*.rst") for line in path.read_text().splitlines()
              if re.fullmatch(r"   [\w/]+", line)}
    pages = {str(path.relative_to(DOCS).with_suffix("")) for folder in (DOCS, DOCS / "howto", DOCS / "notebooks")
             for path in folder.iterdir() if path.suffix in (".rst", ".md", ".ipynb")}
    assert pages - listed == {"index"}
