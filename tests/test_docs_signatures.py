"""Signatures on the pages of the API are readable."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")


@pytest.fixture
def signatures(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs" / "_ext"))
    monkeypatch.delitem(sys.modules, "signatures", raising=False)
    import signatures

    return signatures


@pytest.mark.parametrize(("signature", "shown"), [
    ("(n: int = 3)", "(n: int = 3)"),
    ("(n: Annotated[int, msgspec.Meta(ge=1, le=9)], kind: str = 'maf')", "(n: int, kind: str = 'maf')"),
    ("(low: ~typing.Annotated[tuple[Annotated[float, msgspec.Meta(ge=0)], ...], msgspec.Meta(max_length=9)])",
     "(low: tuple[float, ...])"),
    ("(hash: typing.Annotated[str, msgspec.Meta(pattern='^[0-9a-f]{64}$')] | dict[str, int])",
     "(hash: str | dict[str, int])"),
])
def test_types_without_their_bounds(signatures, signature, shown):
    assert signatures.bare(signature) == shown


def test_short_constants_are_shown_by_value(signatures):
    import clusterpost.infer

    signature = "(error_floor: float | None = AUTO, prior: Any = None, table: dict = _ONLY_OF_TABLES)"
    shown = signatures.valued(signature, clusterpost.infer.__name__)
    assert shown == signature.replace("AUTO", "'auto'")


def test_summaries_break_between_arguments_and_are_whole_sentences(signatures, tmp_path):
    from sphinx.application import Sphinx

    (tmp_path / "conf.py").write_text("extensions = ['sphinx.ext.autosummary', 'signatures']")
    (tmp_path / "index.rst").write_text("Title\n=====\n\n.. autosummary::\n\n   clusterpost.cite\n"
                                        "   clusterpost.noise.Walter2025Noise\n")
    Sphinx(tmp_path, tmp_path, tmp_path / "html", tmp_path / "doctrees", "html", status=None, warning=None).build()
    text = (tmp_path / "html" / "index.html").read_text()
    assert "([tbl, prefix])" in text
    assert "Noise model of Walter et al. (2025), Sect. 2.2." in text
