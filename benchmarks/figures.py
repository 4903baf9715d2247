"""Figures of the benchmarks' tables."""

from pathlib import Path

import numpy as np
from astropy.table import Table

from clusterpost.plotting.style import COLORS, new_figure, plain_log_ticks, style
from clusterpost.utils import whole_file

_COLORS = (COLORS["posterior"], COLORS["map"], COLORS["catalog"], COLORS["mode"], "#56B4E9", "#CC79A7", "#000000")


def draw(folder):
    """Draw each figure whose tables there are.

    Parameters
    ----------
    folder : path
        Holds the tables; the figures go there.

    Returns
    -------
    list of str
        Names of the files.
    """
    folder, names = Path(folder), []
    for name, (needed, function) in FIGURES.items():
        tables = [folder / f"{table}.ecsv" for table in needed]
        if not all(path.exists() for path in tables):
            continue
        with style():
            figure = new_figure(width=6.2, height=4.2)
            function(figure, *(Table.read(path, format="ascii.ecsv") for path in tables))
            with whole_file(folder / f"{name}.png") as path:
                figure.savefig(path)
        names.append(f"{name}.png")
    return names


def _log_axes(figure, x, y):
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    return axes


def _groups(table, *names):
    """Rows of each combination of some columns, in their order."""
    keys = list(dict.fromkeys(tuple(row) for row in zip(*(table[name] for name in names), strict=True)))
    for key in keys:
        yield key, table[np.all([table[name] == value for name, value in zip(names, key, strict=True)], axis=0)]


def _time(figure, rows):
    axes = _log_axes(figure, "rows", "wall time [s]")
    for color, ((call, setting), part) in zip(_COLORS, _groups(rows, "call", "setting"), strict=False):
        axes.plot(part["rows"], part["seconds"], "o-", color=color, label=f"{call}, {setting}")
    axes.legend()


def _memory(figure, rows):
    axes = _log_axes(figure, "rows", "memory [MB]")
    for color, ((call, setting), part) in zip(_COLORS, _groups(rows, "call", "setting"), strict=False):
        axes.plot(part["rows"], part["peak"], "o-", color=color, label=f"{call}, {setting}: peak")
        axes.plot(part["rows"], part["peak"] - part["tables"], ":", color=color)
    axes.plot([], [], ":", color=COLORS["line"], label="less the tables that go in and come out")
    axes.set_ylim(0.3 * min(rows["peak"]), 5 * max(rows["peak"]))
    plain_log_ticks(axes.yaxis, *axes.get_ylim())
    axes.legend()


def _stages(figure, table):
    groups = list(_groups(table, "model", "device"))
    axes = figure.subplots()
    names = list(dict.fromkeys(table["stage"]))
    height = 0.8 / len(groups)
    for i, (color, ((model, device), part)) in enumerate(zip(_COLORS, groups, strict=False)):
        axes.barh(np.arange(len(names)) + i * height, 100 * part["share"], height, color=color,
                  label=f"{model}, {device}")
    axes.set_yticks(np.arange(len(names)) + 0.4 - height / 2, names)
    axes.invert_yaxis()
    axes.set(xlabel="share of the time [%]")
    axes.legend()


def _accuracy(figure, accuracy, speed):
    axes = _log_axes(figure, "seconds per object", "error of quantiles, 95 % [half-widths]")
    prior = accuracy[accuracy["mocks"] == "prior"]
    for color, ((method,), part) in zip(_COLORS, _groups(prior, "method"), strict=False):
        part.sort("seconds_per_object")
        axes.plot(part["seconds_per_object"], part["error_p95"], "o-", color=color, label=method)
    known = speed[np.isfinite(speed["error_p95"]) & (speed["device"] == "cpu")]
    for row in known[known["error_p95"] > 0]:
        point = row["seconds_per_object"], row["error_p95"]
        axes.plot(*point, "D", color=COLORS["line"])
        axes.annotate(row["method"], point, (7, 7), textcoords="offset points", fontsize=8,
                      bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.5})
    axes.margins(x=0.15, y=0.1)
    axes.legend()


def _dimensions(figure, table):
    axes = figure.subplots()
    for color, name in zip(_COLORS, ("grid", "network"), strict=False):
        axes.plot(table["parameters"], table[name], "o-", color=color, label=name)
    axes.set(yscale="log", xlabel="parameters", ylabel="seconds per object", xticks=list(table["parameters"]))
    axes.legend()


#: Name, the tables that it needs, and who draws it.
FIGURES = {
    "time": (("rows",), _time),
    "memory": (("rows",), _memory),
    "stages": (("stages",), _stages),
    "accuracy": (("accuracy", "speed"), _accuracy),
    "dimensions": (("dimensions",), _dimensions),
}
