"""The flags of a row: one registry, from which decoding and documentation follow."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLAGS", "Flag", "decode_flags"]


@dataclass(frozen=True)
class Flag:
    """One bit of the ``flag`` column.

    Attributes
    ----------
    bit : int
        Its value, a power of two.
    name : str
        What `decode_flags` calls it.
    description : str
    """

    bit: int
    name: str
    description: str


NOT_INFERRED = 1
MISSING_BAND = 2
UPPER_LIMIT = 4
NOT_POSITIVE = 8
NO_DISTANCE = 16
DISTANCE_RANGE = 32
ERROR_RANGE = 64
ACS_AS_WFC3 = 128
POOR_FIT = 256
TRAINING_RANGE = 512
OUTSIDE_SUPPORT = 1024
LOW_EFFICIENCY = 2048
MCMC = 4096
TOO_FEW_BANDS = 8192
NUMBER_RANGE = 16384

#: Every flag there is.
FLAGS = (
    Flag(NOT_INFERRED, "not inferred", "The model cannot use this row; its results are NaN and another flag says why."),
    Flag(MISSING_BAND, "missing band",
         "A band of the model has no measurement (masked, NaN or a sentinel), with either camera."),
    Flag(UPPER_LIMIT, "upper limit", "A band holds an upper limit and not a detection."),
    Flag(NOT_POSITIVE, "flux not positive",
         "A measured flux (or its error) is zero or negative; a log-normal noise model has no use for it, and the "
         "band is left out."),
    Flag(NO_DISTANCE, "no distance", "The row has no distance."),
    Flag(DISTANCE_RANGE, "distance outside range",
         "The distance lies outside the range that the model was trained on."),
    Flag(ERROR_RANGE, "error outside range",
         "A relative error (with the floor) lies outside the range that the model was trained on, where its "
         "posteriors are less reliable."),
    Flag(ACS_AS_WFC3, "ACS taken as WFC3",
         "The model knows WFC3/UVIS bands only; an ACS/WFC flux was taken for its WFC3 neighbor."),
    Flag(POOR_FIT, "poor fit",
         "The MAP leaves a reduced chi-square above 10: a cluster of the model would hardly look like this."),
    Flag(TRAINING_RANGE, "outside training range",
         "A flux or error is beyond all but one in 100 000 of those that the model saw in training; "
         "it has no answer here."),
    Flag(OUTSIDE_SUPPORT, "outside support",
         "Hardly any cluster of the model would be measured so (support below 0.001): another kind of object, a wrong "
         "unit, or bands in a wrong order. The best answer is given all the same."),
    Flag(LOW_EFFICIENCY, "low efficiency",
         "Few effective draws remain after every refinement, so that the results are uncertain by themselves."),
    Flag(MCMC, "refined by MCMC",
         "Importance sampling left too few effective draws; the results come from Markov chains."),
    Flag(TOO_FEW_BANDS, "too few bands", "Fewer bands hold a usable measurement than the model needs."),
    Flag(NUMBER_RANGE, "number outside range",
         "A flux, error or distance is too large or too small to be computed with, such as a fill value of 1e20: the "
         "band is left out; without a distance the row is not inferred."),
)


def decode_flags(flag):
    """Name the bits that are set.

    Parameters
    ----------
    flag : int or array-like of int
        One value, or the ``flag`` column.

    Returns
    -------
    list of str, or list of list of str
        For a single value its names; for a column one list per row.

    Examples
    --------
    >>> from clusterpost import decode_flags
    >>> decode_flags(3)
    ['not inferred', 'missing band']
    >>> decode_flags([0, 128])
    [[], ['ACS taken as WFC3']]
    """
    if hasattr(flag, "__len__") and getattr(flag, "shape", (1,)) != ():
        return [decode_flags(value) for value in flag]
    value = int(flag)
    return [f.name for f in FLAGS if value & f.bit]
