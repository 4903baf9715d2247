"""What a result rests on, as BibTeX."""

import re

import pytest
from astropy import units as u
from astropy.table import QTable, Table

import clusterpost
from clusterpost.catalogs.metadata import LAYOUT_KEY
from clusterpost.citing import _CATALOGS, _DISTANCES, _entries, reference_keys, short_citation
from clusterpost.cli import main
from clusterpost.families.registry import get_family


def keys(text):
    return re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE)


def test_every_key_has_an_entry():
    used = {key for mapping in (_CATALOGS, _DISTANCES) for names in mapping.values() for key in names}
    for name in ("clusters", "stochastic", "galaxies", "galaxies_young"):
        assert get_family(name).references, name
        assert get_family(name).method, name
        used |= {*get_family(name).method, *get_family(name).references}
    assert used == set(_entries())


def test_entries_are_balanced_and_complete():
    for key, entry in _entries().items():
        assert entry.count("{") == entry.count("}"), key
        assert {"author", "title", "year"} <= set(re.findall(r"^  (\w+) +=", entry, re.MULTILINE)), key


@pytest.mark.parametrize(("key", "entry"), _entries().items())
def test_an_identifier_agrees_with_volume_and_page(key, entry):
    fields = dict(re.findall(r"^  (\w+) += \{(.*)\},$", entry, re.MULTILINE))
    doi = fields.get("doi", "")
    assert "doi" in fields or "adsurl" in fields
    preprint = f"20{fields.get('eprint', '')[:2]}"  # an old number of the archive has its field there
    assert key.endswith((fields["year"], preprint))
    if bibcode := fields.get("adsurl", "").rpartition("/")[2].replace("%26", "&"):
        year, volume, page, initial = re.fullmatch(r"(\d{4})[\w&]+?\.+(\d+)[P.]\.*(\w+?)([A-Z])", bibcode).groups()
        assert (year, volume, page) == (fields["year"], fields["volume"], fields["pages"])
        assert fields["author"].startswith(initial)
        assert len(bibcode) == 19
    assert fields["author"].split(",")[0].lower().startswith("lan" if key == "lancon2002" else key[:-4].replace(
        "odonnell", "o'donnell"))
    if inside := re.fullmatch(r"10\.(?:1088|3847)/(?:0004-637X|0004-6256)/(\d+)/(?:\d+)/(\d+)", doi):
        assert inside.groups() == (fields["volume"], fields["pages"])
    journals = {"10.3847/1538-4357/": "The Astrophysical Journal", "10.1051/0004-6361": "Astronomy", "10.1093/mnras/":
                "Monthly Notices", "10.3847/1538-4365/": "The Astrophysical Journal Supplement", "10.1088/0004-637X":
                "The Astrophysical Journal", "10.1088/0004-6256": "The Astronomical Journal"}
    for start, journal in journals.items():
        if doi.startswith(start):
            assert fields["journal"].startswith(journal)


def test_papers_are_named_as_in_a_text():
    assert short_citation("hahn2022") == "Hahn & Melchior 2022"
    assert short_citation("lee2022") == "Lee et al. 2022"
    assert [short_citation(key) for key in ("lancon2002", "odonnell1994")] == ["Lançon & Mouhcine 2002",
                                                                             "O'Donnell 1994"]


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
