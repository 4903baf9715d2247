"""Color-color and color-magnitude diagrams, with the track of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.table import QTable

from ..bands import get_band
from ..errors import InputError
from ..flow.modelfile import find_family
from ..photometry import Photometry
from ..provenance import recorded_model, repeat
from .rows import color_of, scatter, shown_rows
from .style import COLORS, new_axes, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .rows import Shown

__all__ = ["are_modeled", "bands_by_pivot", "magnitudes_of", "model_magnitudes", "photometry_of",
           "plot_color_color", "plot_color_magnitude", "typical_distance"]

_TRACK_AGES = np.geomspace(1, 13000, 300)  # Myr
_SIDES = ((6, 4, "left"), (6, -12, "left"), (-6, 4, "right"), (-6, -12, "right"))  # offsets of age labels, in points
_TEXT_SIZE = (5.6, 8)  # width and height of a character beside the track, in points
_LABELLED = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
_TRACK_MASSES = (1e3, 1e4, 1e5, 1e6)
_PC10 = 1e-5  # Mpc


def plot_color_color(out: Table, x: tuple[str, str] | None = None, y: tuple[str, str] | None = None, *,
                     where: str | Sequence | np.ndarray | None = None, color: str | None = "age", track: bool = True,
                     reddening: float = 0.3, system: str = "AB", prefix: str | None = None,
                     ax: Axes | None = None) -> Figure:
    """Draw a color-color diagram of a catalog, with the model's track.

    .. versionadded:: 0.2

    Parameters
    ----------
    out : Table
        Photometry, with or without results.
    x, y : tuple of two str, optional
        Bands of each color, the bluer first, such as ``("F555W", "F814W")``; by default the two reddest bands for x and
        the next two for y.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them; all by default.
    color : str, array or None
        Parameter, column such as ``support``, or one value per shown row, for the color of the points.  Points have
        one color if this is None or the table has no results.
    track : bool
        Whether to draw the colors of dust-free, fully sampled clusters of solar metallicity, labeled with their ages.
    reddening : float
        E(B-V) of the reddening arrow, mag; zero draws no arrow.
    system : str
        ``AB`` or ``Vega``.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    ax : Axes, optional
        Axes to draw into; those of a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Only rows detected in all of the bands are drawn.  Rows that fail `~clusterpost.is_good` are gray crosses.

    Raises
    ------
    InputError
        If there are too few bands, or no row remains.

    Notes
    -----
    The arrow follows the model's extinction curve for a cluster of 100 Myr.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_color_color
    >>> out = clusterpost.infer_table(clusterpost.simulate(20, seed=1), n_samples=100)
    >>> figure = plot_color_color(out)
    >>> figure = plot_color_color(out, ("F438W", "F555W"), ("F275W", "F336W"),
    ...                           color="support", system="Vega")
    """
    shown, photometry = _read(out, where, prefix)
    names = [] if x is not None and y is not None else _detected_bands(photometry, 3, "color-color")
    x = tuple(names[-2:]) if x is None else _pair(x)
    y = (tuple(names[-4:-2]) if len(names) > 3 else tuple(names[:2])) if y is None else _pair(y)
    magnitudes = magnitudes_of(photometry, (*x, *y), system)
    return _diagram(shown, magnitudes, (*x, *y), lambda m: (m[:, 0] - m[:, 1], m[:, 2] - m[:, 3]),
                    (_label(x, system), _label(y, system)), color, track, reddening, system, ax, masses=(1e4,))


def plot_color_magnitude(out: Table, color_bands: tuple[str, str] | None = None, band: str | None = None, *,
                         where: str | Sequence | np.ndarray | None = None, color: str | None = "age",
                         track: bool = True, reddening: float = 0.3, absolute: bool = True, system: str = "AB",
                         prefix: str | None = None, ax: Axes | None = None) -> Figure:
    """Draw a color-magnitude diagram of a catalog, with the model's tracks.

    .. versionadded:: 0.2

    Parameters
    ----------
    out : Table
        Photometry, with or without results.
    color_bands : tuple of two str, optional
        Bands of the color, the bluer first; by default the two reddest.
    band : str, optional
        Band of the magnitude; by default the first band of the color.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them; all by default.
    color : str, array or None
        As for `plot_color_color`.
    track : bool
        Whether to draw dust-free, fully sampled clusters of solar metallicity with 1e3 to 1e6 solar masses.
    reddening : float
        E(B-V) of the reddening arrow, mag; zero draws no arrow.
    absolute : bool
        Whether to draw absolute magnitudes; magnitudes are apparent if the table has no distances.
    system : str
        ``AB`` or ``Vega``.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    ax : Axes, optional
        Axes to draw into; those of a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Rows that fail `~clusterpost.is_good` are gray crosses.

    Raises
    ------
    InputError
        If there are too few bands, or no row remains.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_color_magnitude
    >>> out = clusterpost.infer_table(clusterpost.simulate(20, seed=1), n_samples=100)
    >>> figure = plot_color_magnitude(out, ("F438W", "F814W"), "F555W")
    """
    shown, photometry = _read(out, where, prefix)
    pair = tuple(_detected_bands(photometry, 2, "color-magnitude")[-2:]) if color_bands is None else _pair(color_bands)
    band = pair[0] if band is None else get_band(band).name
    magnitudes = magnitudes_of(photometry, (*pair, band), system)
    distance = photometry.covariates.get("distance", np.full(len(photometry), np.nan))
    absolute = absolute and np.isfinite(distance).any()
    if absolute:
        magnitudes = magnitudes - 5 * np.log10(distance / _PC10)[:, None]
    at = _PC10 if absolute or not np.isfinite(distance).any() else float(np.nanmedian(distance))
    name = f"{_name(band)} [{system} mag]"
    return _diagram(shown, magnitudes, (*pair, band), lambda m: (m[:, 0] - m[:, 1], m[:, 2]),
                    (_label(pair, system), f"absolute {name}" if absolute else name),
                    color, track and (absolute or at != _PC10), reddening, system, ax,
                    masses=_TRACK_MASSES, distance=at)


def are_modeled(bands: Sequence[str]) -> bool:
    """Return whether fully sampled clusters have fluxes in all of these bands.

    Parameters
    ----------
    bands : sequence of str

    Returns
    -------
    bool
    """
    try:
        find_family("clusters").with_bands(list(dict.fromkeys(bands)))
    except InputError:
        return False
    return True


def model_magnitudes(age: np.ndarray | Sequence[float], ebv: np.ndarray | Sequence[float], bands: Sequence[str],
                     distance: float, mass: float = 1e4) -> np.ndarray:
    """Return AB magnitudes of fully sampled clusters of solar metallicity.

    Parameters
    ----------
    age : array (n,)
        Myr.
    ebv : array (n,)
        mag.
    bands : sequence of str
    distance : float
        Mpc.
    mass : float
        Initial mass, solar masses.

    Returns
    -------
    ndarray (n, n_band)
    """
    from ..training.mocks import simulate

    params = QTable({"age": np.asarray(age) * u.Myr, "mass": np.full(len(age), mass) * u.Msun,
                     "ebv": np.asarray(ebv) * u.mag})
    fluxes = simulate(params, model="clusters", bands=list(dict.fromkeys(bands)), distance=distance)
    return np.stack([fluxes[get_band(band).name].to_value(u.ABmag) for band in bands], -1)


def typical_distance(shown: Shown) -> float:
    """Return the median distance of the shown rows in Mpc.

    Parameters
    ----------
    shown : `~clusterpost.plotting.rows.Shown`

    Returns
    -------
    float

    Raises
    ------
    InputError
        If no row has a distance.
    """
    distance = photometry_of(shown.table, shown.prefix).covariates.get("distance", np.array([np.nan]))
    if not np.isfinite(distance).any():
        raise InputError("a line of constant magnitude needs a distance, and no row has one; omit the limit, "
                         "or infer the table with option:distance")
    return float(np.nanmedian(distance))


def _read(out, where, prefix):
    shown = shown_rows(out, where, prefix)
    return shown, photometry_of(shown.table, shown.prefix)


def photometry_of(tbl: Table, prefix: str) -> Photometry:
    """Read the photometry of a result as the inference read it, with distances if available.

    Parameters
    ----------
    tbl : Table
    prefix : str
        Prefix of the result columns.

    Returns
    -------
    `~clusterpost.photometry.Photometry`
    """
    bare, reading = repeat(tbl, prefix=prefix, columns=None, distance=None)
    family = find_family(recorded_model(tbl, prefix))
    distances = tuple(c for c in family.covariates if c.name == "distance")
    try:
        return Photometry.from_table(bare, error_floor=None, covariates=distances, **reading)
    except InputError:
        if not distances:
            raise
        return Photometry.from_table(bare, error_floor=None, covariates=(), columns=reading["columns"])


def bands_by_pivot(photometry: Photometry) -> list[str]:
    """Return the detected bands from blue to red; of two cameras with the same filter, the one with more detections.

    Parameters
    ----------
    photometry : `~clusterpost.photometry.Photometry`

    Returns
    -------
    list of str
    """
    best = {}
    for i, band in enumerate(photometry.bands):
        count = int((np.isfinite(photometry.flux[:, i]) & ~photometry.limit[:, i]).sum())
        slot = get_band(band).wfc3.split("_")[0] if get_band(band).instrument != "SDSS" else band
        if count and count > best.get(slot, (0, ""))[0]:
            best[slot] = count, band
    return sorted((band for _, band in best.values()), key=lambda band: get_band(band).pivot)


def _detected_bands(photometry, least, diagram):
    """Return the detected bands from blue to red, at least ``least`` of them."""
    names = bands_by_pivot(photometry)
    if len(names) < least:
        columns = dict(zip(photometry.bands, photometry.columns, strict=False))
        found = ", ".join(f"{name} (column {columns[name]!r})" if name in columns else name for name in names)
        empty = [name for name in photometry.bands if name not in names]
        raise InputError(
            f"a {diagram} diagram needs {least} filters with detections, and this table has {found or 'none'}"
            + (f"; also read, without detections or with the same filter: {', '.join(empty)}" if empty else "")
            + (f"; not recognized: {', '.join(map(str, photometry.unused))}" if photometry.unused else "")
            + ". Name the columns of other bands with option:columns when the table is read or inferred")
    return names


def _pair(bands):
    if isinstance(bands, str) or len(bands) != 2:
        raise InputError(f"a color takes two bands, such as ('F555W', 'F814W'), not {bands!r}")
    return tuple(get_band(band).name for band in bands)


def _name(band):
    return band.replace("_", " ")


def _label(pair, system):
    return f"{_name(pair[0])} \N{MINUS SIGN} {_name(pair[1])} [{system} mag]"


def magnitudes_of(photometry: Photometry, bands: Sequence[str], system: str) -> np.ndarray:
    """Return magnitudes, NaN for bands without a detection.

    Parameters
    ----------
    photometry : `~clusterpost.photometry.Photometry`
    bands : sequence of str
    system : str
        ``AB`` or ``Vega``.

    Returns
    -------
    ndarray (n, n_band)
    """
    if system not in ("AB", "Vega"):
        raise InputError(f"option:system={system!r} is neither 'AB' nor 'Vega'")
    if absent := [band for band in bands if band not in photometry.bands]:
        raise InputError(f"the table has no {absent[0]}; choose from {', '.join(photometry.bands)}")
    part = photometry.select(bands)
    flux = np.where(part.limit | ~(part.flux > 0), np.nan, part.flux)
    return (flux * u.mJy).to_value(u.ABmag) - _zero_points(bands, system)


def _zero_points(bands, system):
    return np.array([get_band(band).ab_minus_vega if system == "Vega" else 0.0 for band in bands])


def _diagram(shown, magnitudes, bands, axes_of, labels, color, track, reddening, system, ax, masses, distance=_PC10):
    x, y = axes_of(magnitudes)
    there = np.isfinite(x) & np.isfinite(y)
    if not there.any():
        raise InputError(f"no row is detected in all of {', '.join(dict.fromkeys(bands))}")
    shown.good, shown.doubtful = shown.good & there, shown.doubtful & there
    has_results = f"{shown.prefix}flag" in shown.table.colnames
    values, label = color_of(shown, color if has_results or not isinstance(color, str) else None)
    with style():
        ax = new_axes(ax, width=6.2, height=5.2)
        scatter(ax, x, y, shown, values, label)
        low, high = (np.nanpercentile(np.stack([x[there], y[there]]), q, axis=1) for q in (0.5, 99.5))
        modeled = are_modeled(bands)

        def of_model(age, ebv, mass):
            found = model_magnitudes(age, ebv, bands, distance, mass) - _zero_points(bands, system)
            return np.stack(axes_of(found), -1)

        paths = [of_model(_TRACK_AGES, np.zeros(len(_TRACK_AGES)), mass) for mass in masses if track and modeled]
        if len(paths) == 1:
            low, high = np.minimum(low, paths[0].min(0)), np.maximum(high, paths[0].max(0))
        margin = 0.07 * (high - low) + 0.05
        ax.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(high[1] + margin[1], low[1] - margin[1]),
               xlabel=labels[0], ylabel=labels[1])
        for k, path in enumerate(paths):
            _track(ax, path, masses[k], labeled=k == len(paths) // 2, named=len(paths) > 1)
        if reddening and modeled:
            _arrow(ax, np.diff(of_model(np.full(2, 100.0), np.array([0, reddening]), 1e4), axis=0)[0], reddening)
        ax.set_title(shown.caption(), loc="left")
    return ax.figure


def _track(ax, path, mass, *, labeled, named):
    """Draw a track, labeled with its mass and ages."""
    ax.plot(*path.T, color=COLORS["map"], lw=1.3, zorder=3, alpha=0.9)
    look = {"textcoords": "offset points", "fontsize": 8.5, "color": COLORS["map"], "clip_on": True, "zorder": 6}
    texts = []  # point, text and length of each label
    if labeled:
        points = path[[int(np.argmin(np.abs(_TRACK_AGES - age))) for age in _LABELLED]]
        ages = [f"{age} Myr" if age < 1000 else f"{age // 1000} Gyr" for age in _LABELLED]
        texts += zip(points, ages, map(len, ages), strict=True)
        ax.plot(*points.T, ls="none", marker="o", ms=4.5, color=COLORS["map"], mec="white", mew=0.7, zorder=4)
    (x0, x1), (y0, y1) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    inside = (path[:, 0] > x0) & (path[:, 0] < x1) & (path[:, 1] > y0) & (path[:, 1] < y1)
    if named and inside.any():
        texts.append((path[np.flatnonzero(inside)[0]], rf"$10^{{{np.log10(mass):.0f}}}\,M_\odot$", 7))
    for (point, text, _), (*offset, align) in zip(texts, _free_sides(ax, texts), strict=True):
        _halo(ax.annotate(text, point, xytext=offset, ha=align, **look))


def _free_sides(ax, texts):
    """Choose the side of each label's point: inside the axes and clear of earlier labels, as far as possible."""
    scale, frame, taken = 72 / ax.figure.dpi, ax.get_window_extent(), []
    for point, _, length in texts:
        (x, y), width, boxes = (ax.transData.transform(point) - frame.p0) * scale, _TEXT_SIZE[0] * length, []
        for dx, dy, align in _SIDES:
            left = x + dx - (width if align == "right" else 0)
            boxes.append((left, y + dy, left + width, y + dy + _TEXT_SIZE[1]))
        inside = [box[0] > 0 and box[2] < frame.width * scale for box in boxes]
        free = [not any(box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
                        for other in taken) for box in boxes]
        k = max(range(len(_SIDES)), key=lambda k: (inside[k], free[k], -k))
        taken.append(boxes[k])
        yield _SIDES[k]


def _halo(text):
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=2.2, foreground="white")])


def _arrow(ax, vector, reddening):
    """Draw a reddening vector in the upper right corner, which few clusters reach."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    start = np.array([x1 - 0.06 * (x1 - x0) - max(vector[0], 0), y1 + 0.06 * (y0 - y1)])
    ax.annotate("", start + vector, start, arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.3}, zorder=5)
    _halo(ax.annotate(f"$E(B-V) = {reddening:g}$", start, xytext=(-5, 0), textcoords="offset points", ha="right",
                      va="center", fontsize=8.5, zorder=6))
