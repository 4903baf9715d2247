"""Exceptions and warnings about input and models.

Each message states the problem, its column and row, and the remedy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astropy.utils.exceptions import AstropyUserWarning

if TYPE_CHECKING:
    from typing import Any

__all__ = ["ArchiveError", "ColumnError", "DistanceError", "InputError", "InputWarning", "ModelError",
           "PlatformWarning", "UncertifiedModelWarning", "UnitError", "shown"]

_LONGEST = 120
_OPTION = re.compile(r"option:([a-z]+(?:-[a-z]+)*)(=?)")
_SETTING = re.compile(r"setting:([a-z_]+)")
# Wording of options whose name alone is not clear.
_IN_PYTHON = {"columns": "columns={...}", "prefix": "prefix='...'", "bands": "bands=(...)",
              "overwrite": "overwrite=True", "list": "clusterpost.list_phangs()",
              "coordinates": "coordinates=('alpha', 'delta')",
              "one-file": "infer a single file with clusterpost.scale.infer_file",
              "own-prior": "a ProductPrior or BoxPrior of clusterpost.priors, or a function that takes theta (..., 3) "
                           "and returns a log density (...)"}
_AT_THE_SHELL = {"columns": "--columns BAND=FLUX,ERR ...", "prior": "--prior, or --mass-slope and --ebv-scale",
                 "own-prior": "--mass-slope or --ebv-scale", "list": "clusterpost fetch --list",
                 "refine": "--no-refine", "coordinates": "the names 'ra' and 'dec'",
                 "one-file": "omit --scheduler"}


def shown(value: Any | None) -> str:
    """Return a value as text for a message, at most one line long.

    Parameters
    ----------
    value : object

    Returns
    -------
    str

    Examples
    --------
    >>> from clusterpost.errors import shown
    >>> len(shown("x" * 1_000_000)) < 130
    True
    """
    text = repr(value[: _LONGEST + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class _Worded:
    """A message about a row, options, and settings, in terms of Python or of the shell."""

    def __init__(self, message="", *, row=None):
        super().__init__(message)
        self.row = None if row is None else int(row)

    def __str__(self):
        return self._in_words(_IN_PYTHON, lambda name: f"{name.replace('-', '_')}=", "", r"clusterpost.conf.\1")

    def at_the_shell(self, elsewhere=()) -> str:
        """Return the message with options of the command line.

        Parameters
        ----------
        elsewhere : collection of str, optional
            Options of ``clusterpost infer`` that the command lacks, with ``_`` for ``-``.

        Returns
        -------
        str
        """
        special = dict(_AT_THE_SHELL)
        for name in (option.replace("_", "-") for option in elsewhere):
            special[name] = f"{special.get(name, f'--{name}')} of clusterpost infer"
        return self._in_words(special, lambda name: f"--{name}", " ", r"\1 in clusterpost.cfg")

    @property
    def unworded(self) -> str:
        """The message with its option placeholders, for use inside another message."""
        message = str(self.args[0])
        return message if self.row is None else message.replace("{row}", str(self.row))

    def _in_words(self, special, called, before_value, setting):
        def words(match):
            if match[2]:
                return called(match[1]) + before_value
            return special.get(match[1]) or called(match[1])

        return _SETTING.sub(setting, _OPTION.sub(words, self.unworded))


class InputError(_Worded, ValueError):
    """Input table, file, or option that cannot be used.

    Parameters
    ----------
    message : str
        The message. ``{row}`` stands for the row number, ``option:unit`` for
        the option of that name (``unit=`` in Python), ``option:n-samples=5`` for an option with a value,
        and ``setting:cache_dir`` for a setting of ``clusterpost.conf``.
    row : int, optional
        Row of the table with the problem.

    Attributes
    ----------
    row : int or None

    Examples
    --------
    >>> from clusterpost.errors import InputError
    >>> error = InputError("no flux in row {row}", row=3)
    >>> print(error.moved("b.parquet: ", 100))
    b.parquet: no flux in row 103
    >>> error = InputError("the unit is not known; give option:unit")
    >>> print(error)
    the unit is not known; give unit=
    >>> print(error.at_the_shell())
    the unit is not known; give --unit
    >>> print(InputError("option:n-samples=5 is too few").at_the_shell())
    --n-samples 5 is too few
    """

    def moved(self, place: str = "", offset: int = 0) -> InputError:
        """Return the same error with the row number of a larger table.

        Parameters
        ----------
        place : str
            Prefix of the message.
        offset : int
            Number of preceding rows.

        Returns
        -------
        InputError
            Error of the same class.
        """
        return type(self)(f"{place}{self.args[0]}", row=None if self.row is None else self.row + offset)


class ColumnError(InputError):
    """A column is missing, ambiguous, of the wrong type, or in conflict with an output column."""


class UnitError(InputError):
    """The unit of a column is missing or of the wrong type."""


class DistanceError(InputError):
    """A distance is missing, impossible, or outside the range of the model."""


class ModelError(InputError):
    """A model file is missing, damaged, or not supported by this version."""


class ArchiveError(_Worded, OSError):
    """An archive, or the cache of its files, does not provide the requested data.

    The message may contain options and settings, as for `InputError`.
    """


class InputWarning(_Worded, AstropyUserWarning):
    """A table, file, or option contains a probable mistake.

    .. versionadded:: 0.2

    The message may contain options, as for `InputError`.
    """


class UncertifiedModelWarning(AstropyUserWarning):
    """The calibration of a model has not been measured for its present weights.

    Issued once per file and process.  ``clusterpost validate MODEL -o FOLDER --certify`` measures the calibration.
    """


class PlatformWarning(AstropyUserWarning):
    """A model gives slightly different results with this processor or torch version than where it was written.

    .. versionadded:: 0.2
    """
