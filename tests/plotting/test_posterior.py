"""The corner plot of one cluster."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from matplotlib.figure import Figure

import clusterpost
import clusterpost.infer
from clusterpost.errors import InputError
from clusterpost.plotting import plot_posterior
from clusterpost.plotting.posterior import inferred_samples, quantile_text

pytest.importorskip("corner")

pytestmark = pytest.mark.usefixtures("exact_by_default")


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_row_and_table_of_one_row_give_the_same_figure(catalog, samples):
    one, other = plot_posterior(catalog[4], samples=samples), plot_posterior(catalog[4:5], samples=samples)
    assert isinstance(one, Figure)
    assert texts(one) == texts(other)
    assert {"MAP, mode 1", "mode 2", "truth"} <= set(texts(one))


def test_marks_lie_where_they_should(catalog, samples):
    figure = plot_posterior(catalog[4], samples=samples, truth=[0.9, 4.3, 0.5], catalog=[0.6, 4.1, 0.6])
    panel = figure.axes[3]  # mass against age
    marked = {(line.get_xdata()[0], line.get_ydata()[0]) for line in panel.lines if line.get_marker() in "*X^"}
    assert (0.9, 4.3) in marked
    assert (0.6, 4.1) in marked
    best = np.log10([catalog["age_map"][4], catalog["mass_map"][4]])
    assert any(np.allclose(point, best) for point in marked)


def test_the_map_stands_for_the_mode_it_is_in_if_any(catalog, samples):
    def labels(best):
        tbl = catalog[4:5].copy()
        for name, value in zip(("age", "mass", "ebv"), best, strict=True):
            tbl[f"{name}_map"] = value
        return texts(plot_posterior(tbl, samples=samples))

    first, second = ([catalog[f"{name}_modes"][4][k] for name in ("age", "mass", "ebv")] for k in (0, 1))
    weights = [f"{100 * weight:.0f} %" for weight in catalog["mode_weight"][4][:2]]
    assert weights[0] != weights[1]
    for own, other, best in ((0, 1, first), (1, 0, second)):
        shown = labels(best)
        assert f"mode {other + 1}" in shown
        assert f"mode {own + 1}" not in shown
        row = shown[shown.index(f"MAP, mode {own + 1}"):]
        assert weights[own] in row[:5]
    assert {"MAP", "mode 1", "mode 2"} <= set(labels([1e4, 1e7, 1.4]))


def test_axes_end_at_the_prior_where_the_posterior_touches_it(samples):
    figure = plot_posterior(Table({"id": [1]}), samples=samples)
    assert figure.axes[8].get_xlim()[0] == 0
    assert figure.axes[0].get_xlim()[0] > 0
    free = plot_posterior(Table({"id": [1]}), samples=samples, bounds=[[-9, -9, -9], [9, 9, 9]])
    assert free.axes[8].get_xlim()[0] < 0


def test_truth_beyond_the_draws_is_inside_the_axes(samples):
    figure = plot_posterior(Table({"id": [1]}), samples=samples, truth=[3.9, 7.0, 1.4])
    for i, value in enumerate((3.9, 7.0, 1.4)):
        low, high = figure.axes[4 * i].get_xlim()
        assert low < value < high


def test_truth_columns_in_logarithms(samples):
    row = Table({"log_age_true": [1.0], "log_mass_true": [4.5], "ebv_true": [0.3]})
    figure = plot_posterior(row, samples=samples)
    assert {"truth", "1.00", "4.50", "0.30"} <= set(texts(figure))


def test_truth_columns_in_other_units(samples):
    row = QTable({"age_true": [1e7] * u.yr, "mass_true": [1e4] * u.Msun, "ebv_true": [0.3] * u.mag})
    assert {"1.00", "4.00"} <= set(texts(plot_posterior(row, samples=samples)))


def test_truths_of_some_parameters_are_shown(samples):
    row = QTable({"log_age_true": [1.0], "ebv_true": [0.3] * u.mag})
    figure = plot_posterior(row, samples=samples)
    assert {"truth", "1.00", "\N{EN DASH}", "0.30"} <= set(texts(figure))
    stars = [[line.get_marker() for line in ax.lines if np.isfinite(line.get_xydata()).all()].count("*")
             for ax in figure.axes[:9]]
    assert stars == [0, 0, 0, 0, 0, 0, 1, 0, 0]  # reddening against age
    assert "truth" not in texts(plot_posterior(Table({"ebv_true": [np.nan]}), samples=samples))


def test_the_example_shows_its_truths_in_six_parameters():
    tbl = clusterpost.example_catalog()[5:6]
    assert {f"{name}_true" for name in ("age", "mass", "ebv")} <= set(tbl.colnames)
    draws = np.random.default_rng(0).normal([1, 4, 0.3, 0, 3.1, 0.5], 0.1, (500, 6))
    figure = plot_posterior(tbl, samples=draws, model="stochastic")
    assert "truth" in texts(figure)
    age_mass = figure.axes[6]
    assert ([float(np.log10(tbl["age_true"][0]))], [float(np.log10(tbl["mass_true"][0]))]) in [
        (list(line.get_xdata()), list(line.get_ydata())) for line in age_mass.lines if line.get_marker() == "*"]


def test_partial_catalog_value(catalog, samples):
    figure = plot_posterior(catalog[4], samples=samples, catalog=[np.nan, 4.1, 0.6])
    assert "\N{EN DASH}" in texts(figure)


def test_recognized_catalog_value_and_how_to_leave_it_out(catalog, samples):
    for band in ("F275W", "F336W", "F438W", "F555W", "F814W"):
        catalog[f"PHANGS_{band}_mJy"], catalog[f"PHANGS_{band}_mJy_ERR"] = 1e-3, 1e-4
    for name, value in {"AGE": 20.0, "MASS": 1e4, "EBV": 0.2}.items():
        catalog[f"PHANGS_{name}_MINCHISQ"], catalog[f"PHANGS_{name}_MINCHISQ_ERR"] = value, value / 10
    assert {"catalog", "1.30"} <= set(texts(plot_posterior(catalog[4], samples=samples)))
    assert "catalog" not in texts(plot_posterior(catalog[4], samples=samples, catalog=False))
    catalog["PHANGS_AGE_MINCHISQ"] = -999.0
    assert "catalog" not in texts(plot_posterior(catalog[4], samples=samples))


def test_draws_and_infers_what_is_not_there(catalog, samples, monkeypatch):
    calls = {}

    def sample_posterior(tbl, **options):
        calls["sample"] = (len(tbl), options)
        return QTable({"age": 10 ** samples[None, :, 0] * u.Myr, "mass": 10 ** samples[None, :, 1] * u.Msun,
                       "ebv": samples[None, :, 2] * u.mag})

    def infer_table(tbl, **options):
        calls["infer"] = options
        return catalog[4:5]

    monkeypatch.setattr(clusterpost.infer, "sample_posterior", sample_posterior)
    monkeypatch.setattr(clusterpost.infer, "infer_table", infer_table)
    photometry = Table({"F275W": [1.0, 2.0]})
    figure = plot_posterior(photometry[1], model="walter2025", n_samples=99, seed=7, n_modes=2, distance=9.0)
    said = {"model": "walter2025", "n_samples": 99, "seed": 7, "distance": 9.0}
    assert calls["sample"][0] == 1
    for options in (calls["sample"][1], calls["infer"]):
        assert said.items() <= options.items()
        assert {name: options[name] for name in ("noise", "prior", "refine", "error_floor")} == {
            "noise": None, "prior": None, "refine": None, "error_floor": "auto"}
    assert "n_modes" not in calls["sample"][1]
    assert calls["infer"]["n_modes"] == 2
    assert "MAP, mode 1" in texts(figure)
    calls.clear()
    plot_posterior(catalog[4])
    assert "infer" not in calls


def test_inferred_samples_are_in_the_model_coordinates():
    drawn = QTable({"age": [[1e7, 1e8]] * u.yr, "mass": [[1e4, 1e5]] * u.Msun, "ebv": [[0.1, 0.2]] * u.mag})
    np.testing.assert_allclose(inferred_samples(drawn), [[1, 4, 0.1], [2, 5, 0.2]])


def test_the_object_is_named(catalog, samples):
    def title(row, **options):
        suptitle = plot_posterior(row, samples=samples, **options)._suptitle
        return suptitle and suptitle.get_text()

    assert title(catalog[4]) == "row 4"
    assert title(catalog[4:5]) is None
    assert title(catalog[4], name="my cluster") == "my cluster"
    assert title(catalog[4], name=False) is None
    catalog["cluster_id"] = np.arange(len(catalog)) + 100
    assert title(catalog[4]) == title(catalog[4:5]) == "cluster_id 104"
    catalog["name"] = [f"NGC {i}" for i in range(len(catalog))]
    catalog.remove_column("cluster_id")
    assert title(catalog[4]) == "NGC 4"


def test_quantiles_carry_their_parameter(catalog, samples):
    axes = plot_posterior(catalog[4], samples=samples).axes
    q16, q50, q84 = np.percentile(samples[:, 0], [16, 50, 84])
    assert axes[0].get_title() == rf"$\log\,t = {q50:.2f}_{{-{q50 - q16:.2f}}}^{{+{q84 - q50:.2f}}}$"
    assert quantile_text(94.2, 100.1, 107.9) == "100.1_{-5.9}^{+7.8}"
    assert quantile_text(1200, 1500, 2100) == "1500_{-300}^{+600}"


def test_linear_ages(catalog, samples):
    figure = plot_posterior(catalog[4], samples=samples, linear=("age",))
    best = np.asarray(catalog["age_map"])[4]
    assert figure.axes[6].get_xlabel() == r"age $[\mathrm{Myr}]$"
    points = [line.get_xdata()[0] for line in figure.axes[6].lines if line.get_marker() == "^"]
    assert any(np.isclose(point, best) for point in points)
    low, high = figure.axes[6].get_xlim()
    assert low < np.median(10 ** samples[:, 0]) < high
    assert low >= 0
    with pytest.raises(InputError, match=r"names \['ebv'\]; logarithmic parameters are age, mass"):
        plot_posterior(catalog[4], samples=samples, linear=("ebv",))


def test_a_mode_that_the_table_has_no_place_for_is_marked(catalog, samples):
    one = catalog[4:5].copy()
    assert "unlisted mode" not in texts(plot_posterior(one, samples=samples))
    for name, value in zip(("age", "mass", "ebv"), samples[samples[:, 0] < 1].mean(0), strict=True):
        one.replace_column(f"{name}_modes", np.array([[10**value if name != "ebv" else value]]))
    one.replace_column("mode_weight", np.array([[0.35]]))
    figure = plot_posterior(one, samples=samples)
    assert "unlisted mode" in texts(figure)
    marked = [line.get_xdata()[0] for line in figure.axes[3].lines if line.get_marker() == "o"]
    assert marked == pytest.approx([2.1], abs=0.15)


def test_draws_into_a_given_figure(samples):
    figure = Figure(figsize=(5, 5))
    assert plot_posterior(Table({"id": [1]}), samples=samples, figure=figure) is figure


def test_refusals(catalog, samples):
    with pytest.raises(InputError, match="60 rows; pick one"):
        plot_posterior(catalog, samples=samples)
    with pytest.raises(InputError, match="dict"):
        plot_posterior({}, samples=samples)
    with pytest.raises(InputError, match="shape"):
        plot_posterior(catalog[0], samples=samples[:, :2])
    with pytest.raises(InputError, match="flag"):
        plot_posterior(catalog[0], samples=np.full((10, 3), np.nan))


def test_input_is_not_changed(catalog, samples):
    before = catalog.copy()
    plot_posterior(catalog[4], samples=samples)
    assert catalog.colnames == before.colnames
    np.testing.assert_array_equal(catalog["age_q50"], before["age_q50"])
