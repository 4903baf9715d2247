"""The columns that inference adds: names, units, descriptions and UCDs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

__all__ = ["DISTANCE_COLUMN", "OUTPUT_COLUMNS", "OutputColumn", "output_columns", "quantile_label"]


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


def _parameter(name, unit, what, ucd):
    mean = "of E(B-V)" if name == "ebv" else f"of log10 {name}, as linear {name}"
    return (
        OutputColumn(f"{name}_{{q}}", unit, f"{{percent}} % quantile of the {what}", f"stat.percentile;{ucd}"),
        OutputColumn(f"{name}_mean", unit, f"Posterior mean {mean}", f"{ucd};stat.mean"),
        OutputColumn(f"{name}_map", unit, f"Joint maximum a posteriori: {what}", f"{ucd};stat.max"),
    )


#: Every column that `~clusterpost.infer_table` adds, in order.
OUTPUT_COLUMNS = (
    *_parameter("age", "Myr", "age of the instantaneous burst", "time.age"),
    *_parameter("mass", "solMass", "initial (formed) stellar mass", "phys.mass"),
    *_parameter("ebv", "mag", "color excess E(B-V) of a foreground screen", "phot.color.excess"),
    OutputColumn("chi2_map", "", "Reduced chi-square of the MAP parameters (bands used - 3 degrees of freedom)",
                 "stat.fit.chi2"),
    OutputColumn("n_modes", "", "Number of separate modes found, at most as many as asked for", "meta.number"),
    OutputColumn("age_modes", "Myr", "Ages of the modes, strongest first; NaN beyond", "time.age", "modes"),
    OutputColumn("mass_modes", "solMass", "Initial masses of the modes, strongest first; NaN beyond",
                 "phys.mass", "modes"),
    OutputColumn("ebv_modes", "mag", "E(B-V) of the modes, strongest first; NaN beyond",
                 "phot.color.excess", "modes"),
    OutputColumn("mode_weight", "", "Share of the posterior's mass in the basin of each mode; NaN beyond",
                 "stat.weight", "modes"),
    OutputColumn("stellar_mass_{q}", "solMass",
                 "{percent} % quantile of the present-day stellar mass, remnants included",
                 "stat.percentile;phys.mass"),
    OutputColumn("n_bands", "", "Bands with a measurement that the model can use", "meta.number"),
    OutputColumn("entropy", "",
                 "Differential entropy (nat) of the posterior in (log10 age/Myr, log10 mass/Msun, E(B-V)/mag)",
                 "stat.value"),
    OutputColumn("efficiency", "",
                 "Effective share of the network's draws after weighting, 0-1: how near it was to the exact posterior",
                 "stat.value"),
    OutputColumn("log_evidence", "",
                 "Log evidence ln p(x) of the photometry under the model, its noise and its prior", "stat.likelihood"),
    OutputColumn("support", "",
                 "Posterior predictive p-value: how usual this photometry is for the model, 0-1",
                 "stat.probability"),
    OutputColumn("flag", "", "Sum of flag bits; clusterpost.decode_flags names them", "meta.code"),
)


#: The distance of each row, added where it was given as an argument.
DISTANCE_COLUMN = OutputColumn("distance", "Mpc", "Distance that was given to the inference", "pos.distance")


def quantile_label(quantile: float) -> str:
    """The part of a column's name that stands for a quantile, without loss.

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


def output_columns(quantiles):
    """The output columns for these quantiles, with no pattern left in a name.

    Parameters
    ----------
    quantiles : sequence of float

    Returns
    -------
    list of OutputColumn
    """
    columns = []
    for column in OUTPUT_COLUMNS:
        if "{q}" not in column.name:
            columns.append(column)
            continue
        columns += [
            OutputColumn(column.name.format(q=quantile_label(q)), column.unit,
                         column.description.format(percent=_percent(q)), column.ucd)
            for q in quantiles
        ]
    return columns
