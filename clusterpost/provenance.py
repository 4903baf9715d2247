"""Record of the inference settings of the results in a table, for reuse in later draws.

``meta`` contains one readable key per setting (`KEYS`) for the results that were added last, and the complete
record for the results under each prefix as JSON under ``CPRECORD``.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table

from .catalogs.metadata import RECORD_KEY, as_reading, meta_value, recorded_entries, recorded_reading, results_prefix
from .errors import DistanceError, InputError, InputWarning, ModelError

if TYPE_CHECKING:
    from typing import Any

    from .families.base import ModelFamily

__all__ = ["AUTO", "EXACT_GRID", "EXACT_MODEL", "KEYS", "SIMULATIONS", "Settings", "add_record", "free_column",
           "recorded_model", "recorded_reading", "recorded_settings", "repeat", "resolve_floor", "results_prefix"]

#: Default of options for which None is a valid value: the setting of the results, or else the default.
AUTO = "auto"
#: The readable key of each setting.
KEYS = {"model": "CPMODEL", "sha256": "CPHASH", "noise": "CPNOISE", "prior": "CPPRIOR", "refine": "CPREFINE",
        "error_floor": "CPFLOOR", "seed": "CPSEED", "n_samples": "CPDRAWS", "recalibrated": "CPRECAL"}
_DEFAULTS = {"model": "default", "error_floor": AUTO, "seed": 0}
#: Model names of methods without a network.
EXACT_GRID, SIMULATIONS = "exact grid", "simulations"
#: Default model of the exact grid, the setting of the paper.
EXACT_MODEL = "any_bands"


@dataclass(frozen=True)
class Settings:
    """All settings that determine a posterior, besides the photometry.

    Attributes
    ----------
    model : str
        Name of the model; ``exact grid`` or ``simulations`` without one.
    path : str or None
        Path of the model file if it is not bundled; for the exact grid, the name of the model if its family is not
        that of `EXACT_MODEL`.
    sha256 : str or None
        First digits of the hash of the weights.
    noise : str
    prior : dict or None
        Record for `clusterpost.priors.prior_from_record`; None for the model's own prior.
    words : str
        Description of the prior.
    refine : bool or None
    error_floor : float
    seed : int
    n_samples : int or None
        Requested number of draws.
    recalibrated : bool
    distance : str or None
        Column of the distances if they were given as an argument.
    reading : dict
        Reading options that the table does not record: ``columns``.
    """

    model: str
    noise: str
    words: str
    path: str | None = None
    sha256: str | None = None
    prior: dict | None = None
    refine: bool | None = None
    error_floor: float = 0.05
    seed: int = 0
    n_samples: int | None = None
    recalibrated: bool = False
    distance: str | None = None
    reading: dict = field(default_factory=dict)

    @property
    def readable(self) -> dict:
        """Values for all `KEYS` that apply."""
        values = asdict(self) | {"prior": self.words, "recalibrated": self.recalibrated or None}
        return {key: values[name] for name, key in KEYS.items() if values[name] is not None}


def add_record(meta: dict, settings: Settings, *, prefix: str = "", before: Table | None = None) -> None:
    """Record how results were made.

    Parameters
    ----------
    meta : dict
        Meta of the table with the results; modified in place.
    settings : Settings
    prefix : str
        Prefix of the result columns.
    before : Table, optional
        Table to which the results are added; records of its other results are kept.
    """
    entries = {} if before is None else recorded_entries(before)
    entries.pop(prefix, None)
    entries[prefix] = {name: value for name, value in asdict(settings).items() if value not in (None, {}, False)}
    entries[prefix]["refine"] = settings.refine
    for key in (*KEYS.values(), RECORD_KEY):
        for old in [name for name in meta if str(name).upper() == key]:
            del meta[old]
    meta.update(settings.readable)
    meta[RECORD_KEY] = json.dumps(entries)


def recorded_settings(tbl: Table, prefix: str | None = None) -> Settings | None:
    """Return the settings of the results in a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    prefix : str, optional
        Prefix of the results; by default the only ones in the table.

    Returns
    -------
    Settings or None
        None if the table has no record.

    Raises
    ------
    InputError
        If there are results with several prefixes and different settings, and none is chosen.
    """
    entries = recorded_entries(tbl)
    readable = {name: meta_value(tbl, key) for name, key in KEYS.items()}
    if not entries:
        return _from_readable(readable) if readable["model"] is not None else None
    if prefix not in entries:
        if len({json.dumps(entry, sort_keys=True) for entry in entries.values()}) > 1 and prefix is None:
            raise InputError(f"the table has results of several inferences with the prefixes "
                             f"{', '.join(map(repr, entries))}; choose one with option:prefix")
        prefix = next(reversed(entries))
    settings = Settings(**entries[prefix])
    if prefix == next(reversed(entries)) and settings.readable != {
            KEYS[name]: value for name, value in readable.items() if value is not None}:
        return _amended(settings, readable)
    return settings


def recorded_model(tbl: Table, prefix: str | None = None) -> str:
    """Return the model of the results, by name or path; ``default`` if the table has no record.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    prefix : str, optional
        As for `recorded_settings`.

    Returns
    -------
    str
    """
    settings = recorded_settings(tbl, prefix)
    if settings is None:
        return "default"
    return settings.path or (EXACT_MODEL if settings.model == EXACT_GRID else settings.model)


def _from_readable(values):
    """Return the settings of a table with only the readable keys, where the prior is known as text."""
    values = {name: value for name, value in values.items() if value is not None}
    values["words"] = values.pop("prior", "")
    return Settings(**{"noise": "lognormal", "prior": {"kind": "words"}, **values})


def _amended(settings, readable):
    """Return the settings with values of readable keys that were edited."""
    changed = _from_readable(readable)
    values = asdict(settings) | {name: value for name, value in asdict(changed).items()
                                 if name in readable and name != "prior" and readable[name] is not None}
    if changed.words != settings.words:
        values |= {"words": changed.words, "prior": changed.prior}
    if changed.model != settings.model:
        values["path"] = None
    return Settings(**values)


def repeat(tbl: Table, *, prefix: str | None = None, **given: Any) -> tuple[Table, dict]:
    """Complete options with the settings of the results in a table.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Table with or without results; not modified.
    prefix : str, optional
        As for `recorded_settings`.
    **given
        Options of `~clusterpost.sample_posterior` as given by the user: None, `AUTO`, or the model ``"default"`` for
        open options, which are completed.

    Returns
    -------
    bare : `~astropy.table.Table`
        The table without its record, whose content is in the options.
    options : dict
        Values for the names of ``given``.

    Raises
    ------
    InputError
        If the prior was a function or cannot be stored in the table, and is not given.
    ModelError
        If the model is not available.

    Warns
    -----
    InputWarning
        If an option contradicts the record, or the model's weights have changed.
    """
    settings = recorded_settings(tbl, prefix)
    bare = tbl.copy(copy_data=False)
    for key in [key for key in bare.meta if str(key).upper() in (RECORD_KEY, *KEYS.values())]:
        del bare.meta[key]
    open_ = {name for name, value in given.items()
             if value is None or (isinstance(value, str) and value in (AUTO, _DEFAULTS["model"]))}
    if given.get("error_floor", AUTO) is None:
        open_.discard("error_floor")
    if settings is None:
        return bare, {name: _DEFAULTS.get(name) if name in open_ else value for name, value in given.items()}
    reading = as_reading(settings.reading)
    recorded = {"model": recorded_model(tbl, prefix),
                "noise": settings.noise, "refine": settings.refine, "error_floor": settings.error_floor,
                "seed": settings.seed, "n_samples": settings.n_samples, **reading}
    if settings.distance in bare.colnames:
        recorded["distance"] = np.asarray(bare[settings.distance], dtype=float) * u.Mpc
    options = {name: recorded.get(name) if name in open_ else value for name, value in given.items()}
    if "model" in given:
        card = _card(options["model"], settings)
        if "prior" in open_:
            options["prior"] = _recorded_prior(settings, card)
        _check_same(settings, card, given.keys() - open_, options)
    _check_same_photometry(tbl, recorded, {name: given[name] for name in ("distance", "columns")
                                           if name in given.keys() - open_})
    return bare, options


def _card(model, settings):
    from .flow.bundled import model_stem
    from .flow.modelfile import load_model

    try:
        stem = model if hasattr(model, "card") else model_stem(model)
    except ModelError as error:
        raise ModelError(f"the results in this table were made with the model {settings.model!r}, which is not "
                         f"available ({error.unworded}); give a model with option:model") from None
    return load_model(stem).card


def _family(card):
    from .families.registry import family_of_simulator

    return family_of_simulator(card["simulator"])


def _recorded_prior(settings, card):
    from .priors import prior_from_record

    if settings.prior is None:
        return None
    if settings.prior["kind"] == "words":
        if settings.words in ("", _family(card).default_prior.describe()):
            return None
        why = f"their prior is recorded as text only ({settings.words})"
    else:
        try:
            return prior_from_record(settings.prior)
        except InputError as error:
            why = error.unworded
    raise InputError(f"the posteriors in this table cannot be reproduced: {why}. Give the prior with "
                     "option:prior")


def _check_same(settings, card, explicit, options):
    """Warn if the options differ from the record."""
    different = []
    if settings.sha256 and not card["sha256"].startswith(settings.sha256):
        different.append(f"the model ({settings.model}, weights {settings.sha256[:8]}; now {card['name']}, weights "
                         f"{card['sha256'][:8]})")
    for name in ("noise", "refine", "error_floor"):
        value = options.get(name) or (0.0 if name == "error_floor" else options.get(name))
        if name in explicit and value != getattr(settings, name) and getattr(settings, name) is not None:
            different.append(f"{name} ({getattr(settings, name)}; now {value})")
    if "prior" in explicit and not _same_prior(options["prior"], settings, card):
        different.append(f"prior ({settings.words}; now another)")
    if settings.recalibrated:
        different.append("the quantile levels (the results are recalibrated, draws are not)")
    _warn_different(different)


def _same_prior(given, settings, card):
    from .priors import as_prior

    recorded = settings.prior
    if recorded is None or recorded["kind"] == "words":
        return settings.words in ("", as_prior(given, _family(card)).describe())
    one, other = as_prior(given, _family(card)).to_record(), recorded
    if one["kind"] == other["kind"] == "function":
        bounds = ("low", "high", "distance_error", "values")
        return all(np.allclose(one[name], other[name], rtol=1e-3, atol=1e-3) for name in bounds)
    return one == other


def _check_same_photometry(tbl, recorded, given):
    """Warn if distances or columns differ from the record."""
    from .catalogs.recognition import recognize
    from .catalogs.table_distances import table_distances

    if not given:
        return
    different = []
    layout = recognize(tbl, recorded.get("columns"))
    if "columns" in given and recognize(tbl, given["columns"]).bands != layout.bands:
        different.append("columns")
    if "distance" in given:
        try:
            before = table_distances(tbl, layout, recorded.get("distance"))[0]
        except DistanceError:  # the results have no distance, or it was lost
            before = None
        now = table_distances(tbl, layout, given["distance"])[0]
        if before is not None and not np.allclose(before, now, rtol=1e-6, equal_nan=True):
            row = int(np.argmax(~np.isclose(before, now, rtol=1e-6, equal_nan=True)))
            different.append(f"distance ({before[row]:g} Mpc in row {row}; now {now[row]:g} Mpc)")
    _warn_different(different)


def _warn_different(different):
    if different:
        text = ("the draws will not match the results in this table, which were made with other settings: "
                f"{', '.join(different)}. Omit the options to reproduce the results, or infer the table again")
        warnings.warn(InputWarning(text), stacklevel=6)


def resolve_floor(error_floor: float | str | None, family: ModelFamily | type) -> float | None:
    """Return the given error floor, or that of the model family for `AUTO`.

    Parameters
    ----------
    error_floor : float, None or `AUTO`
    family : ModelFamily

    Returns
    -------
    float or None

    Examples
    --------
    >>> from clusterpost.families import get_family
    >>> from clusterpost.provenance import AUTO, resolve_floor
    >>> family = get_family("stochastic")
    >>> resolve_floor(AUTO, family), resolve_floor(0.05, family)
    (0.12, 0.05)
    """
    return family.error_floor if isinstance(error_floor, str) and error_floor == AUTO else error_floor


def free_column(tbl: Table, prefix: str) -> str:
    """Return a column name for distances given as an argument.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    prefix : str

    Returns
    -------
    str
        ``distance``, or ``distance_used`` if that column exists, with the prefix.
    """
    return f"{prefix}distance" if f"{prefix}distance" not in tbl.colnames else f"{prefix}distance_used"
