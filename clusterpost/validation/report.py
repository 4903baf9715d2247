"""A model's checks as tables and figures in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import Table

from ..flow.modelfile import load_model
from ..infer import log_prob
from ..training.fit import mean_nll
from ..training.mocks import simulate
from ..training.simulation import Simulator, seeded_generator
from ..utils import whole_file
from .exactness import compare_with_exact, efficiency_by_bands
from .maps import map_shortfall
from .samplers import PosteriorSampler
from .sbc import sbc_ranks

__all__ = ["compare_model", "validate_model"]

_MOCK_STREAM = 7


def validate_model(model, folder, *, n_mocks=100_000, n_draws=100, seed=1, refine=True, progress=None):
    """Simulation-based calibration of a model on mocks of its own simulator.

    Parameters
    ----------
    model : str or path
        Bundled model or model file.
    folder : path
        Made if absent; takes ``sbc.ecsv`` (the table) and ``sbc.png`` (as Fig. 3
        of Walter et al. 2025), or ``sbc_network.ecsv`` and ``.png`` of the network
        alone, and ``training.png``, all replaced if there.
    n_mocks, n_draws : int
        Mocks, and posterior draws for each.
    seed : int
    refine : bool
        Test the refined posteriors, or the network alone.
    progress : bool, optional

    Returns
    -------
    `~astropy.table.Table`
        The summary of `~clusterpost.validation.sbc.SBCResult`; ``meta`` holds sizes, seed, model and
        the mean NLL (nat) of as many other mocks, in the parameters that the network draws.

    Examples
    --------
    >>> import tempfile
    >>> from clusterpost.validation.report import validate_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = validate_model("walter2025", folder, n_mocks=50, n_draws=10, refine=False)
    >>> len(table)
    6
    """
    from ..plotting import plot_sbc, plot_training

    folder = _made(folder)
    model = load_model(model)
    simulator = Simulator.from_dict(model.card["simulator"])
    result = sbc_ranks(PosteriorSampler(model, refine=refine), simulator, n_mocks=n_mocks, n_draws=n_draws,
                       seed=seed, progress=progress)
    table = result.summary()
    held_out = simulator.to(model.device).draw(n_mocks, seeded_generator(seed, _MOCK_STREAM, model.device))
    index = [simulator.prior.names.index(name) for name in model.learned]
    held_out = replace(held_out, theta=held_out.theta[:, index])
    table.meta.update({
        "model": model.name, "sha256": model.card["sha256"], "n_mocks": n_mocks, "n_draws": n_draws, "seed": seed,
        "refine": refine, "mean_nll": mean_nll(model.flow, model.encode, held_out),
    })
    name = "sbc" if refine else "sbc_network"
    _write(table, folder / f"{name}.ecsv")
    for stem, figure in ((name, plot_sbc(result)), ("training", plot_training(model.card["training"]["history"]))):
        with whole_file(folder / f"{stem}.png") as temporary:
            figure.savefig(temporary, dpi=130)
    return table


def compare_model(model, folder, *, n_mocks=500, seed=1, progress=None):
    """Compare a model's refined posteriors with exact ones, and its MAPs with fine grids.

    Parameters
    ----------
    model : str or path
        For any two or more bands.
    folder : path
        Made if absent; takes ``exactness.ecsv``, ``efficiency.ecsv``, ``maps.ecsv``
        and ``nll.ecsv``.
    n_mocks : int
        Of each kind; ten times as many for NLL and efficiencies.
        A fifth of them are given to a classifier.
    seed : int
    progress : bool, optional

    Returns
    -------
    dict of `~astropy.table.Table`
        By file name without suffix.
    """
    folder = _made(folder)
    tables = {
        "exactness": compare_with_exact(n_mocks, model=model, n_classified=n_mocks // 5, seed=seed,
                                        progress=progress),
        "efficiency": efficiency_by_bands(10 * n_mocks, model=model, seed=seed, progress=progress),
        "maps": _maps(model, n_mocks, seed, progress),
        "nll": network_nll(("walter2025", model), 10 * n_mocks, seed),
    }
    for name, table in tables.items():
        _write(table, folder / f"{name}.ecsv")
    return tables


def network_nll(models, n_mocks, seed=1):
    """Mean -ln q of the true parameters for networks alone, on the same mocks.

    Parameters
    ----------
    models : sequence of str or path
        For five WFC3/UVIS bands at least.
    n_mocks, seed : int

    Returns
    -------
    `~astropy.table.Table`
        Nat, of the density in (log10 age/Myr, log10 mass/Msun, E(B-V)/mag).
    """
    mocks = simulate(n_mocks, seed=seed)
    truth = [np.log10(mocks["age_true"].to_value(u.Myr)), np.log10(mocks["mass_true"].to_value(u.solMass)),
             mocks["ebv_true"].to_value(u.mag)]
    density = [log_prob(mocks, np.stack(truth, -1), model=model, refine=False, error_floor=None) for model in models]
    shared = np.isfinite(density).all(axis=0)  # rows that each of them can infer
    return Table(rows=[{"model": load_model(model).name, "n": int(shared.sum()), "nll": float(-values[shared].mean())}
                       for model, values in zip(models, density, strict=True)])


def _maps(model, n_mocks, seed, progress):
    rows = []
    for noise in ("lognormal", "normal"):
        table = map_shortfall(simulate(n_mocks, noise=noise, seed=seed), model=model, noise=noise, error_floor=None,
                              progress=progress)
        rows.append({"noise": noise, "n": len(table), "log_density_p50": np.median(table["log_density"]),
                     "log_density_worst": max(table["log_density"]), "chi2_worst": max(table["chi2"])})
    return Table(rows=rows)


def _made(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(table, path):
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv")
