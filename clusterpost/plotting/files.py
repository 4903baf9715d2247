"""Figures by name, written to files by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..utils import progress_bar, require, whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import Row, Table
    from matplotlib.figure import Figure

    from ..typing import PathLike

__all__ = ["CATALOG_FIGURES", "DRAWN_FIGURES", "OBJECT_FIGURES", "SAMPLED_FIGURES", "SUFFIXES", "draw", "write_figure",
           "write_pages"]

#: Figures of a whole catalog: name and function of `clusterpost.plotting`.
CATALOG_FIGURES = {"overview": "plot_catalog", "color-color": "plot_color_color",
                   "color-magnitude": "plot_color_magnitude", "age-mass": "plot_age_mass",
                   "mass-function": "plot_mass_function", "age-distribution": "plot_age_distribution",
                   "sky": "plot_sky", "support": "plot_support"}
#: Figures of a single row: name, function and its options.
OBJECT_FIGURES = {"object": ("plot_sed", {"corner": True}), "corner": ("plot_posterior", {}), "sed": ("plot_sed", {})}
#: Figures of a whole catalog that draw from its posteriors and take options of `~clusterpost.sample_posterior`.
SAMPLED_FIGURES = ("mass-function", "age-distribution")
#: All figures that draw from posteriors.
DRAWN_FIGURES = (*OBJECT_FIGURES, *SAMPLED_FIGURES)
#: Suffixes of figure files.
SUFFIXES = (".png", ".pdf", ".svg")


def draw(kind: str, tbl: Row | Table, **options: Any) -> Figure:
    """Draw a figure by its name.

    Parameters
    ----------
    kind : str
        Name in `CATALOG_FIGURES` or `OBJECT_FIGURES`.
    tbl : Table or Row
        Results, or one row of them.
    **options
        Options of the plotting function.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import clusterpost.plotting

    name, more = OBJECT_FIGURES.get(kind) or (CATALOG_FIGURES[kind], {})
    return getattr(clusterpost.plotting, name)(tbl, **more, **options)


def write_figure(path: PathLike, figure: Figure) -> None:
    """Write a figure to a file atomically.

    Parameters
    ----------
    path : str or Path
        File name that ends in one of `SUFFIXES`.
    figure : Figure
    """
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=150)


def write_pages(path: PathLike, kind: str, tbl: Table, rows: Sequence[int], *, progress: bool | None = None,
                **options: Any) -> list[int]:
    """Draw rows of a result into a PDF file, one per page.

    Parameters
    ----------
    path : str or Path
        File name that ends in ``.pdf``.
    kind : str
        Name in `OBJECT_FIGURES`.
    tbl : Table
    rows : sequence of int
    progress : bool, optional
    **options
        As for `draw`.

    Returns
    -------
    list of int
        Rows without a page because they were not inferred.

    Raises
    ------
    InputError
        If the file is not a PDF, or no row can be drawn.
    """
    if Path(path).suffix.lower() != ".pdf":
        raise InputError(f"{path}: figures of several rows need a .pdf file, one page per row; choose one row, or "
                         "a .pdf file")
    require("matplotlib", "plot")
    from matplotlib.backends.backend_pdf import PdfPages

    without = []
    bar = progress_bar(len(rows), show=progress, desc="pages")
    with whole_file(path) as temporary, PdfPages(temporary) as pages, bar:
        for row in rows:
            try:
                pages.savefig(draw(kind, tbl[int(row)], **options))
            except InputError as error:
                without.append(int(row))
                if len(without) == len(rows):
                    raise InputError(f"none of the {len(rows)} rows can be drawn: {error.unworded}") from None
            bar.update(1)
    return without
