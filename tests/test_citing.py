"""What a result rests on, as BibTeX."""

import re

import pytest
from astropy import units as u
from astropy.table import QTable, Table

import clusterpost
from clusterpost.catalogs.metadata import LAYOUT_KEY
from clusterpost.citing import _CATALOGS, _DISTANCES, _METHOD, _entries, reference_keys
from clusterpost.cli import main
from clusterpost.families.registry import get_family


def keys(text):
    return re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE)


def test_every_key_has_an_entry():
    used = {*_METHOD, *(key for mapping in (_CATALOGS, _DISTANCES) for names in mapping.values() for key in names)}
    for name in ("clusters", "stochastic", "galaxies", "galaxies_young"):
        assert get_family(name).references, name
        used |= set(get_family(name).references)
    assert used == set(_entries())


def test_entries_are_balanced_and_complete():
    for key, entry in _entries().items():
        assert entry.count("{") == entry.count("}"), key
        assert {"author", "title", "year"} <= set(re.findall(r"^  (\w+) +=", entry, re.MULTILINE)), key


@pytest.fixture(scope="module")
def out():
    return clusterpost.infer_table(clusterpost.example_catalog()[:2], model="any_bands", n_samples=50, progress=False)


def test_a_result_rests_on_its_model_and_catalog(out):
    text = clusterpost.cite(out)
    assert keys(text)[:3] == ["clusterpost", "walter2025", "bruzual2003"]
    assert {"lee2022", "maschmann2024"} <= set(keys(text))  # the example has the columns of PHANGS-HST
    assert out.meta["CPVERS"] in text
    exact = clusterpost.exact_posterior(clusterpost.simulate(1, model="any_bands", seed=1))
    assert "walter2025" not in keys(clusterpost.cite(exact))
    assert "lee2022" not in keys(clusterpost.cite(exact))


def test_distances_are_cited():
    flux = {name: [1e-3, 2e-3] * u.mJy for band in ("F438W", "F555W", "F814W") for name in (band, f"{band}_err")}
    tbl = QTable(flux, meta={"target": "NGC 628"})
    given = clusterpost.infer_table(tbl, model="any_bands", n_samples=50, progress=False)
    assert "lee2022" in reference_keys(given)
    assert "lee2022" not in reference_keys(clusterpost.infer_table(tbl, model="any_bands", distance=9.8, n_samples=50,
                                                                   progress=False))


def test_layouts_are_told_apart():
    assert "adamo2017" in reference_keys(Table(meta={LAYOUT_KEY: "LEGUS"}))
    assert "adamo2017" not in reference_keys(Table(meta={LAYOUT_KEY: "PHANGS DR5"}))


def test_at_the_shell(out, tmp_path, capsys):
    assert main(["cite"]) == 0
    assert keys(capsys.readouterr().out)[0] == "clusterpost"
    clusterpost.write_catalog(out, tmp_path / "out.fits")
    assert main(["cite", str(tmp_path / "out.fits")]) == 0
    assert capsys.readouterr().out == clusterpost.cite(out)
