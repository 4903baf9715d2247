"""HTML report of a result: summary, flags, figures, and an interactive table."""

from __future__ import annotations

import base64
import io
import json
import re
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from .catalogs.identity import object_names
from .catalogs.metadata import meta_value
from .citing import cite, distance_keys, short_citation
from .densities import Exponential, Normal, PowerLaw, Share, Uniform
from .errors import ColumnError, DistanceError, InputError
from .flags import FLAGS, SIMULATED, decode_flags, flag_values, is_good
from .flow.modelfile import find_family
from .priors import prior_from_record
from .provenance import EXACT_GRID, SIMULATIONS, recorded_model, recorded_settings, results_prefix
from .selection import row_numbers
from .utils import check_target, progress_bar, require, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["methods_paragraph", "write_report"]

_FIGURES = (("overview", "Medians of all rows, number of rows with each flag, and histograms of good rows."),
            ("age-mass", "Median ages and masses with their 16 to 84 % ranges."),
            ("mass-function", "Mass function of the good rows, from draws of their posteriors. It includes the prior "
                              "and is not corrected for completeness."),
            ("age-distribution", "Age distribution of the good rows, from draws of their posteriors."),
            ("color-magnitude", "Color-magnitude diagram of the catalog with tracks of fully sampled clusters."),
            ("sky", "Positions on the sky."))
_CANNOT = (ColumnError, DistanceError, InputError)
_MOST_DRAWN_FROM = 2000  # rows; distributions of larger tables use a random subset
_DIGITS = 4
_NOISES = {"lognormal": "log-normal", "normal": "normal",
           "walter2025": f"log-normal (as in {short_citation('walter2025')})"}


def write_report(out: Table, path: str, *, objects: int = 20, where: str | Sequence | np.ndarray | None = None,
                 title: str | None = None, prefix: str | None = None, overwrite: bool = False,
                 progress: bool | None = None) -> Path:
    """Write a result as one self-contained HTML page.

    .. versionadded:: 0.2

    Parameters
    ----------
    out : `~astropy.table.Table`
        Output of `~clusterpost.infer_table`.
    path : str or Path
        Output file, ending in ``.html``.
    objects : int
        Number of rows, the first good ones, with photometry and corner plot; with the default
        model about 230 kB and two to three seconds for each.
    where : array of bool or int, or str, optional
        Rows to show, or an expression that selects them; all by default.
    title : str, optional
        Title of the page; by default the target in the table's meta.
    prefix : str, optional
        The ``prefix`` passed to `~clusterpost.infer_table`, if the table has several results.
    overwrite : bool
        Whether to replace an existing file.
    progress : bool, optional
        Whether to show a progress bar; by default on a terminal and in a notebook.

    Returns
    -------
    Path
        Path of the page.

    Raises
    ------
    ImportError
        If jinja2 or matplotlib is not installed.
    InputError
        If no row is selected, or the file exists and ``overwrite`` is False.
    ColumnError
        If the table has no results.

    Examples
    --------
    >>> import tempfile, clusterpost
    >>> out = clusterpost.infer_table(clusterpost.example_catalog()[:3],
    ...                               model="any_bands", n_samples=100)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = clusterpost.write_report(out, f"{folder}/report.html", objects=1,
    ...                                     progress=False)
    ...     page.name
    'report.html'
    """
    jinja2 = require("jinja2", "report")
    require("corner", "report")
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: the file name of a report must end in .html")
    check_target(path, overwrite=overwrite)
    prefix = results_prefix(out, prefix)
    if f"{prefix}flag" not in out.colnames:
        raise ColumnError(f"the table has no column {prefix + 'flag'!r}; infer it first and check the prefix")
    if where is not None:
        out = out[row_numbers(out, where, prefix=prefix)]
    if not len(out):
        raise InputError("no row is selected for the report")
    good = is_good(out, prefix=prefix)
    chosen = np.flatnonzero(good)[:objects]
    bar = progress_bar(len(_FIGURES) + len(chosen), show=progress, desc="figures")
    with bar:
        figures, absent = _population(out, prefix, bar)
        pictures = {int(row): _picture("object", out[int(row)], bar, dpi=76, prefix=prefix) for row in chosen}
    template = resources.files(__package__).joinpath("data/report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(template).render(
        title=title or _target(out), facts=_facts(out, prefix, good), methods=methods_paragraph(out, prefix=prefix),
        bibtex=cite(out, prefix=prefix), flags=_flag_rows(out, prefix), figures=figures, absent=absent,
        n_embedded=len(pictures), n_rows=len(out),
        data=_as_script({**_table(out, prefix), "colors": _colors(out, prefix), "pictures": pictures}))
    write_whole(path, html.encode())
    return path


def methods_paragraph(out: Table, *, prefix: str | None = None) -> str:
    """Describe how a result was made, as a paragraph for a paper.

    .. versionadded:: 0.2

    Parameters
    ----------
    out : `~astropy.table.Table`
        Output of `~clusterpost.infer_table`.
    prefix : str, optional
        The ``prefix`` passed to `~clusterpost.infer_table`, if the table has several results.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the table does not record how it was made.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.report import methods_paragraph
    >>> out = clusterpost.infer_table(clusterpost.simulate(2, model="any_bands"),
    ...                               model="any_bands", n_samples=100)
    >>> methods_paragraph(out).split(" with clusterpost")[0]
    'We infer age, mass and E(B-V)'
    """
    prefix = results_prefix(out, prefix)
    settings = recorded_settings(out, prefix)
    if settings is None:
        raise InputError("the table does not record how its results were made; use the output of infer_table")
    family = find_family(recorded_model(out, prefix))
    version, bands = meta_value(out, "CPVERS"), _used_bands(out, prefix)
    good, flags = is_good(out, prefix=prefix), flag_values(out, prefix)
    without = {EXACT_GRID: "on a dense grid of the exact posterior",
               SIMULATIONS: "by importance sampling with simulated objects"}
    exact = settings.model in without
    credited = "; ".join([f"weights {str(settings.sha256)[:8]}", *map(short_citation, family.method)])
    by = f" {without[settings.model]}" if exact else f", using the normalizing flow {settings.model} ({credited})"
    papers = _listed(list(map(short_citation, family.references)))
    parts = [
        f"We infer {_listed(_counted([_quantity(p, of_log=False) for p in family.parameters]))} with "
        f"clusterpost {version}{by}, a model of {family.summary}.",
        *([f"The model is based on {papers}."] if papers else []),
        f"We use photometry in {', '.join(bands)} and " + (
            f"add a relative error of {100 * settings.error_floor:g} % in quadrature. " if settings.error_floor
            else "add no systematic error. ")
        + f"The noise model is {_NOISES.get(settings.noise, settings.noise)}. "
        f"The prior is {_prior_words(settings, family)}.",
    ]
    if not exact:
        parts.append(_weighting(settings, family, (flags & SIMULATED) != 0))
    parts += _distance_sentence(out, prefix)
    inferred = (flags & 1) == 0
    parts.append(f"Of {len(out):,} objects, {inferred.sum():,} have posteriors, and {good.sum():,} of these have no "
                 "flag of severity caution or bad. We quote medians and 16 to 84 % ranges of the marginal posteriors.")
    return " ".join(parts)


def _weighting(settings, family, simulated):
    """Return a sentence on how the draws of the network are used."""
    if family.likelihood is not None and settings.refine:
        return "Draws from the network are importance-weighted with the likelihood, so they follow the exact posterior."
    if settings.words == family.prior.describe():
        return "Draws come from the network without further weighting."
    words = "Draws from the network are importance-weighted by the ratio of the prior to that of its training."
    if simulated.any():
        words += (f" For {simulated.sum():,} objects few draws count under this prior, and the posterior comes from "
                  "simulated objects.")
    return words


def _prior_words(settings, family):
    """Return a noun phrase for the recorded prior."""
    recorded, parameters = settings.prior, {p.name: p for p in family.parameters}
    if recorded is None or settings.words == family.default_prior.describe():
        prior = family.default_prior
    elif recorded["kind"] == "function":
        spans = [f"{_quantity(p)} ({_span(p, *ends)})" for p, *ends in
                 zip(family.parameters, recorded["low"], recorded["high"], strict=True)]
        return f"given by the function {recorded['name']} within the bounds of {_listed(spans)}"
    else:
        try:
            prior = prior_from_record(recorded)
        except InputError:
            return settings.words  # known as text only
    if not hasattr(prior, "independent"):  # of another class, with only the methods of a Prior
        return settings.words
    alike = {}
    for name, density in prior.independent.items():
        spans = alike.setdefault(_density_words(density, parameters[name]), {})
        spans.setdefault(_span(parameters[name], density.low, density.high), []).append(
            _quantity(parameters[name], of_log=not isinstance(density, PowerLaw)))
    phrases = [f"{shape} {_listed([f'{_listed(_counted(names))} ({span})' for span, names in spans.items()])}"
               for shape, spans in alike.items()]
    phrases += prior.dependent
    words = _listed(phrases, separator="; ", last="; and ")
    if prior.distance_error:
        words += f". We marginalize over a relative distance error of {100 * prior.distance_error:g} %"
    return words


def _density_words(density, parameter):
    """Return the shape of a density, up to the preposition."""
    unit = " dex" if parameter.log10 else f" {parameter.unit}" if parameter.unit else ""
    match density:
        case Uniform() | Share(power=1):
            return "flat in"
        case PowerLaw(index=index):
            return f"a power law of index {index:g} in"
        case Exponential(scale=scale):
            return f"exponential with a scale of {scale:g}{unit} in"
        case Normal(mean=mean, sigma=sigma):
            return f"normal with a mean of {mean:g}{unit} and a standard deviation of {sigma:g}{unit} in"
        case Share(power=power, low=low):
            return f"proportional to {'x' if low == 0 else f'(x - {low:g})'}^{power - 1:g} in x ="
    return f"{density.describe()} in"


def _quantity(parameter, *, of_log=True):
    return "log " * (parameter.log10 and of_log) + (parameter.word or parameter.column)


def _span(parameter, low, high):
    """Return bounds in the unit of the columns: in powers of ten if they are large, and in Gyr for long times."""
    unit = {"solMass": "Msun"}.get(parameter.unit, parameter.unit)
    if not parameter.log10:
        return f"{low:.4g} to {high:.4g} {unit}".strip()
    if unit == "Myr":
        return " to ".join(f"{10 ** (end - 3):.4g} Gyr" if end >= 3 else f"{10**end:.4g} Myr" for end in (low, high))
    return f"10^{low:.4g} to 10^{high:.4g} {unit}".strip()


def _counted(words):
    """Join consecutive words that differ in a final number only: ``stick 1``, ``stick 2`` become ``sticks 1 and 2``."""
    groups = [(stem, list(group)) for stem, group in groupby(words, key=lambda word: re.sub(r" \d+$", "", word))]
    return [group[0] if len(group) == 1 else f"{stem}s {_listed([word[len(stem) + 1:] for word in group])}"
            for stem, group in groups]


def _listed(words, separator=", ", last=" and "):
    return last.join([separator.join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _target(out):
    name = next((meta_value(out, key) for key in ("TARGET", "OBJECT", "GALAXY") if meta_value(out, key)), None)
    return f"Posteriors of {name}" if name else "Posteriors of a catalog"


def _used_bands(out, prefix):
    from .plotting.colors import photometry_of

    known = photometry_of(out, prefix)
    return [band for band, seen in zip(known.bands, ~known.missing.all(0), strict=True) if seen]


def _distance(out, prefix):
    from .plotting.colors import photometry_of

    known = photometry_of(out, prefix).covariates.get("distance", np.array([]))
    known = known[np.isfinite(known)]
    if not len(known):
        return ""
    return f"{known.min():.4g} Mpc" if np.ptp(known) <= 1e-6 * known.min() else \
        f"{known.min():.4g} to {known.max():.4g} Mpc"


def _distance_sentence(out, prefix):
    """Return at most one sentence, with the papers of the distances."""
    span = _distance(out, prefix)
    if not span:
        return []
    papers = "; ".join(map(short_citation, distance_keys(str(meta_value(out, "CPDIST") or ""))))
    return [f"We adopt {'distances of' if ' to ' in span else 'a distance of'} {span}{f' ({papers})' * bool(papers)}."]


def _distance_and_source(out, prefix):
    span = _distance(out, prefix)
    source = str(meta_value(out, "CPDIST") or "")
    return span + (f" ({source})" if span and source and source not in ("argument", "meta") else "")


def _facts(out, prefix, good):
    """Return names and values for the summary."""
    settings, flags = recorded_settings(out, prefix), flag_values(out, prefix)
    facts = {"rows": f"{len(out):,}", "inferred": f"{((flags & 1) == 0).sum():,}", "good": f"{good.sum():,}",
             "bands": " ".join(_used_bands(out, prefix)), "distance": _distance_and_source(out, prefix) or "none",
             "catalog": str(meta_value(out, "CPLAYOUT") or "")}
    if settings is not None:
        facts |= {"model": f"{settings.model} {str(settings.sha256 or '')[:8]}", "noise": settings.noise,
                  "prior": settings.words, "error floor": f"{100 * settings.error_floor:g} %",
                  "refined": "yes" if settings.refine else "no",
                  "draws": str(settings.n_samples or ""), "seed": str(settings.seed)}
    return facts | {"clusterpost": str(meta_value(out, "CPVERS") or "")}


def _flag_rows(out, prefix):
    values = flag_values(out, prefix)
    found = [(flag, int(((values & flag.bit) != 0).sum())) for flag in FLAGS]
    return [{"name": flag.name, "severity": flag.severity, "bit": flag.bit, "count": count, "text": flag.description}
            for flag, count in sorted(found, key=lambda pair: -pair[1]) if count]


def _population(out, prefix, bar):
    """Return the figures of the catalog, and the reasons for those that cannot be drawn."""
    from .plotting.files import SAMPLED_FIGURES

    figures, absent = [], []
    part = out
    if len(out) > _MOST_DRAWN_FROM:
        part = out[np.sort(np.random.default_rng(0).choice(len(out), _MOST_DRAWN_FROM, replace=False))]
    for kind, text in _FIGURES:
        sampled = kind in SAMPLED_FIGURES
        note = f" Based on {len(part):,} randomly drawn rows." if sampled and part is not out else ""
        try:
            options = {"n_draws": 100} if sampled else {}
            figures.append({"kind": kind, "text": text + note, "image": _picture(
                kind, part if sampled else out, bar, dpi=90, prefix=prefix, **options)})
        except _CANNOT as error:
            absent.append({"kind": kind, "why": str(error)})
            bar.update(1)
    return figures, absent


def _picture(kind, tbl, bar, *, dpi, **options):
    """Draw a figure and return it as an image source."""
    from .plotting.files import draw

    buffer = io.BytesIO()
    draw(kind, tbl, **options).savefig(buffer, format="png", dpi=dpi)
    bar.update(1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _table(out, prefix):
    """Return the columns of the table on the page and the values of each row."""
    names, flags = object_names(out), flag_values(out, prefix)
    columns = [{"name": "object", "label": names[0] or "row", "text": True}]
    values = [names[1]]
    family = find_family(recorded_model(out, prefix))
    for quantity in (*family.parameters, *family.derived):
        stems = [f"{prefix}{quantity.column}_{end}" for end in ("q16", "q50", "q84")]
        if not set(stems) <= set(out.colnames):
            continue
        unit = f" [{quantity.unit}]".replace("solMass", "Msun") if quantity.unit else ""
        low, middle, high = (_numbers(out[stem]) for stem in stems)
        columns.append({"name": quantity.column, "label": quantity.column + unit, "range": True,
                        "title": quantity.description})
        values.append([[m, a, b] for m, a, b in zip(middle, low, high, strict=True)])
    for name in ("n_modes", "n_bands", "support", "efficiency", "chi2_map"):
        if f"{prefix}{name}" in out.colnames:
            columns.append({"name": name, "label": name, "title": str(out[f"{prefix}{name}"].info.description or "")})
            values.append(_numbers(out[f"{prefix}{name}"]))
    columns.append({"name": "flags", "label": "flags", "text": True})
    values.append([", ".join(each) for each in decode_flags(flags)])
    return {"columns": columns, "rows": [list(row) for row in zip(*values, strict=True)],
            "good": is_good(out, prefix=prefix).tolist()}


def _numbers(column):
    """Return plain rounded numbers, None for missing values."""
    plain = np.ma.filled(np.ma.asarray(getattr(column, "value", column)).astype(float), np.nan)
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in plain]


def _colors(out, prefix):
    """Return AB magnitudes by band and the model track in the same bands."""
    from .plotting.colors import are_modeled, bands_by_pivot, magnitudes_of, model_magnitudes, photometry_of

    photometry = photometry_of(out, prefix)
    bands = bands_by_pivot(photometry)
    if len(bands) < 2:
        return {"bands": [], "magnitudes": [], "track": [], "ages": []}
    ages = np.geomspace(1, 13000, 120)
    track = np.zeros((0, len(bands)))
    if are_modeled(bands):
        track = model_magnitudes(ages, np.zeros(len(ages)), bands, 1e-5)
    rounded = [[None if not np.isfinite(x) else round(float(x), 3) for x in row]
               for row in magnitudes_of(photometry, bands, "AB")]
    return {"bands": list(bands), "magnitudes": rounded, "track": np.round(track, 3).tolist(),
            "ages": [float(f"{age:.3g}") for age in ages]}


def _as_script(values):
    """Return JSON that is safe inside a script element."""
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(values, allow_nan=False))
