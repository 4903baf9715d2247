"""The photometry of one object beside its posterior."""

import numpy as np
import pytest
from astropy.table import QTable

import clusterpost
from clusterpost.errors import InputError
from clusterpost.plotting import plot_sed
from clusterpost.plotting import sed as module

pytest.importorskip("corner")


@pytest.fixture(scope="module")
def out():
    tbl = clusterpost.simulate(3, model="any_bands", seed=4, distance=10, errors=0.1)
    tbl["id"] = ["a", "b", "c"]
    tbl["F275W_limit"] = [False, True, False]
    tbl["F555W"][2] = np.nan
    return clusterpost.infer_table(tbl, model="any_bands", n_samples=300, progress=False)


def panels(figure):
    return figure.axes[:2]


def test_measured_points_and_residuals_are_where_they_should_be(out):
    top, bottom = panels(plot_sed(out[0], n_samples=300))
    bands = ["F275W", "F336W", "F438W", "F555W", "F814W"]
    points = next(line for line in top.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_ydata(), [1e3 * out[band][0].value for band in bands])
    assert top.get_title(loc="left") == "a"
    assert {text.get_text() for text in top.texts} == set(bands)
    assert np.abs(next(line for line in bottom.lines if line.get_marker() == "o").get_ydata()).max() < 3


def test_boxes_hold_the_predicted_fluxes(out):
    _, sed, _ = module._predict(out[0:1], "", "any_bands", 400, None, {})
    np.testing.assert_allclose(sed.draws.shape, (400, 5))
    truth = QTable({name: [float(np.asarray(out[f"{name}_true"])[0])] for name in ("age", "mass", "ebv")})
    predicted = clusterpost.simulate(truth, model="any_bands", distance=10)
    true = [1e3 * predicted[band][0].value for band in sed.bands]
    low, high = np.quantile(sed.draws, [0.0005, 0.9995], axis=0)
    assert ((low < true) & (true < high)).all()
    np.testing.assert_allclose(sed.error, 1e3 * np.sqrt([out[f"{b}_err"][0].value ** 2 + (0.05 * out[b][0].value) ** 2
                                                         for b in sed.bands]))


def test_limits_are_arrows_and_missing_bands_are_left_out(out):
    top, bottom = panels(plot_sed(out[1], n_samples=300))
    arrow = next(line for line in top.lines if "downarrow" in str(line.get_marker()))
    assert len(arrow.get_xdata()) == 1
    assert len(next(line for line in bottom.lines if line.get_marker() == "o").get_xdata()) == 4
    assert "F555W" not in {text.get_text() for text in panels(plot_sed(out[2], n_samples=300))[0].texts}


def test_the_corner_beside_it_is_of_the_same_draws(out):
    figure = plot_sed(out[0], n_samples=300, corner=True)
    assert len(figure.subfigs) == 2
    assert len(figure.subfigs[1].axes) == 10
    assert figure.subfigs[1]._suptitle.get_text() == "a"


def test_a_row_without_results_is_inferred():
    row = clusterpost.simulate(1, model="any_bands", seed=2, distance=10)
    top, _ = panels(plot_sed(row, model="any_bands", n_samples=300))
    assert "MAP" in top.get_legend_handles_labels()[1]


def test_refusals(out):
    with pytest.raises(InputError, match="3 rows; pick one of them"):
        plot_sed(out)
    tbl = clusterpost.simulate(2, model="any_bands", seed=2, distance=10)
    tbl["F275W"][0] = tbl["F336W"][0] = tbl["F438W"][0] = tbl["F555W"][0] = np.nan
    with pytest.raises(InputError, match="flag column says why"):
        plot_sed(clusterpost.infer_table(tbl, model="any_bands", n_samples=50)[0])
