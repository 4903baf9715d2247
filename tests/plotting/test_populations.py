"""Figures of populations and of positions."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from matplotlib.figure import Figure

import clusterpost
from clusterpost.errors import ColumnError, InputError
from clusterpost.plotting import (
    plot_age_distribution,
    plot_age_mass,
    plot_color_color,
    plot_color_magnitude,
    plot_mass_function,
    plot_sky,
)
from clusterpost.plotting.colors import model_magnitudes


@pytest.fixture(scope="module")
def out():
    tbl = clusterpost.simulate(30, model="any_bands", seed=4, distance=10, errors=0.1)
    tbl["RA"], tbl["DEC"] = np.linspace(24.1, 24.2, 30) * u.deg, np.linspace(15.7, 15.8, 30) * u.deg
    tbl["F814W"][3] = np.nan
    return clusterpost.infer_table(tbl, model="any_bands", n_samples=200, progress=False)


@pytest.fixture
def draws():
    """Masses of a known distribution, with the same small error for all."""
    rng = np.random.default_rng(1)
    mass = 10 ** rng.uniform(3, 5, 1000)
    return QTable({"mass": mass[:, None] * 10 ** rng.normal(0, 0.03, (1000, 100)) * u.Msun,
                   "age": 10 ** rng.uniform(1, 2, 1000)[:, None] * np.ones(100) * u.Myr,
                   "flag": np.where(np.arange(1000) < 100, 256, 0)})


def offsets(ax):
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets()) > 1])


def test_age_mass_diagram(out):
    ax = Figure().subplots()
    assert plot_age_mass(out, ax=ax, limit=("F555W", 26.0)) is ax.figure
    good = clusterpost.is_good(out)
    assert f"{good.sum()} good rows" in ax.get_title(loc="left")
    points = sorted(map(tuple, np.round(offsets(ax), 3)))
    expected = np.stack([np.asarray(out[name]) for name in ("age_q50", "mass_q50")], -1)
    assert sorted(map(tuple, np.round(expected[np.isfinite(expected).all(1)], 3))) == points
    line = next(line for line in ax.lines if line.get_linestyle() == "--")
    age, mass = line.get_xdata()[50], line.get_ydata()[50]
    assert model_magnitudes([age], [0], ["F555W"], 10, mass)[0, 0] == pytest.approx(26.0, abs=0.02)


def test_flagged_rows_are_crosses_and_counted(out):
    flagged = out.copy()
    flagged["flag"][:5] = 256
    ax = plot_age_mass(flagged).axes[0]
    good = clusterpost.is_good(flagged)
    assert f"{good.sum()} good rows, {(~good).sum()} doubtful (crosses)" == ax.get_title(loc="left")


def test_many_rows_are_a_density():
    rng = np.random.default_rng(0)
    tbl = Table({f"{name}_q50": 10 ** rng.normal(3, 0.3, 3000) for name in ("age", "mass")})
    figure = plot_age_mass(tbl, color=None)
    assert figure.axes[1].get_ylabel() == "rows"
    assert len(figure.axes[0].collections[1].get_array()) < 3000


def test_expressions_choose_rows(out):
    assert plot_age_mass(out, where="age_q50 < 100").axes[0].get_title(loc="left").startswith(
        str((clusterpost.is_good(out) & (np.asarray(out["age_q50"]) < 100)).sum()))
    with pytest.raises(InputError, match="no row is left to draw by 'age_q50 < 0'"):
        plot_age_mass(out, where="age_q50 < 0")


@pytest.mark.parametrize("bootstrap", [True, False])
def test_mass_function_counts_good_rows(draws, bootstrap):
    figure = plot_mass_function(draws, bins=[1e3, 1e4, 1e5], bootstrap=bootstrap)
    band, median = (patch.get_data() for patch in figure.axes[0].patches)
    assert figure.axes[0].get_title(loc="left") == "900 rows"
    np.testing.assert_allclose(median.values, [450, 450], rtol=0.12)
    half = (band.values - band.baseline) / 2
    expected = np.sqrt(900 * 0.25)  # of a count of half the rows
    assert ((0.6 * expected < half) & (half < 1.4 * expected)).all() if bootstrap else (half < 0.3 * expected).all()


def test_age_distribution_per_time(draws):
    def median(**options):
        return plot_age_distribution(draws, bins=[10, 20, 100], where="age[0] > 0", **options).axes[0].patches[1]

    log, linear = median().get_data().values, median(per="Myr").get_data().values
    np.testing.assert_allclose(log * np.diff(np.log10([10, 20, 100])), linear * np.diff([10, 20, 100]))
    with pytest.raises(InputError, match="neither 'log' nor 'Myr'"):
        plot_age_distribution(draws, per="Gyr")


def test_a_result_is_drawn_from(out):
    figure = plot_mass_function(out, n_draws=20, where=clusterpost.is_good(out))
    assert figure.axes[0].get_title(loc="left") == f"{clusterpost.is_good(out).sum()} rows"


def test_colors_are_those_of_the_fluxes(out):
    ax = plot_color_color(out, ("F555W", "F814W"), ("F275W", "F438W"), color=None, track=False, reddening=0).axes[0]
    assert ax.get_xlabel() == "F555W \N{MINUS SIGN} F814W [AB mag]"
    x = -2.5 * np.log10(out["F555W"].value / out["F814W"].value)
    assert sorted(np.round(offsets(ax)[:, 0], 4)) == sorted(np.round(x[np.isfinite(x)], 4))
    vega = plot_color_color(out, ("F555W", "F814W"), ("F275W", "F438W"), color=None, track=False, system="Vega")
    shift = np.median(offsets(vega.axes[0])[:, 0]) - np.median(offsets(ax)[:, 0])
    assert shift == pytest.approx(0.029 + 0.428, abs=1e-3)


def test_default_bands_are_of_one_camera_each(out):
    ax = plot_color_color(out).axes[0]
    assert ax.get_xlabel() == "F555W \N{MINUS SIGN} F814W [AB mag]"
    assert ax.get_ylabel() == "F336W \N{MINUS SIGN} F438W [AB mag]"
    assert any("10 Myr" in text.get_text() for text in ax.texts)
    assert ax.yaxis_inverted()


def test_magnitudes_are_absolute_where_distances_are_known(out):
    def points(**options):
        figure = plot_color_magnitude(out, color=None, track=False, reddening=0, **options)
        return np.sort(offsets(figure.axes[0])[:, 1])

    np.testing.assert_allclose(points(absolute=False) - points(), 30, atol=1e-4)  # the distance modulus of 10 Mpc


def test_tracks_end_where_the_model_does(out):
    mocks = clusterpost.simulate(QTable({"age": [100] * u.Myr, "mass": [1e4] * u.Msun, "ebv": [0] * u.mag}),
                                 model="any_bands", distance=10)
    np.testing.assert_allclose(model_magnitudes([100], [0], ["F555W"], 10)[0, 0],
                               mocks["F555W"][0].to_value(u.ABmag), rtol=1e-6)
    for system in ("AB", "Vega"):
        ax = plot_color_magnitude(out, system=system).axes[0]
        assert ax.get_ylabel() == f"absolute F555W [{system} mag]"


def test_ages_beside_a_track_do_not_cover_each_other(out):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    ax = plot_color_color(out, ("F555W", "F814W"), ("F336W", "F438W")).axes[0]
    FigureCanvasAgg(ax.figure).draw()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts if text.get_text() in ("1 Myr", "3 Myr")}
    assert len(boxes) == 2
    assert not boxes["1 Myr"].overlaps(boxes["3 Myr"])


def test_ages_beside_a_track_stay_within_the_axes():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    red = QTable({"age": [10, 100, 1000] * u.Myr, "mass": np.full(3, 1e4) * u.Msun, "ebv": [1.5, 0, 0.4] * u.mag})
    tbl = clusterpost.simulate(red, model="clusters", distance=10, errors=0.1)
    ax = Figure(figsize=(4, 4)).subplots()
    plot_color_color(tbl, ("F555W", "F814W"), ("F336W", "F438W"), ax=ax)
    FigureCanvasAgg(ax.figure).draw()
    frame = ax.get_window_extent()
    ages = [text.get_window_extent() for text in ax.texts if "yr" in text.get_text()]
    assert len(ages) == 9
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in ages)
    ax = plot_color_magnitude(tbl, ax=Figure(figsize=(4, 4)).subplots()).axes[0]
    FigureCanvasAgg(ax.figure).draw()
    masses = [text.get_window_extent() for text in ax.texts if "odot" in text.get_text()]
    assert masses
    assert all(ax.get_window_extent().x0 <= box.x0 for box in masses)


def test_bands_of_either_camera_have_a_track():
    tbl = clusterpost.simulate(4, model="clusters", bands=["F336W", "F435W_ACS", "F555W_ACS", "F814W_ACS"], distance=10,
                               errors=0.1)
    ax = plot_color_color(tbl).axes[0]
    assert any("10 Myr" in text.get_text() for text in ax.texts)
    assert ax.get_title(loc="left") == "4 rows"
    galaxies = clusterpost.simulate(3, model="galaxies", errors=0.1)
    ax = plot_color_color(galaxies, ("g_SDSS", "r_SDSS"), ("u_SDSS", "g_SDSS")).axes[0]
    assert len(offsets(ax)) == 3


def test_refusals_of_colors(out):
    with pytest.raises(InputError, match="takes two bands"):
        plot_color_color(out, "F555W")
    with pytest.raises(InputError, match="the table has no F160W_IR"):
        plot_color_color(out, ("F160W", "F814W"))
    with pytest.raises(InputError, match="neither 'AB' nor 'Vega'"):
        plot_color_magnitude(out, system="ST")
    with pytest.raises(ColumnError, match="'nonsense' is neither a parameter nor a column"):
        plot_color_magnitude(out, color="nonsense")
    with pytest.raises(InputError, match=r"needs 3 filters.* has F275W \(column 'F275W'\), F336W .*columns="):
        plot_color_color(out["F275W", "F275W_err", "F336W", "F336W_err", "distance"])
    with pytest.raises(InputError, match=r"needs 2 filters.* has F275W \(column 'F275W'\)\. Name .*columns=") as caught:
        plot_color_magnitude(out["F275W", "F275W_err", "distance"])
    assert "--columns BAND=FLUX,ERR" in caught.value.at_the_shell()


def test_positions(out):
    ax = plot_sky(out, color="mass").axes[0]
    assert ax.xaxis_inverted()
    assert sorted(np.round(offsets(ax)[:, 0], 5)) == pytest.approx(np.round(out["RA"].value, 5))
    renamed = out.copy()
    renamed.rename_columns(["RA", "DEC"], ["alpha", "delta"])
    with pytest.raises(ColumnError, match="right ascension"):
        plot_sky(renamed)
    plot_sky(renamed, coordinates=("alpha", "delta"))


@pytest.mark.parametrize("limit", [("F555W",), ("F555W", "faint"), "F5", 26.0, (26.0, "F555W"), ("F555W", np.nan)])
def test_a_limit_is_a_band_and_a_magnitude(out, limit):
    with pytest.raises(InputError, match=r"limit=.* is not a band and an AB magnitude; give both, as in \('F555W', 26"):
        plot_age_mass(out, limit=limit)


@pytest.mark.parametrize("plot", [plot_age_mass, plot_mass_function])
@pytest.mark.parametrize("mass", ["massx", "ebv"])
def test_an_unknown_mass_is_refused_by_the_names_of_both(out, plot, mass):
    with pytest.raises(InputError, match=f"mass='{mass}' is not a mass; give 'mass' .* or 'stellar_mass' "):
        plot(out, mass=mass)


@pytest.mark.parametrize("coordinates", [("RA",), "RA", ("RA", "DEC", "DEC"), ()])
def test_coordinates_are_two_columns(out, coordinates):
    with pytest.raises(InputError, match=r"two columns are needed, of right ascension .* as in coordinates=\("):
        plot_sky(out, coordinates=coordinates)


def test_absent_coordinates_are_named_with_a_remedy(out):
    with pytest.raises(ColumnError, match=r"no column 'alpha'; give the names .* as in coordinates=\("):
        plot_sky(out, coordinates=("alpha", "DEC"))


@pytest.mark.parametrize("plot", [plot_mass_function, plot_age_distribution])
def test_options_without_an_effect_on_draws_are_refused(out, plot):
    draws = clusterpost.sample_posterior(out[:3], n_samples=20, progress=False)
    plot(draws, noise=None, progress=False)
    with pytest.raises(InputError, match="the table holds draws, for which error_floor= has no effect; omit it"):
        plot(draws, error_floor=0.3)
