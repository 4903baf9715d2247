"""What the tests of inference share: names of columns, and when two results are the same."""

import numpy as np
from astropy import units as u

from clusterpost.bands import get_band
from clusterpost.schema import output_columns

N = 100  # draws of most tests
LEVELS = (0.16, 0.5, 0.84)
NAMES = [c.name for c in output_columns(LEVELS)]
MODES = ("age_modes", "mass_modes", "ebv_modes", "mode_weight")
INTEGERS = ("flag", "n_bands", "n_modes")
PARAMETERS = ("age", "mass", "ebv")


def value(column):
    """Plain numbers."""
    return np.asarray(getattr(column, "value", column))


def coordinate(tbl, name):
    """A column in theta's coordinates: log10 of age and mass."""
    numbers = value(tbl[name])
    return numbers if name.startswith("ebv") else np.log10(numbers)


def theta_of(tbl, suffix=""):
    """theta (n, ..., 3) from the columns of a table."""
    return np.stack([coordinate(tbl, f"{name}{suffix}") for name in PARAMETERS], axis=-1)


def half_width(tbl, name):
    """Half the 16-84 % range in theta's coordinates."""
    return (coordinate(tbl, f"{name}_q84") - coordinate(tbl, f"{name}_q16")) / 2


def differences(one, exact):
    """|difference| of each of nine quantiles in units of the exact half-width, by column name."""
    return {f"{name}_{q}": np.abs(coordinate(one, f"{name}_{q}") - coordinate(exact, f"{name}_{q}"))
            / half_width(exact, name) for name in PARAMETERS for q in ("q16", "q50", "q84")}


def assert_same(one, two, rtol=0.0, but=()):
    """Every output column agrees; NaN with NaN."""
    for name in NAMES:
        if name not in but:
            np.testing.assert_allclose(
                value(one[name]), value(two[name]), rtol=rtol, atol=rtol, equal_nan=True, err_msg=name
            )


def assert_close(one, two, rtol=1e-3, but=()):
    """Equal but for the rounding of float32.

    Another chunk or another unit rounds a condition or a matrix product
    elsewhere, by 1e-7 of it, and the flow makes up to 1e-4 of a draw from
    that; the scatter of a hundred draws is 1e-1.  A mode that fewer than six
    of them make may be as dense as another to the last digit (two draws far
    apart make two such), and either may come first: those are left out.
    Along a flat ridge the MAP may end anywhere within the last 1e-3 of the density,
    which is 0.045 standard deviations of a normal posterior to either side.
    """
    maps = [f"{name}_map" for name in (*PARAMETERS, "stellar_mass")]
    assert_same(one, two, rtol, but=(*MODES, *maps, *but))
    for name in maps:
        first, second = value(one[name]), value(two[name])
        ridge = 0.0
        if f"{name[:-4]}_q84" in two.colnames:
            ridge = 0.045 * (value(two[f"{name[:-4]}_q84"]) - value(two[f"{name[:-4]}_q16"]))
        excess = np.maximum(np.abs(first - second) - np.nan_to_num(ridge), 0)
        np.testing.assert_allclose(second + excess, second, rtol=10 * rtol, atol=10 * rtol, err_msg=name)
        assert np.array_equal(np.isnan(first), np.isnan(second)), name
    large = value(two["mode_weight"]) > 0.05
    for name in MODES:
        np.testing.assert_allclose(value(one[name])[large], value(two[name])[large], rtol=rtol, atol=rtol, err_msg=name)


def in_unit(tbl, bands, unit):
    """The same photometry in another unit, or in AB or Vega magnitudes."""
    tbl = tbl.copy()
    for band in bands:
        flux, error = tbl[band], tbl[f"{band}_err"]
        if unit in ("AB", "Vega"):
            magnitude = flux.to(u.ABmag)
            tbl.remove_columns([band, f"{band}_err"])
            tbl[band] = magnitude if unit == "AB" else (magnitude.value - get_band(band).ab_minus_vega) * u.mag
            tbl[f"{band}_err"] = 2.5 / np.log(10) * (error / flux).value * u.mag
        else:
            equivalency = u.spectral_density(get_band(band).pivot * u.AA)
            tbl[band], tbl[f"{band}_err"] = flux.to(unit, equivalency), error.to(unit, equivalency)
    tbl.meta["magnitude_system"] = unit
    return tbl


def without(tbl, row, *bands):
    """Take these bands of one row away, in place."""
    for band in bands:
        tbl[band][row] = np.nan * tbl[band].unit if isinstance(tbl[band], u.Quantity) else np.nan
    return tbl
