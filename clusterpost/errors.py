"""The exceptions that bad input stops with, and the warning about a model that nobody has tested.

Each says what is wrong, in which column and row, and what to do about it.
"""

from __future__ import annotations

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["ArchiveError", "ColumnError", "DistanceError", "InputError", "ModelError", "UncertifiedModelWarning",
           "UnitError"]


class InputError(ValueError):
    """A table, file or option that cannot be used as it is."""


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
