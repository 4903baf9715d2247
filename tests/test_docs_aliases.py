"""References to names of packages lead to the pages of the modules that define them."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def defined_as(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    monkeypatch.delitem(sys.modules, "aliases", raising=False)
    from aliases import defined_as

    return defined_as


def test_the_module_that_defines_a_name(defined_as):
    assert defined_as("clusterpost.catalogs.correct_aperture") == "clusterpost.catalogs.levels.correct_aperture"
    assert defined_as("clusterpost.catalogs.levels.correct_aperture") is None
    for other in ("numpy.median", "clusterpost.catalogs.correct_apertures", "clusterpost.nothing.here", "median", ""):
        assert defined_as(other) is None


def test_functions_that_pages_name_are_documented(defined_as):
    """A page links a function under the module of one of the two lists of names."""
    listed = set(re.findall(r"automodapi:: ([\w.]+)", "".join(
        (DOCS / page).read_text() for page in ("api.rst", "developer_api.rst"))))
    reference = re.compile(r"(?<!`)`~?(clusterpost\.(?:catalogs|validation|scale)\.\w+)`(?!`)")
    names = {name for page in DOCS.glob("**/*.rst") if "api" not in page.parts
             for name in reference.findall(page.read_text())}
    assert len(names) > 25
    modules = {name: defined_as(name).rpartition(".")[0] for name in names if defined_as(name)}
    assert "clusterpost.validation.sbc_ranks" in modules
    assert not {name for name, module in modules.items() if module not in listed}


def test_the_output_columns_of_the_default_model_are_listed(monkeypatch):
    from clusterpost.families import get_family
    from clusterpost.schema import result_columns

    pytest.importorskip("docutils")
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    from registry import OutputColumns

    text = "\n".join(OutputColumns.lines(None))
    for family in ("stochastic", "clusters"):
        assert all(text.count(f"``{column.name}``") == 1 for column in result_columns(get_family(family)()))
    assert "````" not in text  # an empty literal is a section title
