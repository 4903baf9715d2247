"""Imports within the package go one way; those inside of functions count like any other."""

import graphlib
import subprocess
import sys

import pytest

grimp = pytest.importorskip("grimp")

#: From the top to the bottom: a module imports from its own floor and from those below.  CONTRIBUTING.md shows it.
FLOORS = (
    ("cli", "arguments", "check", "__main__"),
    ("validation.report", "report", "scale"),
    ("plotting",),
    ("validation",),
    ("training",),
    ("infer", "inference", "summarize", "workers"),
    ("provenance", "prepare", "schema", "photometry", "findings", "citing",
     "band_table"),
    ("flow", "posterior"),
    ("families", "priors", "bounded"),
    ("catalogs", "noise", "observations", "densities", "bands", "flags", "selection", "utils", "config", "errors",
     "typing"),
)


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("clusterpost", cache_dir=None, exclude_type_checking_imports=True)


def floor(module):
    """The number of a module's floor: that of its longest name in the list."""
    name = module.removeprefix("clusterpost.")
    found = [(len(prefix), number) for number, prefixes in enumerate(FLOORS) for prefix in prefixes
             if name == prefix or name.startswith(f"{prefix}.")]
    assert found, f"{module} is on no floor; put it into FLOORS"
    return max(found)[1]


def imports(graph):
    for module in sorted(graph.modules - {"clusterpost"}):
        for other in graph.find_modules_directly_imported_by(module) - {"clusterpost"}:
            yield module, other


def test_nothing_is_imported_from_a_higher_floor(graph):
    wrong = [f"{module} -> {other}" for module, other in imports(graph) if floor(other) < floor(module)]
    assert wrong == []


def test_there_is_no_circle(graph):
    order = graphlib.TopologicalSorter()
    for module, other in imports(graph):
        order.add(module, other)
    order.prepare()  # raises a CycleError
    circle = graphlib.TopologicalSorter({"a": ["b"], "b": ["a"]})
    with pytest.raises(graphlib.CycleError):
        circle.prepare()


def test_reading_a_table_loads_no_torch(tmp_path):
    (tmp_path / "t.ecsv").write_text("# %ECSV 1.0\n# ---\n# datatype:\n"
                                     "# - {name: F275W, unit: mJy, datatype: float64}\n"
                                     "# - {name: F275W_err, unit: mJy, datatype: float64}\n"
                                     "# - {name: distance, unit: Mpc, datatype: float64}\n"
                                     "F275W F275W_err distance\n1.0 0.1 10.0\n")
    code = (f"import sys, clusterpost; print(len(clusterpost.read_catalog({str(tmp_path / 't.ecsv')!r})), "
            "'torch' in sys.modules)")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert shown.stdout.strip() == "1 False"
