"""What priors, upper limits and other noise cost beside the default, and how exact the results are."""

import numpy as np
import torch
from astropy import units as u
from astropy.table import QTable, Table
from machine import timed
from mocks import LEVELS, quantile_error, quantiles_of

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.families import get_family
from clusterpost.priors import Exponential, Normal, PowerLaw, ProductPrior, as_prior

SCALES = {"small": {"n": 6, "repeats": 1, "n_samples": 100, "reference": 1000},
          "full": {"n": 200, "repeats": 3, "n_samples": None,
                 "reference": 20_000}}
_LIMIT = "one upper limit"
_OTHERS = ", clusters of the flat prior"
#: Options of each case, and the milliseconds that it shall take on the machine where the default takes two.
CASES = {
    "default": ({}, 4),
    "mass slope -2": ({"prior": ProductPrior(log_mass=PowerLaw(-2))}, 4),
    "Exponential(0.3) in E(B-V)": ({"prior": ProductPrior(ebv=Exponential(0.3))}, 4),
    "Normal(1.5, 0.5) in log age": ({"prior": ProductPrior(log_age=Normal(1.5, 0.5))}, 4),
    "Normal(4, 0.7) in log mass": ({"prior": ProductPrior(log_mass=Normal(4, 0.7))}, 4),
    _LIMIT: ({}, 6),
    "noise normal": ({"noise": "normal"}, 8),
    f"Normal in log age{_OTHERS}": ({"prior": ProductPrior(log_age=Normal(1.5, 0.5))}, np.nan),
    f"Normal in log mass{_OTHERS}": ({"prior": ProductPrior(log_mass=Normal(4, 0.7))}, np.nan),
}


def prices(scale):
    """Table ``prices``: each case is run right after the default one, ``ratio`` is the median of these pairs'.

    The clusters of each case follow its prior, but for the last ones: there the prior contradicts what is seen of many.

    Errors are of nine quantiles, in half-widths, against `exact_posterior`; where a row has a limit or other noise,
    against 20 times as many draws.
    """
    size, rows = SCALES[scale], []

    def seconds(tbl, options):
        return timed(lambda: clusterpost.infer_table(tbl, model="any_bands", n_samples=size["n_samples"], workers=1,
                                                     progress=False, **options))

    plain = clusterpost.simulate(size["n"], model="any_bands", seed=1)
    seconds(plain[:5], {})
    for name, (options, aim) in CASES.items():
        tbl = _table(name, options, size["n"])
        seconds(tbl[:5], options)
        pairs = [(seconds(plain, {}), seconds(tbl, options)) for _ in range(size["repeats"])]
        found = quantiles_of(pairs[0][1][0])
        if name == _LIMIT or "noise" in options:
            exact = clusterpost.infer_table(tbl, model="any_bands", n_samples=size["reference"], seed=77,
                                            progress=False, **options)
        else:
            exact = clusterpost.exact_posterior(tbl, progress=False, **options)
        error = quantile_error(found, quantiles_of(exact))
        cpu = [case[2] for _, case in pairs]
        rows.append({"case": name, "seconds_per_object": np.median([case[1] for _, case in pairs]) / size["n"],
                     "cpu_seconds_per_object": np.median(cpu) / size["n"], "aim": aim / 1000,
                     "ratio": np.median([case[1] / default[1] for default, case in pairs]),
                     "error_median": np.median(error), "error_p95": np.quantile(error, 0.95),
                     "efficiency": np.median(pairs[0][1][0]["efficiency"])})
    table = Table(rows=rows)
    for name in ("seconds_per_object", "cpu_seconds_per_object", "aim"):
        table[name].unit = "s"
    table.meta.update({"scale": scale, "objects": size["n"], "repetitions": size["repeats"],
                       "quantiles": list(LEVELS)})
    return {"prices": table}


def _table(name, options, n):
    drawn = as_prior(None if name.endswith(_OTHERS) else options.get("prior")).sample(
        n, torch.Generator().manual_seed(1)).double()
    truths = QTable({parameter.column: u.Quantity(parameter.to_column(values), parameter.unit)
                     for parameter, values in zip(get_family("clusters").parameters, drawn.numpy().T, strict=True)})
    tbl = clusterpost.simulate(truths, model="any_bands", seed=1, noise=options.get("noise", "lognormal"))
    if name == _LIMIT:
        random = np.random.default_rng(0)
        for band in WFC3_BANDS:
            tbl[f"{band}_limit"] = np.zeros(n, bool)
        for i in range(n):  # every other one in the bluest band, where there are most
            band = WFC3_BANDS[0] if i % 2 else WFC3_BANDS[random.integers(len(WFC3_BANDS))]
            tbl[f"{band}_limit"][i] = True
            tbl[band][i] *= random.uniform(1, 3)
            tbl[f"{band}_err"][i] = tbl[band][i] / 5
    return tbl
