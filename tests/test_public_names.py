"""Every public name is documented: a docstring, an example that runs, and a place in the guide."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import clusterpost
import clusterpost.plotting

DOCS = Path(__file__).parents[1] / "docs"
LISTS = {"api.rst", "developer_api.rst", "changes.rst"}
# Everything of these, besides what the page "API" lists.
PACKAGES = ("clusterpost.catalogs", "clusterpost.families", "clusterpost.scale", "clusterpost.validation")
# They need a network.
WITHOUT_EXAMPLE = {"fetch_phangs", "list_phangs"}


def pages_of_the_guide():
    """All of the guide but the lists of names."""
    pages = [path for pattern in ("*.rst", "*/*.rst", "*/*.md", "*/*.ipynb") for path in DOCS.glob(pattern)
             if path.name not in LISTS and "_build" not in path.parts and "api" not in path.parts]
    return "\n".join(path.read_text(encoding="utf-8") for path in pages)


def imported_by(text):
    """Modules and names that a text imports from the package."""
    for module, names in re.findall(r"from (clusterpost[\w.]*) import ([\w, ]+)", text):
        yield from ((module, name) for name in re.findall(r"\w+", names))


GUIDE = pages_of_the_guide()
LISTED = re.findall(r"automodapi:: ([\w.]+)", (DOCS / "api.rst").read_text())
NAMES = sorted({*((module, name) for module in (*LISTED, *PACKAGES) for name in import_module(module).__all__),
                *imported_by(GUIDE)})
OBJECTS = {(module, name): thing for module, name in NAMES
           if inspect.isroutine(thing := getattr(import_module(module), name)) or inspect.isclass(thing)}
FUNCTIONS = {key: thing for key, thing in OBJECTS.items() if inspect.isroutine(thing)}


def test_the_names_are_found():
    """The tests below run over the names that are found here."""
    assert set(LISTED) == {f"clusterpost{end}" for end in ("", ".plotting", ".priors", ".flags", ".selection",
                                                           ".report", ".errors")}
    assert len(FUNCTIONS) >= 90
    assert len(OBJECTS) >= 130
    assert {"infer_table", "plot_posterior", "write_report", "simulate", "cluster_prior", "Exponential", "flag_values",
            "select_rows", "ModelFamily", "infer_file", "train_model", "SurveyPrior", "UnitError"} <= {
                name for _, name in OBJECTS}


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


def is_public(name):
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def bare_functions(source):
    """Public functions and methods, those inside of functions included, without types or without a docstring."""

    def look(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef) and not is_public(child.name):
                continue
            if isinstance(child, ast.FunctionDef):
                given = child.args
                named = given.posonlyargs + given.args
                if isinstance(node, ast.ClassDef) and "staticmethod" not in map(ast.unparse, child.decorator_list):
                    named = named[1:]  # self or cls
                named = [*named, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
                yield from (f"{inside}{child.name}({arg.arg})" for arg in named if arg.annotation is None)
                if child.returns is None and child.name != "__init__":
                    yield f"{inside}{child.name} ->"
                if not child.name.startswith("__") and not ast.get_docstring(child):
                    yield f"{inside}{child.name} has no docstring"
            yield from look(child, f"{inside}{child.name}." if hasattr(child, "name") and child.name else inside)

    return look(ast.parse(source), "")


def test_public_functions_have_types_and_docstrings():
    assert list(bare_functions('''class A:
    def __init__(self, x): ...
    def f(self, *, y) -> int:
        "Do."
        def g(): ...
    def _h(self, z): ...''')) == ["A.__init__(x)", "A.f(y)", "A.f.g ->", "A.f.g has no docstring"]
    package = Path(clusterpost.__file__).parent
    assert not [(path.name, name) for path in package.rglob("*.py") for name in bare_functions(path.read_text())]


def undocumented(thing, name, guide):
    """What a public function or class lacks."""
    text = inspect.getdoc(thing)
    # A class without a docstring has its parent's, and a data class its own signature.
    if not text or (inspect.isclass(thing) and ("__doc__" not in vars(thing) or text.startswith(f"{name}("))):
        return ["a docstring"]
    first = text.split()[0].rstrip(".")
    lacks = []
    if inspect.isroutine(thing):
        if not first[0].isupper():
            lacks.append("a first line")
        if first.endswith("ing"):
            lacks.append("an imperative in the first line")
        lacks += [f"the parameter {parameter}" for parameter in inspect.signature(thing).parameters
                  if parameter not in text]
    if inspect.isroutine(thing):
        has_example = name in WITHOUT_EXAMPLE or re.search(rf"(?:>>>|\.\.\.) .*\b{name}\(", text)
    else:  # an exception needs none, and other classes are also shown by their methods, or made by functions
        members = [getattr(thing, key) for key in vars(thing) if not key.startswith("_")]
        has_example = issubclass(thing, Exception) or any(
            ">>> " in (inspect.getdoc(member) or "") for member in (thing, *members))
    if not has_example:
        lacks.append("an example")
    if not re.search(rf"\b{name}\b", guide):
        lacks.append("a place in the guide")
    return lacks


@pytest.mark.parametrize(("module", "name"), OBJECTS)
def test_a_public_name(module, name):
    assert undocumented(OBJECTS[module, name], name, GUIDE) == []


def test_what_is_undocumented_is_found():
    """Each lack is found in functions and classes that have it, and none in one that has none."""
    def infer_more(table):
        """Infer more.

        Parameters
        ----------
        table : Table

        >>> infer_more(table)
        """

    def infer_less(table, prefix):
        """Inferring less, of a table."""

    class Bare:
        pass

    class Shown:
        """Something."""

    assert undocumented(infer_more, "infer_more", "call infer_more(table)") == []
    assert undocumented(infer_more, "infer_more", "call infer_moreover(table)") == ["a place in the guide"]
    assert undocumented(infer_less, "infer_less", "infer_less") == [
        "an imperative in the first line", "the parameter prefix", "an example"]
    assert undocumented(Bare, "Bare", "Bare") == ["a docstring"]
    assert undocumented(Shown, "Shown", "Shown") == ["an example"]
    assert list(imported_by("from clusterpost.scale import infer_file, infer_dataset  # both")) == [
        ("clusterpost.scale", "infer_file"), ("clusterpost.scale", "infer_dataset")]


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
