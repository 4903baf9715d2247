"""Fixtures of all tests, those of docstrings and pages included."""

import pytest


@pytest.fixture
def coarse_figures(monkeypatch):
    """Write figures small and as they are arranged at first, where the test is of which figures there are."""
    figure = pytest.importorskip("matplotlib.figure")
    savefig = figure.Figure.savefig

    def coarse(self, *args, **options):
        self.set_layout_engine("none")
        return savefig(self, *args, **options | {"dpi": 30})

    monkeypatch.setattr(figure.Figure, "savefig", coarse)


@pytest.fixture(autouse=True)
def _coarse_examples(request):
    """Examples show that figures are made; how they look is for the tests of figures."""
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("coarse_figures")
