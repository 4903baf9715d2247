"""Output columns of the inference: names, units, descriptions, and UCDs."""

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
    """One output column, or one per quantile if the name contains ``{q}``.

    Attributes
    ----------
    name : str
    unit : str
        Unit in astropy's notation; empty if dimensionless.
    description : str
    ucd : str
    shape : str
        ``row`` for one number per row, ``modes`` for one number per mode.
    """

    name: str
    unit: str
    description: str
    ucd: str
    shape: str = "row"


def result_columns(family: ModelFamily) -> tuple[OutputColumn, ...]:
    """Return all columns added by inference with a model family, in order.

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
    columns.append(OutputColumn("n_modes", "", "Number of separate modes found, up to the requested maximum",
                                "meta.number"))
    columns += [OutputColumn(f"{p.column}_modes", p.unit, f"Modes, strongest first, padded with NaN: {p.description}",
                             p.ucd, "modes") for p in family.parameters]
    columns.append(OutputColumn("mode_weight", "", "Fraction of the posterior probability in the basin of each mode; "
                                "padded with NaN", "stat.weight", "modes"))
    columns += [column for derived in family.derived for column in _numbers(derived)]
    columns += [OutputColumn("n_bands", "", "Number of bands with a measurement that the model can use", "meta.number"),
                OutputColumn("entropy", "", "Differential entropy (nat) of the posterior in "
                             f"({', '.join(p.name for p in family.parameters)})", "stat.value"),
                OutputColumn("efficiency", "", "Effective fraction of the network's draws after weighting, 0-1: "
                             + ("similarity of the network and the exact posterior" if tractable else
                                "similarity of the prior and the training density"), "stat.value")]
    if tractable:
        columns.append(OutputColumn("log_evidence", "", "Log evidence ln p(x) of the photometry under the model, its "
                                    "noise and its prior", "stat.likelihood"))
    return (*columns,
            OutputColumn("support", "", "Posterior predictive p-value of this photometry under the model, 0-1",
                         "stat.probability"),
            OutputColumn("flag", "", "Sum of flag bits; clusterpost.decode_flags names them", "meta.code"))


def _numbers(quantity):
    """Return the columns for quantiles, mean, and MAP of a parameter or derived quantity."""
    name, unit, ucd, what = quantity.column, quantity.unit, quantity.ucd, quantity.description
    first, last = ucd or "stat.value", f";{ucd}" if ucd else ""  # the mean and the maximum qualify another word
    how = " (ten to the power of the mean logarithm)" if quantity.log10 else ""
    return (OutputColumn(f"{name}_{{q}}", unit, f"{{percent}} % quantile of the {what}", f"stat.percentile{last}"),
            OutputColumn(f"{name}_mean", unit, f"Posterior mean of the {what}{how}", f"{first};stat.mean"),
            OutputColumn(f"{name}_map", unit, f"Joint maximum a posteriori: {what}", f"{first};stat.max"))


#: The distance of each row, added if it was given as an argument.
DISTANCE_COLUMN = OutputColumn("distance", "Mpc", "Distance used in the inference", "pos.distance")


#: Additional columns of posteriors from simulated objects.
SIMULATED_COLUMNS = (
    OutputColumn("log_evidence", "", "Log evidence ln p(x) of the photometry under the model, its noise and its prior",
                 "stat.likelihood"),
    OutputColumn("n_effective", "", "Effective number of simulated objects", "stat.value"))


def quantile_label(quantile: float) -> str:
    """Return the part of a column name that denotes a quantile, without loss of digits.

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
    """Return the output columns for these quantiles, with all name patterns filled in.

    Parameters
    ----------
    quantiles : sequence of float
    family : `~clusterpost.families.ModelFamily`, optional
        The family; by default fully sampled clusters.

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
