"""Measure the model of galaxies: against Markov chains, on mocks, on real galaxies, and in time.

    python benchmarks/galaxies.py -o docs/results/galaxies --chains MCMC_FOLDER --catalog NSA_ROWS.ecsv

regenerates the results of docs/galaxies.rst.  The folder of chains holds ``references.json`` and ``*.npz``; the catalog
is rows of the NASA-Sloan Atlas, with masses of others where known.  Either may be left out.
"""

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import astropy.units as u
import galaxy_figures
import numpy as np
import torch
from astropy.table import Table

import clusterpost
from clusterpost import flags
from clusterpost.catalogs import read_nsa
from clusterpost.families.galaxies.forward import NANOMAGGY_MJY
from clusterpost.flow.modelfile import save_certificate
from clusterpost.training.fit import TEST_STREAM, mean_nll
from clusterpost.training.simulation import Simulator, seeded_generator
from clusterpost.utils import whole_file
from clusterpost.validation.certificate import make_certificate, measured

_BANDS = "ugriz"
_LEVELS = (16, 50, 84)
_SPAN = np.log10(1.5e-2 / 4.5e-5)
#: Names of the chains' quantities, and what makes ours of them.
_OF_CHAINS = {
    "log_mstar_formed": ("log_mstar", lambda x: x),
    "sfh_stick1": ("u1", lambda x: x), "sfh_stick2": ("u2", lambda x: x), "sfh_stick3": ("u3", lambda x: x),
    "log_gamma1": ("g1", lambda x: np.log10(4.5e-5) + _SPAN * x),
    "log_gamma2": ("g2", lambda x: np.log10(4.5e-5) + _SPAN * x),
    "tau_bc": ("tbc", lambda x: 3 * x), "tau_ism": ("tism", lambda x: 3 * x),
    "dust_index": ("ndust", lambda x: 3 * x - 2),
    "stellar_mass": ("log_mstar_surv", lambda x: x), "sfr_1gyr": ("log_sfr_1gyr", lambda x: x),
    "age_mw": ("age_mw", lambda x: x), "metallicity_mw": ("log_z_mw", lambda x: x),
}
_LOGARITHMIC = ("stellar_mass", "sfr_100myr", "sfr_1gyr", "metallicity_mw")
_TIMED = 100  # galaxies


def numbers(column):
    """Plain numbers of a column, NaN where masked."""
    column = getattr(column, "value", column)
    return np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)


def inferred(out, name, label):
    """Read a column of results, of quantities that span decades as log10."""
    values = numbers(out[f"{name}_{label}"])
    return np.log10(values) if name in _LOGARITHMIC else values


def chain_photometry(references):
    """Photometry of the galaxies with Markov chains."""
    objects = [one["obj"] for one in references]
    rows = Table({"object": [f"{one['kind']} {one['id']}" for one in objects]})
    for k, band in enumerate(_BANDS):
        for suffix, key in (("", "f"), ("_err", "s")):
            rows[f"{band}_SDSS{suffix}"] = np.array([one[key][k] for one in objects]) * NANOMAGGY_MJY * u.mJy
    rows["redshift"] = [one["z"] for one in objects]
    return rows


def against_chains(model, folder, n_samples=1000):
    """Differences of quantiles from those of converged Markov chains, in half-widths of the 16-84 % interval.

    Returns
    -------
    differences : Table
        One row for each object, quantity and posterior (refined, network), with a column for each quantile.
    rows : Table
        Photometry and refined results.
    """
    references = json.loads((Path(folder) / "references.json").read_text())
    rows, found = chain_photometry(references), []
    for name, refine in (("network", False), ("refined", True)):
        out = clusterpost.infer_table(rows, model=model, refine=refine, n_samples=n_samples, progress=False)
        for quantity, (key, scaled) in _OF_CHAINS.items():
            theirs = np.array([scaled(np.array(one["quantiles"][key][1:4])) for one in references])
            half = (theirs[:, 2] - theirs[:, 0]) / 2
            ours = np.stack([inferred(out, quantity, f"q{level}") for level in _LEVELS], 1)
            for i, moved in enumerate((ours - theirs) / half[:, None]):
                found.append((rows["object"][i], quantity, name, *moved))
    names = ("object", "quantity", "posterior", *(f"q{level}" for level in _LEVELS))
    return Table(rows=found, names=names), out


def chain_summary(differences, out):
    """Median, 95 % quantile and maximum of the absolute differences, by posterior and quantity."""
    found = []
    for posterior in ("network", "refined"):
        part = differences[differences["posterior"] == posterior]
        for quantity in (*_OF_CHAINS, "all"):
            some = part if quantity == "all" else part[part["quantity"] == quantity]
            moved = np.abs(np.stack([some[f"q{level}"] for level in _LEVELS], 1))
            found.append((posterior, quantity, *np.quantile(moved, [0.5, 0.95, 1.0])))
    table = Table(rows=found, names=("posterior", "quantity", "median", "q95", "largest"))
    table.meta["efficiency"] = [round(float(x), 3) for x in numbers(out["efficiency"])]
    return table


def catalog_rows(path):
    """Rows of the atlas as `read_nsa` gives them; columns of others beside them are kept."""
    tbl = Table.read(path)
    if "nmgy_u" in tbl.colnames:  # one column for each band: as the atlas has them
        bands = ("fuv", "nuv", *_BANDS)
        flux, error = (np.stack([numbers(tbl[f"nmgy_{kind}{band}"]) for band in bands], 1) for kind in ("", "err_"))
        own = Table({"NMGY": flux, "NMGY_IVAR": np.where(error > 0, error, np.inf)**-2.0, "Z": numbers(tbl["z"]),
                     "ZDIST": numbers(tbl["zdist"]), "MASS": numbers(tbl["nsa_mass"])})
        for name in ("nsaid", "gswlc_logmstar", "gswlc_logsfr", "isedfit_logmstar", "clean"):
            own[f"of_{name}"] = tbl[name]
        tbl = own
    return read_nsa(tbl)


def on_catalog(model, path, prior=None):
    """Infer real galaxies, and compare their masses and star formation rates with published ones.

    Returns
    -------
    out : Table
    summary : Table
        Of clean galaxies: median difference and scatter (1.48 MAD), and numbers of flags.
    """
    rows = catalog_rows(path)
    started = time.process_time()
    out = clusterpost.infer_table(rows, model=model, prior=prior, progress=False)
    seconds = (time.process_time() - started) / len(rows)
    clean = np.asarray(out["of_clean"] if "of_clean" in out.colnames else out["clean"], bool)
    mass = inferred(out, "stellar_mass", "q50")
    found = []

    def compared(what, ours, theirs, where):
        moved = (ours - theirs)[where & np.isfinite(theirs) & np.isfinite(ours)]
        middle = np.median(moved)
        found.append((what, len(moved), middle, 1.4826 * np.median(np.abs(moved - middle))))

    if "of_gswlc_logmstar" in out.colnames:
        gswlc, rate = numbers(out["of_gswlc_logmstar"]), numbers(out["of_gswlc_logsfr"])
        good = clean & (numbers(out["chi2_map"]) < 9)
        compared("stellar mass - GSWLC", mass, gswlc, clean)
        compared("stellar mass - GSWLC, chi2 < 9", mass, gswlc, good)
        for low, high in ((8, 9), (9, 10), (10, 11.5)):
            within = clean & (gswlc > low) & (gswlc <= high)
            compared(f"stellar mass - GSWLC, {low} to {high}", mass, gswlc, within)
        compared("formed mass - GSWLC", numbers(out["log_mstar_formed_q50"]), gswlc, clean)
        for low, high in ((8, 9), (9, 10), (10, 11.5)):
            within = clean & (gswlc > low) & (gswlc <= high)
            compared(f"SFR(100 Myr) - GSWLC, {low} to {high}", inferred(out, "sfr_100myr", "q50"), rate, within)
        compared("stellar mass - iSEDfit", mass, numbers(out["of_isedfit_logmstar"]), clean)
    compared("stellar mass - NSA", mass, np.log10(numbers(out["nsa_mass"])), clean)
    table = Table(rows=found, names=("comparison", "n", "median", "scatter"))
    flag, done = np.asarray(out["flag"]), np.asarray(out["flag"]) & flags.NOT_INFERRED == 0
    results = [name for name in out.colnames if name.endswith(("_q16", "_q50", "_q84", "_mean", "_map"))]
    efficiency = np.nanquantile(numbers(out["efficiency"])[clean], [0.05, 0.16, 0.5])
    table.meta = {
        "n": len(out), "n_clean": int(clean.sum()), "inferred": int(done.sum()), "cpu_ms": round(1e3 * seconds, 1),
        "nan_in_inferred": int(sum(np.isnan(numbers(out[name])[done]).sum() for name in results)),
        "half_width_of_mass": float(np.nanmedian(
            (inferred(out, "stellar_mass", "q84") - inferred(out, "stellar_mass", "q16"))[clean] / 2)),
        "efficiency": [round(float(x), 3) for x in efficiency],
        "flags": {one.name: int(((flag[clean] & one.bit) != 0).sum()) for one in flags.FLAGS},
    }
    return out, table


def speed(model, n=_TIMED):
    """CPU time of one thread for a galaxy: a table's row by the network alone and refined, and draws of the network."""
    torch.set_num_threads(1)
    mocks = clusterpost.simulate(n, model="galaxies", seed=11)
    conditions = model.encode(Simulator.of(model).draw(n, seeded_generator(0, TEST_STREAM)))
    found = []

    def flow(some, n_samples):
        with torch.inference_mode():
            model.flow.draw(torch.rand(len(some), n_samples, len(model.learned)), conditions[:len(some)])

    for n_samples in (1000, 10_000):
        some = mocks[: n * 1000 // n_samples]
        options = {"model": model, "n_samples": n_samples, "progress": False}
        calls = {
            "the flow alone, without the mass and what follows": partial(flow, n_samples=n_samples),
            "draws of the network": partial(clusterpost.sample_posterior, refine=False, **options),
            "row of a table, network alone": partial(clusterpost.infer_table, refine=False, **options),
            "row of a table, refined": partial(clusterpost.infer_table, **options),
        }
        for name, call in calls.items():
            call(some[:1])
            best = np.inf
            for _ in range(3):
                started = time.process_time()
                call(some)
                best = min(best, (time.process_time() - started) / len(some))
            found.append((name, n_samples, len(some), 1e3 * best))
    return Table(rows=found, names=("what", "draws", "galaxies", "ms"))


def claims(model, tested, chains=None, catalog=None, timing=None):
    """Set the claims of Hahn & Melchior (2022) beside what is found here."""
    def taken(name, n_samples):
        if timing is None:
            return "not computed"
        (ms,) = timing["ms"][(timing["what"] == name) & (timing["draws"] == n_samples)]
        return f"{ms:.3g} ms of one core"

    def ranks(marginals):
        return "; ".join(
            f"{name}: {sum(one.marginals.passes().values())} of {len(one.marginals.names)} inside the simultaneous "
            f"99 % band, at most {100 * np.abs(one.marginals.ecdf_difference()[1]).max():.2f} % off "
            f"({one.marginals.n_mocks:,} mocks)" for name, one in tested.items()) or "not computed"

    record = model.card["training"]
    agreement = "not computed"
    if chains is not None:
        rows = {row["posterior"]: row for row in chains[chains["quantity"] == "all"]}
        agreement = "; ".join(f"{name}: quantiles of {len(chains.meta['efficiency'])} galaxies move by "
                              f"{row['median']:.3f} half-widths in the median, {row['q95']:.2f} at 95 %"
                              for name, row in rows.items())
    lost = "not computed"
    if catalog is not None:
        meta = catalog.meta
        lost = (f"{meta['n'] - meta['inferred']} of {meta['n']:,} not inferred; of {meta['n_clean']:,} clean ones "
                f"{meta['flags']['outside support']} flagged 'outside support', "
                f"{meta['flags']['poor fit']} 'poor fit'")
    rows = [
        ("mocks to train on", "3.2", "1,131,561", f"{record['mocks_seen']:,}",
         "Every mock is new; a polynomial and formulas stand for the emulator."),
        ("time to train", "3.3", "about a day, one CPU core", f"{record['hours']:.1f} h ({record['hardware']}, shared)",
         "The mass follows in closed form and is not learned."),
        ("posterior of a galaxy against MCMC", "5, Fig. 2", "excellent agreement (by eye, one galaxy)", agreement,
         "Numbers. Refined by importance weights."),
        ("p-p plot and ranks", "5, Figs. 3 and 4", "close to the diagonal, nearly uniform (by eye, 1000 mocks)",
         ranks(tested), "More mocks, and a band."),
        ("galaxies without a posterior", "6.1, App. A", "591 of 33,883 (1.7 %)", lost,
         "No draw can lie outside the prior. The model here has no burst, so that more galaxies are fitted badly; "
         "these are flagged and kept."),
        ("time for 10,000 draws of a galaxy", "5", "1 s", taken("draws of the network", 10_000),
         "The network alone in either."),
        ("time for a galaxy, refined, 10,000 draws", "-", "-", taken("row of a table, refined", 10_000),
         "With quantiles, MAP and modes."),
        ("time for a galaxy, refined, 1000 draws", "-", "-", taken("row of a table, refined", 1000), "The default."),
        ("faster than MCMC by", "5", "more than 1e4 (10 CPU hours; 10 CPU minutes with an emulator)",
         "see the times", "An ensemble sampler with the same forward model takes about a minute."),
    ]
    return Table(rows=[dict(zip(("claim", "section", "paper", "ours", "why"), row, strict=True)) for row in rows])


def write(table, path):
    """Write a table whole."""
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def as_text(table, path):
    """Write a table to be read."""
    for name in table.colnames:
        if table[name].dtype.kind == "f":
            table[name].info.format = ".3f" if name != "ms" else ".1f"
    lines = table.pformat(max_lines=-1, max_width=-1)
    for name, value in table.meta.items():
        if isinstance(value, dict):  # of numbers, of which those that are not zero are worth a word
            value = ", ".join(f"{key} {number}" for key, number in value.items() if number)
        lines.append(f"{name}: {value}")
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n")


def architectures(models, n_test=20_000, n_mocks=40, n_draws=500):
    """Compare networks on the same mocks.

    Parameters
    ----------
    models : list of Model
    n_test, n_mocks, n_draws : int
        Mocks of the NLL; mocks, and draws of each, that the effective share is of.

    Returns
    -------
    Table
        One row for each network.
    """
    simulator, rows = Simulator.of(models[0]), []
    test = simulator.draw(n_test, seeded_generator(0, TEST_STREAM))
    mocks = clusterpost.simulate(n_mocks, model=models[0], seed=5)
    for model in models:
        at = [simulator.prior.names.index(name) for name in model.learned]
        nll = mean_nll(model.flow, model.encode, replace(test, theta=test.theta[:, at]), chunk=4096)
        out = clusterpost.infer_table(mocks, model=model, n_samples=n_draws, progress=False)
        start = time.process_time()
        clusterpost.sample_posterior(mocks[:2], model=model, n_samples=10_000, refine=False, progress=False)
        seconds = (time.process_time() - start) / 2
        training = model.card["training"]
        low, middle = np.nanquantile(numbers(out["efficiency"]), [0.05, 0.5])
        rows.append({"network": model.name, "weights": model.flow.spec.count_weights(),
                     "mocks": training["mocks_seen"] / 1e6, "nll": nll, "efficiency_p5": low,
                     "efficiency_median": middle, "draws": seconds})
    table = Table(rows)
    table["nll"].unit, table["draws"].unit = "nat", "s"
    for name in table.colnames[2:]:
        table[name].info.format = ".3f"
    return table


def main(arguments=None):
    """Compute what is asked for and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="galaxies")
    parser.add_argument("--chains", type=Path, help="folder of Markov chains")
    parser.add_argument("--catalog", type=Path, help="rows of the NASA-Sloan Atlas")
    parser.add_argument("--mocks", type=int, default=100_000, help="of the calibration, network alone; 0 for none")
    parser.add_argument("--refined", type=int, help="of the calibration, refined")
    parser.add_argument("--parts", type=Path, help="folder that keeps the calibration's draws between calls")
    parser.add_argument("--certify", action="store_true", help="put the calibration into the model's card")
    parser.add_argument("--other", nargs="+", default=[], help="model files to compare the network with")
    parser.add_argument("--speed", action="store_true", help="measure times, on an idle machine")
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    model = clusterpost.load_model(args.model)
    tested, chains, catalog, timing = {}, None, None, None
    if args.chains is not None:
        tables = [against_chains(model, args.chains)]
        differences, out = tables[0]
        chains = chain_summary(differences, out)
        write(differences, args.output / "chains.ecsv")
        write(chains, args.output / "chains_summary.ecsv")
        galaxy_figures.with_chain(model, args.chains, out, args.output / "corner.png")
    if args.catalog is not None:
        out, catalog = on_catalog(model, args.catalog)
        write(catalog, args.output / "catalog_summary.ecsv")
        galaxy_figures.support(out, args.output / "support.png")
        galaxy_figures.against_published(out, args.output / "published.png")
    if args.speed:
        timing = speed(model)
        write(timing, args.output / "speed.ecsv")
    if args.other:
        compared = architectures([model, *map(clusterpost.load_model, args.other)])
        write(compared, args.output / "architectures.ecsv")
        as_text(compared, args.output / "architectures.txt")
    if args.mocks:
        tested = measured(model, args.mocks, n_refined=args.refined, parts=args.parts, progress=False)
        certificate = make_certificate(model, tested, seed=1)
        for name, one in tested.items():
            write(one.tests.summary(), args.output / f"sbc_{name}.ecsv")
            galaxy_figures.calibration(one, args.output, name)
        if args.certify:
            save_certificate(args.model, certificate)
    write(claims(model, tested, chains, catalog, timing), args.output / "sedflow_claims.ecsv")
    for name, table in (("chains_summary", chains), ("catalog_summary", catalog), ("speed", timing)):
        if table is not None:
            as_text(table, args.output / f"{name}.txt")


if __name__ == "__main__":
    main()
