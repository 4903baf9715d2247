"""The oldest versions that are tested are those that pyproject.toml allows."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXTRAS = ("plot", "mcmc", "archive", "maf", "train", "validation", "scale", "test")


def lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    for requirement in wanted:
        name, _, bound = re.split("[,<]", requirement)[0].partition(">=")
        if bound and name != "torch":
            yield name.partition("[")[0], bound


def oldest():
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints-oldest.txt").read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


@pytest.mark.parametrize(("name", "bound"), sorted(set(lower_bounds())))
def test_every_lower_bound_is_tested(name, bound):
    tested = oldest()[name]
    assert tested == bound or tested.startswith(f"{bound}.")


def test_torch():
    assert '"torch>=2.3.1"' in (ROOT / "pyproject.toml").read_text()
    assert oldest()["torch"] == "2.3.1"
