"""Type aliases for user input."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import os

    import pandas
    from astropy.table import Row, Table

    from .densities import Normal, Share, Sloped, Uniform
    from .families.encoders import FluxConditions, RelativeConditions, SetConditions, Walter2025Conditions
    from .families.galaxies.encoder import ColorConditions
    from .families.galaxies.errors import FlooredErrors, PaperErrors
    from .flow.model import Model
    from .training.observing import (
        AllBands,
        AnyBands,
        EmpiricalErrors,
        FlatErrors,
        LevelErrors,
        MixedErrors,
        SurveyBands,
    )

__all__ = ["Coverage", "Density", "Encoder", "ErrorModel", "ModelLike", "PathLike", "TableLike"]

#: Path of a file or folder.
PathLike: TypeAlias = "str | os.PathLike"
#: A table, a row, a data frame, or the path of a file that `~clusterpost.read_catalog` reads.
TableLike: TypeAlias = "Table | Row | pandas.DataFrame | str | os.PathLike"
#: Name of a bundled model, path of a model file, or a loaded model.
ModelLike: TypeAlias = "str | os.PathLike | Model"
#: Density of one parameter.
Density: TypeAlias = "Uniform | Sloped | Normal | Share"
#: Encoder of photometry into the conditions of a network.
Encoder: TypeAlias = "Walter2025Conditions | RelativeConditions | FluxConditions | SetConditions | ColorConditions"
#: Model of the errors of mocks.
ErrorModel: TypeAlias = "FlatErrors | MixedErrors | LevelErrors | EmpiricalErrors | FlooredErrors | PaperErrors"
#: Model of the measured bands of mocks.
Coverage: TypeAlias = "AllBands | AnyBands | SurveyBands"
