"""Figures of whole catalogs."""

import numpy as np
import pytest
from astropy.table import vstack
from matplotlib.figure import Figure

from clusterpost.errors import ColumnError, InputError
from clusterpost.plotting import plot_catalog, plot_comparison, plot_deviation
from clusterpost.plotting.catalogs import _running_quantiles

pytestmark = pytest.mark.usefixtures("exact_by_default")


def test_comparison_shows_the_rows_with_fit_and_inference(catalog, published):
    catalog["fit_age"][0] = -999
    figure = plot_comparison(catalog, published)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 6
    points = figure.axes[0].collections[1].get_offsets()
    assert len(points) == 53  # of 60, six not inferred and one without a fit
    assert "n = 53" in figure.axes[0].texts[0].get_text()
    figure.draw_without_rendering()


def test_comparison_is_drawn_against_the_catalog(catalog, published):
    figure = plot_comparison(catalog, published, where=[3])
    x, y = figure.axes[1].collections[1].get_offsets()[0]
    np.testing.assert_allclose([x, y], np.log10([catalog["fit_mass"][3], catalog["mass_map"][3]]))
    assert figure.axes[0].get_xlim() == figure.axes[0].get_ylim() == figure.axes[3].get_xlim()


def test_closest_modes_scatter_less(catalog, published):
    figure = plot_comparison(catalog, published)
    top, bottom = (figure.axes[i].collections[j].get_offsets() for i, j in ((0, 1), (3, 0)))
    assert np.std(np.diff(bottom)) < 0.5 * np.std(np.diff(top))


def test_highlight_splits_the_points(catalog, published):
    highlight = np.arange(60) < 9
    figure = plot_comparison(catalog, published, highlight=highlight)
    assert len(figure.axes[0].collections[2].get_offsets()) == 9
    assert "9 highlighted" in figure.get_suptitle()


def test_comparison_of_one_parameter(catalog, published):
    figure = plot_comparison(catalog, {"ebv": published["ebv"]})
    assert len(figure.axes) == 2


def test_nothing_to_compare_is_refused(catalog, published):
    with pytest.raises(InputError, match="published fit"):
        plot_comparison(catalog, {})
    with pytest.raises(InputError, match="inferred row"):
        plot_comparison(catalog, published, where=[9])


@pytest.mark.parametrize("plot", [plot_comparison, plot_deviation])
def test_an_expression_selects_the_rows(catalog, published, plot):
    young = np.flatnonzero(np.asarray(catalog["age_q50"]) < 100)
    expected, shown = (plot(catalog, published, where=where) for where in (young, "age_q50 < 100"))
    assert 5 < len(young) < 50
    for ax, same in zip(shown.axes, expected.axes, strict=True):
        assert [text.get_text() for text in ax.texts] == [text.get_text() for text in same.texts]
    with pytest.raises(ColumnError, match="not in the table"):
        plot(catalog, published, where="age_q51 < 100")


def test_rows_that_do_not_exist_are_refused(catalog, published):
    for plot in (plot_comparison, plot_deviation):
        with pytest.raises(InputError, match=r"where= is a mask of shape \(59,\) for a table of length 60"):
            plot(catalog, published, where=np.ones(59, bool))
    with pytest.raises(InputError, match=r"where= is a mask of shape \(59,\) for a table of length 60"):
        plot_catalog(catalog, where=np.ones(59, bool))
    with pytest.raises(InputError, match="examples= contains row 99, which does not exist; the table has 60 rows"):
        plot_comparison(catalog, published, examples=[99])


def test_highlighted_rows(catalog, published):
    figure = plot_comparison(catalog, published, highlight=np.arange(60) < 7)
    assert len(figure.axes[0].collections[2].get_offsets()) == 7


def test_examples_are_marked_with_numerals(catalog, published):
    figure = plot_comparison(catalog, published, examples=[4, 9, 2])  # row 9 was not inferred
    for ax in figure.axes:
        assert [text.get_text() for text in ax.texts[1:]] == ["I", "III"]
    mark = figure.axes[1].lines[-1]
    np.testing.assert_allclose([mark.get_xdata()[0], mark.get_ydata()[0]],
                               np.log10([catalog["fit_mass"][2], catalog["mass_map"][2]]))


def test_which_mass_is_named(catalog, published):
    axes = plot_comparison(catalog, published).axes
    assert "initial" in axes[1].get_title()
    assert "published" in axes[4].get_xlabel()


def test_deviation_against_width(catalog, published):
    catalog["fit_ebv"][0] = -999
    figure = plot_deviation(catalog, published)
    assert len(figure.axes) == 3
    x, y = figure.axes[1].collections[0].get_offsets()[2]  # the rows 0 and 9 are out
    row = catalog[3]
    np.testing.assert_allclose(x, np.log10(row["mass_q84"] / row["mass_q16"]))
    np.testing.assert_allclose(y, np.log10(row["mass_map"] / row["fit_mass"]))
    assert figure.axes[0].texts[0].get_text() == "n = 53"
    low, median, high = (figure.axes[0].lines[i].get_ydata() for i in (1, 2, 3))
    assert ((low < median) & (median < high)).all()
    figure.draw_without_rendering()


def test_deviation_of_a_few_clusters_has_no_lines_and_still_draws(catalog, published):
    figure = plot_deviation(catalog, {"ebv": published["ebv"]}, where=[0, 1, 2])
    assert len(figure.axes) == 1
    assert len(figure.axes[0].lines) == 1  # that of zero
    figure.draw_without_rendering()
    with pytest.raises(InputError, match="no inferred row"):
        plot_deviation(catalog, published, where=[9])


def test_running_quantiles_are_those_of_the_points():
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, 20000)
    center, (low, median, high) = _running_quantiles(x, x * rng.normal(size=20000), (0.05, 0.5, 0.95))
    assert len(center) == 25
    np.testing.assert_allclose((high / center)[1:], 1.645, atol=0.3)
    np.testing.assert_allclose((low / center)[1:], -1.645, atol=0.3)
    np.testing.assert_allclose(median, 0, atol=0.1)


def test_catalog_overview(catalog):
    figure = plot_catalog(catalog)
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_title(loc="left") == "54 good of 60 rows, 6 not inferred"
    text = "\n".join(text.get_text() for ax in figure.axes for text in ax.texts)
    assert "6 not inferred (bad)" in text
    assert "6 missing band\n" in f"{text}\n"
    figure.draw_without_rendering()


def test_doubtful_rows_are_drawn_apart(catalog):
    catalog["flag"][:5] |= 256
    figure = plot_catalog(catalog)
    assert "49 good of 60 rows, 5 doubtful (crosses)" in figure.axes[0].get_title(loc="left")
    good, doubtful = (c.get_offsets() for c in figure.axes[0].collections[-2:])
    assert len(good) == 49
    np.testing.assert_allclose(doubtful[0], np.log10([catalog["age_q50"][0], catalog["mass_q50"][0]]))
    counts = sum(patch.get_height() for patch in figure.axes[2].patches[:-1] if hasattr(patch, "get_height"))
    assert counts == 49
    assert "5 poor fit (caution)" in "\n".join(t.get_text() for ax in figure.axes for t in ax.texts)


def test_rows_by_an_expression(catalog):
    catalog["flag"][:5] |= 256
    figure = plot_catalog(catalog, where="good")
    assert figure.axes[0].get_title(loc="left") == "49 good of 49 rows"


def test_many_rows_have_one_bar(catalog):
    figure = plot_catalog(vstack([catalog] * 7))
    assert "16" in figure.axes[0].texts[0].get_text()
    assert len(figure.axes[0].containers) == 1


def test_catalog_overview_of_a_part_without_flags(catalog):
    catalog.remove_column("flag")
    figure = plot_catalog(catalog, where=np.arange(60) < 20)
    assert figure.axes[0].get_title(loc="left") == "18 good of 20 rows, 2 not inferred"


def test_catalog_refusals(catalog):
    with pytest.raises(InputError, match="flag"):
        plot_catalog(catalog, where=[9])
    with pytest.raises(ColumnError, match="my_age_q16"):
        plot_catalog(catalog, prefix="my_")


def test_what_is_no_mask_of_the_rows_is_refused(catalog, published):
    for highlight in ("uv", [3, 5], np.ones(3, bool)):
        with pytest.raises(InputError, match="highlight= takes True or False for each of the 60 rows"):
            plot_comparison(catalog, published, highlight=highlight)
