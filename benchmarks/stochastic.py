"""How near a network of clusters drawn star by star is to exact posteriors, how fast it is, and how large.

    python benchmarks/stochastic.py run/stochastic reference/ -o results/

``reference/`` holds ``setA.npz`` and ``setB.npz``, brute-force posteriors of clusters in five bands.
"""

import argparse
import time
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.table import QTable, Table
from machine import machine, write

import clusterpost
from clusterpost.errors import UncertifiedModelWarning
from clusterpost.families.stochastic import StochasticClusters
from clusterpost.families.stochastic.priors import FlatPrior
from clusterpost.families.stochastic.simulator import LOG_U
from clusterpost.flow.bundled import model_stem
from clusterpost.priors import Exponential, Normal, ProductPrior

BANDS = ("F275W", "F336W", "F438W", "F555W", "F814W")
LEVELS = (0.16, 0.5, 0.84)
COLUMNS = ("age", "mass", "ebv")
_MPC = 10.0
#: Set A has solar clusters without gas and R_V = 3.1. Weights of the network's draws need a wider prior.
SOLAR, NEARLY_SOLAR = (ProductPrior(family="stochastic", metallicity=Normal(0.0, width), rv=Normal(3.1, width),
                                    nebular_covering=Exponential(width)) for width in (0.01, 0.1))
#: Objects, draws, simulated clusters, objects of the flat prior and of the limit of massive clusters, points of the
#: mean light, effective simulated clusters below which an object is left out, and objects for the timing.
SCALES = {"small": {"n": 2, "draws": 500, "simulations": 5000, "flat": 1, "massive": 1, "points": 20_000, "few": 0,
                   "timed": 4},
          "full": {"n": None, "draws": 20_000, "simulations": 100_000, "flat": 80, "massive": 30, "points": 2_000_000,
                   "few": 300, "timed": 200}}


def photometry(reference, n=None):
    """Table of the photometry of a reference file, as it would be at 10 Mpc."""
    tbl = QTable()
    for i, band in enumerate(BANDS):
        flux = reference["flux_mjy_10pc"][:n, i] * (1e-5 / _MPC) ** 2
        tbl[band] = flux * u.mJy
        tbl[f"{band}_err"] = flux * reference["relative_error"][:n, i] * u.mJy
    tbl["distance"] = np.full(len(tbl), _MPC) * u.Mpc
    return tbl


def quantiles(out):
    """Quantiles (n, 3, n_level) of log age, log mass and E(B-V)."""
    values = np.array([[np.asarray(out[f"{name}_q{100 * level:g}"], float) for level in LEVELS] for name in COLUMNS])
    values[:2] = np.log10(values[:2])
    return values.transpose(2, 0, 1)


def errors(found, exact):
    """Differences (n, 3, n_level) of quantiles, in half-widths of the exact posteriors."""
    return np.abs(found - exact) / (np.ptp(exact, axis=2)[..., None] / 2)


def against_brute_force(model, folder, size):
    """Rows of the table for each reference set that is there."""
    priors = {"B": "flat", "A": SOLAR}
    for name, prior in priors.items():
        path = Path(folder) / f"set{name}.npz"
        if not path.is_file():
            continue
        reference = np.load(path)
        mocks = photometry(reference, size["n"])
        for words, n_samples in ((", default draws", None), ("", size["draws"])):
            out = clusterpost.infer_table(mocks, model=model, prior=prior, error_floor=None, n_samples=n_samples,
                                          progress=False)
            error = errors(quantiles(out), reference["quantiles"][:size["n"], :3, 1:4])
            yield _row(f"set {name}, brute force{words}", out, error)
        if name == "A":
            yield from nearly_solar(mocks, model, size)


def nearly_solar(mocks, model, size):
    """Rows of the table for a prior that leaves the network some draws, with and without simulated clusters."""
    options = {"model": model, "prior": NEARLY_SOLAR, "error_floor": None, "progress": False}
    exact = clusterpost.exact_posterior(mocks, n_simulations=size["simulations"], seed=1, **options)
    for words, refine in (("", True), (", network alone", False)):
        out = clusterpost.infer_table(mocks, n_samples=size["draws"], refine=refine, **options)
        yield _compare(f"set A, wider prior{words}", out, quantiles(exact), exact["n_effective"], size)


def against_simulations(params, model, size, seed):
    """Draw mocks, and infer them under the flat prior by the network and by simulated clusters."""
    mocks = clusterpost.simulate(params, model="stochastic", bands=BANDS, errors=0.1, distance=_MPC, seed=seed)
    return mocks, *(infer(mocks, model=model, prior="flat", error_floor=None, progress=False, **options)
                    for infer, options in ((clusterpost.infer_table, {"n_samples": size["draws"]}),
                                           (clusterpost.exact_posterior, {"n_simulations": size["simulations"]})))


def _compare(name, out, found, effective, size):
    """Row of the table for the objects with more than a few effective simulated clusters."""
    effective = np.asarray(effective)
    good = effective > size["few"]
    return {**_row(name, out[good], errors(quantiles(out[good]), found[good])),
            "effective": float(np.median(effective))}


def of_the_prior(model, size):
    """Row of the table for clusters drawn from the flat prior."""
    theta = FlatPrior().sample(size["flat"], torch.Generator().manual_seed(11)).double().numpy()
    params = QTable({parameter.column: u.Quantity(parameter.to_column(values), parameter.unit)
                     for parameter, values in zip(StochasticClusters.parameters, theta.T, strict=True)})
    _, out, exact = against_simulations(params, model, size, seed=11)
    return _compare("flat prior, simulated clusters", out, quantiles(exact), exact["n_effective"], size)


def massive(model, size):
    """Rows of the table for clusters of 1e6 Msun, against simulated clusters and the mean's marginal posterior."""
    n, rng = size["massive"], np.random.default_rng(1)
    params = QTable({"age": 10 ** rng.uniform(0.3, 4.1, n) * u.Myr, "mass": np.full(n, 1e6) * u.solMass,
                     "ebv": rng.uniform(0, 0.6, n) * u.mag, "metallicity": rng.uniform(-0.4, 0.1, n),
                     "rv": np.full(n, 3.1), "nebular_covering": rng.uniform(0, 1, n)})
    mocks, out, exact = against_simulations(params, model, size, seed=1)
    marginal, effective = marginal_posterior(mocks, size["points"])
    for name, found, number in (("simulated clusters", quantiles(exact), exact["n_effective"]),
                                ("mean light", marginal, effective)):
        yield _compare(f"1e6 Msun, {name}", out, found, number, size)


def marginal_posterior(mocks, n_points):
    """Quantiles of clusters whose light is that of the mean, by weights of points of the flat prior; the mass is exact.

    The fluxes are proportional to the mass and log-normal, so that given all else ln mass is normal.
    """
    generator = torch.Generator().manual_seed(0)
    theta = FlatPrior().sample(n_points, generator)
    theta[:, 1] = 0.0
    log_u = torch.empty(n_points).uniform_(*LOG_U, generator=generator)
    ln_flux = torch.log(StochasticClusters(bands=BANDS).simulator.expected(theta, log_u)).double()
    ln_flux -= 2 * np.log(_MPC * 1e5)
    noise, found, effective = torch.randn(n_points, generator=generator).double(), [], []
    for row in mocks:
        flux, error = (torch.tensor([row[f"{band}{suffix}"].to_value("mJy") for band in BANDS])
                       for suffix in ("", "_err"))
        variance = torch.log1p((error / flux) ** 2)
        residual = torch.log(flux) + variance / 2 - ln_flux
        total = (1 / variance).sum()
        ln_mass = (residual / variance).sum(1) / total
        weight = torch.softmax(-0.5 * ((residual - ln_mass[:, None]) ** 2 / variance).sum(1), 0).numpy()
        log_mass = (ln_mass + noise * total.rsqrt()) / np.log(10)
        values = torch.stack([theta[:, 0].double(), log_mass, theta[:, 2].double()], 1).numpy()
        found.append([np.quantile(x, LEVELS, weights=weight, method="inverted_cdf") for x in values.T])
        effective.append(1 / (weight**2).sum())
    return np.array(found), np.array(effective)


def _row(name, out, error):
    median, high = (np.quantile(error, q, axis=(0, 2)) for q in (0.5, 0.95))
    return {"compared with": name, "objects": len(out), "efficiency": float(np.nanmedian(out["efficiency"])),
            **{f"{column}_{kind}": values[i] for kind, values in (("median", median), ("p95", high))
               for i, column in enumerate(COLUMNS)}, "effective": np.nan}


def speed(model, size):
    """CPU milliseconds an object of 1000 draws, on one core, by prior."""
    mocks = clusterpost.simulate(size["timed"], model="stochastic", bands=BANDS, errors=0.1, seed=2)
    found = {}
    for prior in ("training", "survey", "flat"):
        clusterpost.infer_table(mocks[:2], model=model, prior=prior, progress=False)
        start = time.process_time()
        clusterpost.infer_table(mocks, model=model, prior=prior, n_samples=1000, progress=False, workers=1)
        found[f"ms_{prior}"] = 1e3 * (time.process_time() - start) / len(mocks)
    return found


def measure(model, folder, scale="full"):
    """Tables ``accuracy`` and ``cost``."""
    size = SCALES[scale]
    accuracy = Table(rows=[*against_brute_force(model, folder, size), of_the_prior(model, size),
                           *massive(model, size)])
    for name in accuracy.colnames[2:]:
        accuracy[name].info.format = ".3f"
    bytes_ = sum(path.stat().st_size for path in model_stem(model).parent.glob(f"{model_stem(model).name}.*"))
    cost = Table(rows=[{**speed(model, size), "megabytes": bytes_ / 1e6}])
    return {"accuracy": accuracy, "cost": cost}


def main(arguments=None):
    """Print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model file or bundled model")
    parser.add_argument("reference", help="folder of setA.npz and setB.npz")
    parser.add_argument("--scale", choices=list(SCALES), default="full")
    parser.add_argument("-o", "--output", help="folder for the tables")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UncertifiedModelWarning)
    tables = measure(args.model, args.reference, args.scale)
    for name, table in tables.items():
        print(name)
        table.pprint(max_width=-1, max_lines=-1)
    if args.output:
        Path(args.output).mkdir(parents=True, exist_ok=True)
        write({f"stochastic_{name}": table for name, table in tables.items()}, args.output, machine())


if __name__ == "__main__":
    main()
