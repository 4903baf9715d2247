"""The photometry of one object beside its posterior."""

import warnings

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import QTable, Table

import clusterpost
from clusterpost.errors import InputError, InputWarning
from clusterpost.inference import Job
from clusterpost.plotting import plot_sed
from clusterpost.plotting import sed as module

pytest.importorskip("corner")

pytestmark = pytest.mark.usefixtures("exact_by_default")


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


def test_the_photometry_is_within_the_free_corner_of_a_plot_of_six_parameters():
    row = clusterpost.simulate(1, model="stochastic", seed=1, distance=10, errors=0.1)
    figure = plot_sed(row, model="stochastic", n_samples=200, corner=True)
    assert figure.get_figwidth() < 11  # labels of 10 points are legible at the width of a page
    figure.draw_without_rendering()
    panels = np.array(figure.axes[:36]).reshape(6, 6)[np.tril_indices(6)]
    estimates, *photometry = figure.axes[36:]
    boxes = [ax.get_tightbbox() for ax in photometry]
    assert len(boxes) == 2
    for box in boxes:
        assert not any(box.overlaps(ax.get_tightbbox()) for ax in panels)
        assert not any(box.overlaps(text.get_window_extent()) for text in estimates.texts)


def test_a_row_without_results_is_inferred():
    row = clusterpost.simulate(1, model="any_bands", seed=2, distance=10)
    top, _ = panels(plot_sed(row, model="any_bands", n_samples=300))
    assert "MAP" in top.get_legend_handles_labels()[1]


def widths(tbl, **options):
    """68 % of the predicted ln fluxes in each band."""
    _, sed, _ = module._predict(tbl, "", "any_bands", 1000, None, options)
    return np.diff(np.quantile(np.log(sed.draws), [0.16, 0.84], axis=0), axis=0)[0], sed


@pytest.mark.parametrize("how", ["column", "prior", "result"])
def test_an_uncertain_distance_leaves_the_predicted_fluxes_alone(out, how):
    exact, known = widths(out[0:1])
    tbl, options = out[0:1].copy(), {}
    if how != "prior":
        tbl["distance_err"] = 3.0 * u.Mpc
    else:
        options["prior"] = clusterpost.priors.ProductPrior(distance_error=0.3)
    if how == "result":
        bare = tbl[[name for name in tbl.colnames if not name.startswith(("age", "mass", "ebv"))]]
        tbl = clusterpost.infer_table(bare, model="any_bands", prefix="x_", n_samples=300)
        _, sed, _ = module._predict(tbl, "x_", "any_bands", 1000, None, {})
        wide = np.diff(np.quantile(np.log(sed.draws), [0.16, 0.84], axis=0), axis=0)[0]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # the prior is another than that of the results
            wide, sed = widths(tbl, **options)
    np.testing.assert_allclose(wide, exact, rtol=0.25)  # 0.6 if each draw stood at the same distance
    np.testing.assert_allclose(np.median(sed.draws, 0), np.median(known.draws, 0), rtol=0.05)
    np.testing.assert_allclose(sed.best, known.best, rtol=0.05)


def test_an_uncertain_distance_of_a_network_alone(tiny_stochastic):
    tbl = clusterpost.simulate(1, model="any_bands", seed=2, distance=10)
    tbl["distance_err"] = 3.0 * u.Mpc
    job = Job(tbl, str(tiny_stochastic), None, None, None, 500, 0, "cpu", columns=None, distance=None,
              error_floor="auto")
    conditions = job.conditions(slice(0, 1))
    target = job.sampler.target(job.ready.observed, conditions)
    theta = job.sampler(target, conditions).theta
    shift = target.drawn_shift(theta, torch.Generator().manual_seed(0))
    assert shift.shape == theta.shape[:2]
    assert 0.15 < shift.std() < 0.45
    mass = theta[0, :, job.model.family.parameter_names.index("log_mass")]
    assert np.corrcoef(shift[0], mass)[0, 1] > 0.1  # farther clusters are heavier


def test_a_row_without_units_is_read_as_it_is_inferred():
    row = clusterpost.simulate(1, model="any_bands", seed=2, distance=10)
    bare = Table(row)
    for name in bare.colnames:
        bare[name].unit = None
    top, _ = panels(plot_sed(bare, model="any_bands", n_samples=300, unit="mJy"))
    points = next(line for line in top.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_ydata()[0], 1e3 * row["F275W"][0].value)


def test_refusals(out):
    with pytest.raises(InputError, match="3 rows; pick one of them"):
        plot_sed(out)
    tbl = clusterpost.simulate(2, model="any_bands", seed=2, distance=10)
    tbl["F275W"][0] = tbl["F336W"][0] = tbl["F438W"][0] = tbl["F555W"][0] = np.nan
    with pytest.raises(InputError, match=r"row 0 was not inferred .* flags: missing band, too few bands"):
        plot_sed(clusterpost.infer_table(tbl, model="any_bands", n_samples=50)[0])
