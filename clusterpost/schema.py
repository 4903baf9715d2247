"""The columns that inference adds: names, units, descriptions and UCDs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .families.base import ModelFamily

__all__ = ["DISTANCE_COLUMN", "SIMULATED_COLUMNS", "OutputColumn", "output_columns", "quantile_label", "result_columns"]


@dataclass(frozen=True)
class OutputColumn:
    """One output column, or one per quantile where the name holds ``{q}``.

    Attributes
    ----------
    name : str
    unit : str
        In astropy's notation; empty for a pure number.
    description : str
    ucd : str
    shape : str
        ``row`` for one number a row, ``modes`` for one number a mode.
    """

    name: str
    unit: str
    description: str
    ucd: str
    shape: str = "row"


def result_columns(family: ModelFamily) -> tuple[OutputColumn, ...]:
    """Return every column that inference with a model family adds, in order.

    Parameters
    ----------
    family : `~clusterpost.families.ModelFamily`

    Returns
    -------
    tuple of OutputColumn
        ``{q}`` in a name, and ``{percent}`` in a description, stand for a quantile.

    Examples
    --------
    >>> from clusterpost.families import get_family
    >>> from clusterpost.schema import result_columns
    >>> [column.name for column in result_columns(get_family("clusters")())][:4]
    ['age_{q}', 'age_mean', 'age_map', 'mass_{q}']
    """
    tractable = family.likelihood is not None
    columns = [column for parameter in family.parameters for column in _numbers(parameter)]
    if tractable:
        columns.append(OutputColumn(
            "chi2_map", "", "Reduced chi-square of the MAP parameters (bands used minus parameters degrees of freedom)",
            "stat.fit.chi2"))
    columns.append(OutputColumn("n_modes", "", "Number of separate modes found, at most as many as asked for",
                                "meta.number"))
    columns += [OutputColumn(f"{p.column}_modes", p.unit, f"Modes, strongest first, NaN beyond: {p.description}",
                             p.ucd, "modes") for p in family.parameters]
    columns.append(OutputColumn("mode_weight", "", "Share of the posterior's mass in the basin of each mode; NaN "
                                "beyond", "stat.weight", "modes"))
    columns += [column for derived in family.derived for column in _numbers(derived)]
    columns += [OutputColumn("n_bands", "", "Bands with a measurement that the model can use", "meta.number"),
                OutputColumn("entropy", "", "Differential entropy (nat) of the posterior in "
                             f"({', '.join(p.name for p in family.parameters)})", "stat.value"),
                OutputColumn("efficiency", "", "Effective share of the network's draws after weighting, 0-1: "
                             + ("how near it was to the exact posterior" if tractable else
                                "how near the prior is to that of its training"), "stat.value")]
    if tractable:
        columns.append(OutputColumn("log_evidence", "", "Log evidence ln p(x) of the photometry under the model, its "
                                    "noise and its prior", "stat.likelihood"))
    return (*columns,
            OutputColumn("support", "", "Posterior predictive p-value: how usual this photometry is for the model, 0-1",
                         "stat.probability"),
            OutputColumn("flag", "", "Sum of flag bits; clusterpost.decode_flags names them", "meta.code"))


def _numbers(quantity):
    """Quantiles, mean and MAP of a parameter or a derived quantity."""
    name, unit, ucd, what = quantity.column, quantity.unit, quantity.ucd, quantity.description
    how = ", as the power of ten of the mean logarithm" if quantity.log10 else ""
    return (OutputColumn(f"{name}_{{q}}", unit, f"{{percent}} % quantile of the {what}", f"stat.percentile;{ucd}"),
            OutputColumn(f"{name}_mean", unit, f"Posterior mean of the {what}{how}", f"{ucd};stat.mean"),
            OutputColumn(f"{name}_map", unit, f"Joint maximum a posteriori: {what}", f"{ucd};stat.max"))


#: The distance of each row, added where it was given as an argument.
DISTANCE_COLUMN = OutputColumn("distance", "Mpc", "Distance that was given to the inference", "pos.distance")


#: What simulated objects tell besides.
SIMULATED_COLUMNS = (
    OutputColumn("log_evidence", "", "Log evidence ln p(x) of the photometry under the model, its noise and its prior",
                 "stat.likelihood"),
    OutputColumn("n_effective", "", "Effective number of simulated objects that the results rest on", "stat.value"))


def quantile_label(quantile: float) -> str:
    """Return the part of a column's name that stands for a quantile, without loss.

    Parameters
    ----------
    quantile : float
        Between 0 and 1.

    Returns
    -------
    str

    Examples
    --------
    >>> from clusterpost.schema import quantile_label
    >>> quantile_label(0.16), quantile_label(0.025)
    ('q16', 'q2.5')
    """
    return f"q{_percent(quantile)}"


def _percent(quantile):
    percent = (Decimal(repr(float(quantile))) * 100).normalize()
    return format(percent, "f")


def output_columns(quantiles: Sequence[float], family: ModelFamily | None = None) -> list[OutputColumn]:
    """Return the output columns for these quantiles, with no pattern left in a name.

    Parameters
    ----------
    quantiles : sequence of float
    family : `~clusterpost.families.ModelFamily`, optional
        By default that of fully sampled clusters.

    Returns
    -------
    list of OutputColumn
    """
    if family is None:
        from .families import get_family

        family = get_family("clusters")()
    columns = []
    for column in result_columns(family):
        if "{q}" not in column.name:
            columns.append(column)
            continue
        columns += [
            OutputColumn(column.name.format(q=quantile_label(q)), column.unit,
                         column.description.format(percent=_percent(q)), column.ucd)
            for q in quantiles
        ]
    return columns
