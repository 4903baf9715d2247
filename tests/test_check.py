import shutil

import pytest

from clusterpost import check
from clusterpost.check import check_installation
from clusterpost.cli import main
from clusterpost.families.clusters import table as clusters_table
from clusterpost.families.clusters.table import FURTHER_BANDS, TABLES
from clusterpost.families.stochastic import table as stars_table
from clusterpost.flow import bundled


def problems():
    return {f.name: f for f in check_installation() if f.problem}


@pytest.fixture
def copied_models(tmp_path, monkeypatch):
    for path in bundled.MODELS_PATH.glob("walter2025.*"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(bundled, "MODELS_PATH", tmp_path)
    return tmp_path


def test_this_installation_is_sound(capsys):
    findings = list(check_installation())
    assert not [f for f in findings if f.problem]
    assert {"torch", "band-flux table z0.02", "model walter2025", "inference"} <= {f.name for f in findings}
    assert main(["check"]) == 0
    assert "PROBLEM" not in capsys.readouterr().out


def test_a_damaged_table(tmp_path, monkeypatch, capsys):
    damaged = tmp_path / "table.safetensors"
    damaged.write_bytes(TABLES["z0.02"].read_bytes()[:-1])
    monkeypatch.setitem(TABLES, "z0.02", damaged)
    found = problems()
    assert list(found) == ["band-flux table z0.02"]
    assert "reinstall" in found["band-flux table z0.02"].remedy
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    assert "PROBLEM  band-flux table z0.02" in out
    assert "remedy: reinstall" in out


@pytest.mark.parametrize(("name", "title"), [("FURTHER_BANDS", "z0.02, further bands"), ("STARS_PATH", "of stars")])
def test_every_packaged_table_is_looked_at(tmp_path, monkeypatch, name, title):
    module = clusters_table if name == "FURTHER_BANDS" else stars_table
    path = tmp_path / "damaged"
    path.write_bytes(b"not the one")
    monkeypatch.setattr(module, name, {**FURTHER_BANDS, "z0.02": path} if name == "FURTHER_BANDS" else path)
    assert list(problems()) == [f"band-flux table {title}"]


def test_no_table(tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES, "z0.05", tmp_path / "absent")
    assert "absent" in problems()["band-flux table z0.05"].result


def test_damaged_weights(copied_models, capsys):
    path = copied_models / "walter2025.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    found = problems()
    assert list(found) == ["model walter2025"]
    assert "get both files again" in found["model walter2025"].result
    assert "reinstall" in found["model walter2025"].remedy
    assert main(["check"]) == 1
    assert "PROBLEM  model walter2025" in capsys.readouterr().out


@pytest.mark.parametrize("card", ["", "{", "[]", "{}"])
def test_a_damaged_card(copied_models, card):
    (copied_models / "walter2025.json").write_text(card)
    assert list(problems()) == ["model walter2025"]


def test_a_package_that_is_absent(monkeypatch):
    monkeypatch.setattr(check, "_NEEDED", ("numpy", "no_such_package"))
    findings = list(check_installation())
    (problem,) = [f for f in findings if f.problem]
    assert problem.name == "no_such_package"
    assert problem.remedy == "pip install no_such_package"
    assert not [f for f in findings if f.name.startswith("band-flux table")]  # nothing further could work


def test_an_optional_package_is_no_problem(monkeypatch):
    monkeypatch.setattr(check, "_OPTIONAL", {"no_such_package": "plot"})
    (finding,) = [f for f in check_installation() if f.name == "no_such_package"]
    assert not finding.problem
    assert finding.remedy == "pip install 'clusterpost[plot]'"
