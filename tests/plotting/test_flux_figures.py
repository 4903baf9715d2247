"""Figures of photometry and of its predictions."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table
from matplotlib.figure import Figure

import clusterpost
from clusterpost.errors import InputError
from clusterpost.plotting import plot_chi2, plot_flux_errors, plot_predictive, plot_seds, plot_support

pytestmark = pytest.mark.usefixtures("exact_by_default")

BANDS = ("F275W", "F336W", "F438W", "F555W", "F814W")


@pytest.fixture
def photometry():
    """Fifty clusters; the first is an upper limit and the second missing in F275W."""
    rng = np.random.default_rng(2)
    tbl = QTable({"distance": np.full(50, 10.0) * u.Mpc})
    for i, band in enumerate(BANDS):
        tbl[band] = 10 ** rng.uniform(-4, -2, 50) * u.mJy
        tbl[f"{band}_err"] = tbl[band] * rng.uniform(0.02, 0.5 - 0.09 * i, 50)
    tbl["F275W_err"][0] *= -1
    tbl["F275W"][1] = np.nan
    return tbl


def check_of(n=200, n_draws=99, seed=0):
    """Ranks that crowd in the middle in F814W, and are uniform in F275W."""
    rng = np.random.default_rng(seed)
    flux = 10 ** rng.uniform(-4, -1, 2 * n)
    rank = np.concatenate([rng.integers(0, n_draws + 1, n), rng.binomial(n_draws, 0.5, n)])
    return Table({"band": ["F275W"] * n + ["F814W"] * n, "flux": flux, "mean": 1.1 * flux, "rank": rank},
                 meta={"n_draws": n_draws})


def chi2_table(n=300):
    rng = np.random.default_rng(1)
    ours = rng.chisquare(2, n) / 2
    return Table({"chi2_map": ours, "chi2_catalog": 3 * ours, "chi2_grid": np.where(np.arange(n) < 3, np.nan, ours)})


def sed_table():
    rows = []
    for row in (7, 3, 9):
        for k, band in enumerate(BANDS):
            rows.append({"row": row, "band": band, "wavelength": 2700.0 + 1200 * k, "flux": 0.01 * (k + 1),
                         "error": 0.001, "limit": row == 3 and k == 0, "map": 0.011 * (k + 1), "q16": 0.009 * (k + 1),
                         "catalog": np.nan if row == 9 else 0.013 * (k + 1), "q50": 0.01, "q84": 0.012 * (k + 1)})
    return Table(rows, meta={"n_parameters": 3})


def texts(ax):
    return " ".join(text.get_text() for text in ax.texts)


def test_flux_errors_of_detections_alone(photometry):
    figure = plot_flux_errors(photometry)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 15
    assert "n = 48" in figure.axes[0].get_title()
    assert "n = 50" in figure.axes[1].get_title()
    relative = (photometry["F336W_err"] / photometry["F336W"]).value
    assert f"{np.quantile(relative, 0.99):.3f}" in texts(figure.axes[11])
    assert f"{np.median(relative):.3f}" in texts(figure.axes[6])
    figure.draw_without_rendering()


def test_noise_models_differ_at_large_errors_only(photometry):
    figure = plot_flux_errors(photometry, bands=["F336W"])
    normal, lognormal = (line.get_ydata() for line in figure.axes[2].lines)
    assert np.abs(normal - lognormal).max() > 0.15 * normal.max()
    x = figure.axes[2].lines[0].get_xdata()
    np.testing.assert_allclose(np.sum(lognormal * x) / np.sum(lognormal), 1, atol=0.03)
    with pytest.raises(InputError, match="no band"):
        plot_flux_errors(photometry, where=[0], bands=["F275W"])


def test_predictions_and_ranks():
    figure = plot_predictive(check_of(), bins=10)
    assert len(figure.axes) == 4
    x, y = figure.axes[0].collections[0].get_offsets()[0]
    assert y == pytest.approx(1.1 * x)
    uniform, crowded = (figure.axes[i].patches[0].get_data().values for i in (1, 3))
    np.testing.assert_allclose(uniform, 1, atol=0.6)
    assert crowded[4:6].sum() > 9
    assert crowded[[0, 1, 8, 9]].sum() == 0
    figure.draw_without_rendering()
    with pytest.raises(InputError, match="no row"):
        plot_predictive(check_of()[:0])


def test_chi2_of_either():
    figure = plot_chi2(chi2_table())
    assert "MAP worse by more than 1 %: 0 %" in texts(figure.axes[1])
    assert "n = 300" in texts(figure.axes[1])
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0].startswith("MAP, median")
    worse = chi2_table()
    worse["chi2_catalog"] /= 9
    assert "MAP worse by more than 1 %: 100 %" in texts(plot_chi2(worse).axes[1])
    figure.draw_without_rendering()


def test_chi2_of_some_rows_with_examples():
    figure = plot_chi2(chi2_table(), reference=["chi2_grid", "chi2_catalog"], where=np.arange(20), examples=[5, 9])
    assert "n = 17" in texts(figure.axes[1])
    assert {"I", "II"} <= set(texts(figure.axes[1]).split())
    assert len(figure.axes[0].get_legend().get_texts()) == 3
    with pytest.raises(InputError, match="both chi2_map and chi2_grid"):
        plot_chi2(chi2_table(), reference="chi2_grid", where=[0, 1])


def test_seds_have_a_panel_each():
    figure = plot_seds(sed_table())
    titles = [ax.get_title() for ax in figure.axes if ax.axison]
    assert titles == ["I: row 7", "II: row 3", "III: row 9"]
    assert r"\chi^2_\nu = 27.50" in texts(figure.axes[0])  # (1 + 4 + 9 + 16 + 25) / 2
    assert "catalog" in texts(figure.axes[0])
    assert "catalog" not in texts(figure.axes[2])
    triangles = [line for line in figure.axes[1].lines if line.get_marker() == "v"]
    assert len(triangles[0].get_xdata()) == 1
    figure.draw_without_rendering()


def test_support_sorts_rows_by_their_flags(photometry):
    tbl = Table(photometry)
    tbl["flag"] = 0
    tbl["flag"][:6] = [1 | 8192, 1024, 256, 64, 64 | 1024, 2]
    figure = plot_support(tbl, mocks=photometry)
    assert len(figure.axes) == 6
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(labels) == {"none of these: 45", "error outside range: 1", "outside support, or a poor fit: 3",
                           "not inferred: 1", "68, 95 and 99.7 % of mocks"}
    points = figure.axes[1].collections  # F555W
    assert sorted(len(collection.get_offsets()) for collection in points) == [1, 1, 3, 45]
    first = sum(len(collection.get_offsets()) for collection in figure.axes[0].collections)
    assert first == 48  # in F275W one is a limit and one is missing
    figure.draw_without_rendering()
    with pytest.raises(InputError, match="flag"):
        plot_support(photometry)


def test_support_draws_its_own_mocks(photometry):
    photometry["flag"] = 0
    some = plot_support(photometry, where=np.arange(10))
    assert "none of these: 10" in [text.get_text() for text in some.legends[0].get_texts()]
    assert any("Contour" in type(part).__name__ for part in some.axes[3].collections)


def test_seds_of_a_result():
    out = clusterpost.infer_table(clusterpost.simulate(12, seed=2), n_samples=50, noise="normal", distance=7)
    figure = plot_seds(out[[0, 2]])
    assert len(figure.axes) == 2
    assert len(plot_seds(out[4]).axes) == 1
    with pytest.raises(InputError, match="draws one to 10 rows, and this table has 12; select some"):
        plot_seds(out)
    with pytest.raises(InputError, match="a table is needed, not dict"):
        plot_seds({})


def test_an_expression_selects_the_rows_of_flux_errors_and_chi_squares():
    tbl = Table({"F555W": [1.0, 2.0, 3.0] * u.mJy, "F555W_err": [0.1, 0.1, 0.1] * u.mJy, "class": [1, 2, 3]})
    assert "n = 2" in plot_flux_errors(tbl, where="class <= 2").axes[0].get_title()
    with pytest.raises(InputError, match=r"where= is a mask of shape \(2,\) for a table of length 3"):
        plot_flux_errors(tbl, where=[True, False])
    table = Table({"chi2_map": [1.0, 2.0, 3.0], "chi2_catalog": [1.5, 2.5, 3.5]})
    assert plot_chi2(table, where="chi2_map < 2.5").axes[1].texts[0].get_text().startswith("n = 2\n")
    with pytest.raises(InputError, match=r"where= is a mask of shape \(2,\) for a table of length 3"):
        plot_chi2(table, where=[True, False])
    with pytest.raises(InputError, match="examples= contains row 99, which does not exist; the table has 3 rows"):
        plot_chi2(table, examples=[99])
