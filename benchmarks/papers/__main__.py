"""Validate a model of clusters as ``clusterpost validate`` does, and add what the two papers look at.

    python -m benchmarks.papers any_bands -o FOLDER --exact 500 --controls --catalog LEGUS.tab --distance-source legus

from the root of the repository.  It takes the options of ``clusterpost validate``.
"""

import sys
import time

import astropy.units as u
import numpy as np
from astropy.table import Table

from clusterpost.arguments import make_parser
from clusterpost.cli import CALLS, print_tables, validation_options
from clusterpost.flow.modelfile import load_model
from clusterpost.infer import exact_posterior, infer_table, log_prob, sample_posterior
from clusterpost.training.mocks import simulate
from clusterpost.validation.report import Validation

from .catalog import check_further
from .claims import SEDFLOW_DRAWS, sedflow_claims, walter2025_claims
from .maps import map_shortfall

_TIMED = 200  # mocks


def main(arguments=None):
    """Validate a model and compare it with the papers."""
    args = make_parser(CALLS).parse_args(["validate", *(arguments or sys.argv[1:])])
    options = validation_options(args)
    run = Validation(args.model, args.output, **options)
    add_sections(run, n_exact=args.exact, seed=args.seed, progress=options["progress"])
    run.finish()
    # Claims are sentences, for the page.
    print_tables({name: table for name, table in run.report.tables.items() if not name.endswith("_claims")})


def add_sections(run, *, n_exact=0, seed=1, progress=None):
    """Add the papers' checks and claims to a validation.

    Parameters
    ----------
    run : Validation
        Of a model of fully sampled clusters.
    n_exact : int
        Mocks whose MAPs are compared with fine grids, and a tenth of those for the NLL of networks; zero for none.
    seed : int
    progress : bool, optional
    """
    model, report = run.model, run.report
    if n_exact:
        networks = ("walter2025",) if model.name == "walter2025" else ("walter2025", model)
        report.section("MAPs and networks", "MAPs beside fine grids, and networks alone on the same mocks.")
        report.table("maps", best_points(model, n_exact, seed, progress),
                     "The MAP against the best point of a fine grid; positive: the MAP is worse.")
        report.table("nll", network_nll(networks, 10 * n_exact, seed),
                     "Mean -ln q of true parameters (nat), networks alone, on the same mocks.")
    if run.checks is not None:
        check_further(report, run.checks, model, seed, progress)
    report.section("The papers' claims", (
        "What the papers say of their networks, what is found for this model, and why the two differ. Ours is computed "
        "from the results of this page."))
    found = {"checks": run.checks, "exactness": run.exactness}
    report.table("walter2025_claims", walter2025_claims(model, run.tested, **found), "Walter et al. (2025).")
    timing = time_each(model, min(1 + run.tested["network"].sbc.n_mocks // 20, _TIMED), seed,
                       refine="refined" in run.tested)
    report.table("sedflow_claims", sedflow_claims(model, run.tested, **found, timing=timing),
                 "Hahn & Melchior (2022), SEDflow.")


def time_each(model, n, seed, refine):
    """Measure CPU seconds per mock for the network alone, refined posteriors, the exact grid, and draws."""
    mocks, few = simulate(n, model=model, seed=seed), 1 + n // 20  # draws take longer, and vary less
    common = {"error_floor": None, "workers": 1, "progress": False}
    calls = {"network": lambda tbl: infer_table(tbl, model=model, refine=False, **common),
             "draws": lambda tbl: sample_posterior(tbl, model=model, n_samples=SEDFLOW_DRAWS, refine=False, **common)}
    if refine:
        calls["refined"] = lambda tbl: infer_table(tbl, model=model, **common)
        calls["exact"] = lambda tbl: exact_posterior(tbl, **common)
    seconds = {}
    for name, call in calls.items():
        tbl = mocks[:few] if name == "draws" else mocks
        call(tbl[:1])  # what is done once for each process
        started = time.process_time()
        call(tbl)
        seconds[name] = (time.process_time() - started) / len(tbl)
    return seconds


def network_nll(models, n_mocks, seed=1):
    """Compute the mean -ln q of the true parameters for networks alone, on the same mocks, in nat."""
    mocks = simulate(n_mocks, model="any_bands", seed=seed)
    truth = [np.log10(mocks["age_true"].to_value(u.Myr)), np.log10(mocks["mass_true"].to_value(u.solMass)),
             mocks["ebv_true"].to_value(u.mag)]
    density = [log_prob(mocks, np.stack(truth, -1), model=model, refine=False, error_floor=None) for model in models]
    shared = np.isfinite(density).all(axis=0)  # rows that each of them can infer
    return Table(rows=[{"model": load_model(model).name, "n": int(shared.sum()), "nll": float(-values[shared].mean())}
                       for model, values in zip(models, density, strict=True)])


def best_points(model, n_mocks, seed, progress):
    """Summarize by how much MAPs fall short of fine grids, under two noise models."""
    rows = []
    for noise in ("lognormal", "normal"):
        mocks = simulate(n_mocks, model="any_bands", noise=noise, seed=seed)
        table = map_shortfall(mocks, model=model, noise=noise, error_floor=None, progress=progress)
        rows.append({"noise": noise, "n": len(table), "log_density_p50": np.median(table["log_density"]),
                     "log_density_worst": max(table["log_density"]), "chi2_worst": max(table["chi2"])})
    return Table(rows=rows)


if __name__ == "__main__":
    main()
