"""The exceptions that bad input stops with, and the warning about a model that nobody has tested.

Each says what is wrong, in which column and row, and what to do about it.
"""

from __future__ import annotations

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["ArchiveError", "ColumnError", "DistanceError", "InputError", "ModelError", "PlatformWarning",
           "UncertifiedModelWarning", "UnitError"]


class InputError(ValueError):
    """A table, file or option that cannot be used as it is.

    Parameters
    ----------
    message : str
        ``{row}`` in it stands for the number of the row.
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
    """

    def __init__(self, message="", *, row=None):
        super().__init__(message)
        self.row = None if row is None else int(row)

    def __str__(self):
        message = str(self.args[0])
        return message if self.row is None else message.replace("{row}", str(self.row))

    def moved(self, place="", offset=0):
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


class ArchiveError(OSError):
    """An archive, or the cache of its files, does not give what was asked for."""


class UncertifiedModelWarning(AstropyUserWarning):
    """A model is loaded whose calibration nobody has measured, or with other weights.

    Once for each file and process.  ``clusterpost validate MODEL -o FOLDER --certify`` measures it.
    """


class PlatformWarning(AstropyUserWarning):
    """A model computes slightly other numbers on this processor or with this torch than where it was written."""
