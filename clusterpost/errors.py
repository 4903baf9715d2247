"""The exceptions that bad input stops with, and the warning about a model that nobody has tested.

Each says what is wrong, in which column and row, and what to do about it.
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
# What options are called where their name alone is not enough.
_IN_PYTHON = {"columns": "columns={...}", "prefix": "prefix='...'", "bands": "bands=(...)",
              "overwrite": "overwrite=True", "list": "clusterpost.list_phangs()",
              "coordinates": "coordinates=('alpha', 'delta')",
              "one-file": "infer a single file with clusterpost.scale.infer_file",
              "own-prior": "a ProductPrior or BoxPrior of clusterpost.priors, or a function that takes theta (..., 3) "
                           "and gives a log density (...)"}
_AT_THE_SHELL = {"columns": "--columns BAND=FLUX,ERR ...", "prior": "--prior, or --mass-slope and --ebv-scale",
                 "own-prior": "--mass-slope or --ebv-scale", "list": "clusterpost fetch --list",
                 "refine": "--no-refine", "coordinates": "the names 'ra' and 'dec'",
                 "one-file": "leave --scheduler out"}


def shown(value: Any | None) -> str:
    """Return a value as a message shows it, never longer than a line.

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
    """A message about a row, options and settings, in the words of Python or of the shell."""

    def __init__(self, message="", *, row=None):
        super().__init__(message)
        self.row = None if row is None else int(row)

    def __str__(self):
        return self._in_words(_IN_PYTHON, lambda name: f"{name.replace('-', '_')}=", "", r"clusterpost.conf.\1")

    def at_the_shell(self, elsewhere=()) -> str:
        """Return the message in the words of the command line.

        Parameters
        ----------
        elsewhere : collection of str, optional
            Options of ``clusterpost infer`` that the command has not, with ``_`` for ``-``.

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
        """The message as another is to quote it, which puts its options into words with its own."""
        message = str(self.args[0])
        return message if self.row is None else message.replace("{row}", str(self.row))

    def _in_words(self, special, called, before_value, setting):
        def words(match):
            if match[2]:
                return called(match[1]) + before_value
            return special.get(match[1]) or called(match[1])

        return _SETTING.sub(setting, _OPTION.sub(words, self.unworded))


class InputError(_Worded, ValueError):
    """A table, file or option that cannot be used as it is.

    Parameters
    ----------
    message : str
        ``{row}`` in it stands for the number of the row, ``option:unit`` for
        the option of that name, which is ``unit=`` in Python, ``option:n-samples=5`` for an option with its value,
        and ``setting:cache_dir`` for a setting of ``clusterpost.conf``.
    row : int, optional
        Row of the table that the message is about.

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
        """Return the same error about a row of a larger table.

        Parameters
        ----------
        place : str
            Put before the message.
        offset : int
            Number of rows before those that the error was raised for.

        Returns
        -------
        InputError
            Of the same class.
        """
        return type(self)(f"{place}{self.args[0]}", row=None if self.row is None else self.row + offset)


class ColumnError(InputError):
    """A column is absent, ambiguous, of the wrong kind, or in the way."""


class UnitError(InputError):
    """A column's unit is absent or of the wrong kind."""


class DistanceError(InputError):
    """A distance is absent, impossible, or outside what the model can use."""


class ModelError(InputError):
    """A model file is absent, damaged, or not what this version can run."""


class ArchiveError(_Worded, OSError):
    """An archive, or the cache of its files, does not give what was asked for.

    Its message may name options and settings as that of an `InputError` does.
    """


class InputWarning(_Worded, AstropyUserWarning):
    """Something in a table, file or option that is probably not meant.

    Its message may name options as that of an `InputError` does.
    """


class UncertifiedModelWarning(AstropyUserWarning):
    """A model is loaded whose calibration nobody has measured, or with other weights.

    Once for each file and process.  ``clusterpost validate MODEL -o FOLDER --certify`` measures it.
    """


class PlatformWarning(AstropyUserWarning):
    """A model computes slightly other numbers on this processor or with this torch than where it was written."""
