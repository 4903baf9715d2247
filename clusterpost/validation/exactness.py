"""Comparison of inferred posteriors with the exact ones, object by object."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
import torch
from astropy.table import QTable, Table

from ..bands import ACS_BANDS, WFC3_BANDS
from ..errors import InputError
from ..flow.modelfile import load_model
from ..infer import infer_table, sample_posterior
from ..posterior.summary import quantiles
from ..posterior.target import Target
from ..posterior.trees import can_sample
from ..posterior.weights import log_weights, normalized, systematic_resample
from ..training.mocks import simulate
from ..training.observing import MixedErrors
from ..training.simulation import seeded_generator
from ..utils import progress_bar
from .fits import drawn_parameters, inferred_parameters
from .targets import read_target
from .twosample import classifier_accuracy, jensen_shannon

if TYPE_CHECKING:
    from ..flow.model import Model

__all__ = ["CASES", "check_exact", "compare_with_exact", "dense_draws", "efficiency_by_bands", "survey_mocks"]

LEVELS = (0.16, 0.5, 0.84)
_PARAMETERS = ("age", "mass", "ebv")
_N_POINTS = 1 << 15  # points of the dense reference per stage
_N_STAGES = 3
_NEGLIGIBLE = 1e-6
_N_CLASSIFIED = 1000  # compared draws of each posterior

_mocks = partial(simulate, model="any_bands")  # with exactly known posteriors


def survey_mocks(n: int, seed: int = 0) -> QTable:
    """Simulate mocks like those of a survey of nearby galaxies.

    Ages are log-uniform from 1 Myr to 3 Gyr, masses follow dN/dm ~ m^-2 above 1000
    solar masses, reddening is exponential with a scale of 0.25 mag, distances are 5
    to 25 Mpc, and errors come from a common depth.

    Parameters
    ----------
    n, seed : int

    Returns
    -------
    `~astropy.table.QTable`
    """
    rng = np.random.default_rng(seed)
    params = QTable({
        "age": 10 ** rng.uniform(0, np.log10(3000), n) * u.Myr,
        "mass": np.minimum(1e3 / rng.uniform(0, 1, n), 1e7) * u.solMass,
        "ebv": np.minimum(rng.exponential(0.25, n), 1.45) * u.mag,
    })
    noiseless = _mocks(params, distance=10.0)
    ln_flux = torch.as_tensor(np.stack([np.log(noiseless[band].value) for band in WFC3_BANDS], 1))
    depth = MixedErrors(flat=0.0, level=0.0)
    # From another cluster, so that errors carry no information about this one.
    errors = depth.draw(torch.roll(ln_flux, 1, 0), seeded_generator(seed, 1)).numpy()
    return _mocks(params, distance=rng.uniform(5, 25, n), errors=errors, seed=seed)


def _without(tbl, n_missing, seed):
    """Mask a number of bands in each row."""
    rng = np.random.default_rng(seed)
    for i in range(len(tbl)):
        for band in rng.choice(WFC3_BANDS, n_missing, replace=False):
            tbl[band][i] = np.nan
    return tbl


def _limited(tbl):
    """Replace the bluest band by an upper limit of its flux plus twice its error, with that error as the scale."""
    tbl["F275W"] = tbl["F275W"] + 2 * tbl["F275W_err"]
    tbl["F275W_err"] = -tbl["F275W_err"]
    return tbl


#: Cases: name, mocks from (n, seed), and noise model.
CASES = {
    "prior": (lambda n, seed: _mocks(n, seed=seed), "lognormal"),
    "survey-like": (survey_mocks, "lognormal"),
    "one band missing": (lambda n, seed: _without(_mocks(n, seed=seed), 1, seed), "lognormal"),
    "two bands missing": (lambda n, seed: _without(_mocks(n, seed=seed), 2, seed), "lognormal"),
    "three bands missing": (lambda n, seed: _without(_mocks(n, seed=seed), 3, seed), "lognormal"),
    "ACS": (lambda n, seed: _mocks(n, bands=("F275W", "F336W", *ACS_BANDS), seed=seed), "lognormal"),
    "upper limit": (lambda n, seed: _limited(_mocks(n, seed=seed)), "lognormal"),
    "normal noise": (lambda n, seed: _mocks(n, noise="normal", seed=seed), "normal"),
}


def check_exact(model: Model) -> None:
    """Raise if a model's posteriors cannot be computed exactly for the mocks of ``CASES``.

    Parameters
    ----------
    model : Model

    Raises
    ------
    InputError
        If it has no likelihood with an amplitude and two other parameters, or does not have the bands of the mocks.
    """
    family = model.family
    if not can_sample(family.likelihood, family.prior) or not set(WFC3_BANDS) <= set(family.band_names):
        raise InputError(f"the posteriors of model {model.name} have no exact form to compare with: that needs a "
                         "likelihood with an amplitude and two other parameters, in the five WFC3/UVIS bands; leave "
                         "option:exact out")


class _Box:
    """Uniform density in a box of (log age, E(B-V)) of each object, with the interface of a flow."""

    def __init__(self, low, high):
        self.low, self.high = low[:, None], high[:, None]

    def draw(self, unit):
        """Return points and their log density."""
        theta = self.low + (self.high - self.low) * unit
        return theta, -torch.log(self.high - self.low).sum(-1).expand(theta.shape[:-1])


def dense_draws(target: Target, n_points: int = _N_POINTS) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weighted points that cover a posterior densely, without a network.

    Parameters
    ----------
    target : Target
        Target of one or a few clusters.
    n_points : int

    Returns
    -------
    theta : Tensor (n, n_points, 3)
    weight : Tensor (n, n_points)

    Notes
    -----
    Sobol points are uniform in (log age, E(B-V)) in a box that shrinks twice towards
    the posterior; the mass is drawn from its conditional density.
    """
    prior = target.prior
    mass = target.likelihood.amplitude(prior)
    columns = [0, 2]
    full_low, full_high = prior.low[columns], prior.high[columns]
    low, high = (end.expand(len(target), 2).clone() for end in (full_low, full_high))
    unit = torch.quasirandom.SobolEngine(3, scramble=True, seed=11).draw(n_points).clamp(1e-6, 1 - 1e-6)
    for stage in range(_N_STAGES):
        two, log_q = _Box(low, high).draw(unit[None, :, :2].expand(len(target), -1, -1))
        log_age, ebv = two.unbind(-1)
        log_mass, log_mass_q = mass.at(target.observed, log_age, ebv).draw(unit[None, :, 2].expand(len(target), -1))
        theta = torch.stack([log_age, log_mass, ebv], -1)
        weight = normalized(log_weights(target.log_density(theta), log_q + log_mass_q))
        if stage == _N_STAGES - 1:
            break
        there = (weight > _NEGLIGIBLE * weight.amax(1, keepdim=True))[..., None]
        margin = 2 * (high - low) * n_points**-0.5
        low = torch.maximum(torch.where(there, two, torch.inf).amin(1) - margin, full_low)
        high = torch.minimum(torch.where(there, two, -torch.inf).amax(1) + margin, full_high)
    return theta, weight


def compare_with_exact(n: int = 500, *, model: Any = "any_bands", cases: Any = tuple(CASES), n_classified: int = 100,
                       seed: int = 1, refine: bool | None = True, n_samples: int | None = None,
                       progress: bool | None = None) -> Table:
    """Compare quantiles of inferred and exact posteriors for several kinds of photometry.

    Parameters
    ----------
    n : int
        Number of mocks of each kind.
    model : str or path
        Model; exact posteriors use its own prior and stellar models, and mocks the
        packaged solar metallicity.
    cases : sequence of str
        Keys of ``CASES``.
    n_classified : int
        Number of mocks with an additional comparison of draws.
    seed : int
    refine : bool
    n_samples : int, optional
        As for `~clusterpost.infer_table`.
    progress : bool, optional

    Returns
    -------
    `~astropy.table.Table`
        For each case and each of nine quantiles, the median and the 95 %
        quantile of the absolute difference in units of the exact half-width
        (q84 - q16)/2 and the marginal's Jensen-Shannon divergence
        (`~clusterpost.validation.jensen_shannon`, bit); for each case, the
        accuracy of `~clusterpost.validation.classifier_accuracy` (both medians
        over mocks), efficiencies, and the fraction of flagged rows.  Rows named
        ``control`` are the case ``prior`` with all draws shifted by half a
        half-width, where every measure must fail.

    Raises
    ------
    InputError
        As for `check_exact`.

    Examples
    --------
    >>> from clusterpost.validation import compare_with_exact
    >>> table = compare_with_exact(4, cases=["prior"], n_classified=0, progress=False)
    >>> sorted(set(table["case"].tolist()))
    ['control', 'prior']
    """
    model, rows = load_model(model), []
    check_exact(model)
    with progress_bar(n * len(cases), show=progress, desc="exact", unit="mock") as bar:
        for case in cases:
            make, noise = CASES[case]
            tbl = make(n, seed)
            options = {"model": model, "noise": noise, "refine": refine, "error_floor": None, "progress": False}
            out = infer_table(tbl, seed=seed, n_samples=n_samples, **options)
            exact, differences, of_moved = _exact(tbl, noise, n_classified, options, bar)
            rows += _rows(case, out, _ours(out), exact, differences)
            if case == "prior":
                half = 0.5 * (exact[..., 2:] - exact[..., :1]) / 2
                rows += _rows("control", out, _ours(out) + half, exact, of_moved)
    table = Table(rows=rows)
    table.meta.update({"n": n, "n_classified": n_classified, "seed": seed, "refine": refine})
    return table


def _ours(out):
    """Return quantiles (n, 3, 3) of log age, log mass and E(B-V)."""
    return np.stack([inferred_parameters(out, f"q{round(100 * level)}") for level in LEVELS], -1)


def _exact(tbl, noise, n_classified, options, bar):
    """Return exact quantiles (n, 3, 3), and differences of draws, unchanged and shifted, from exact draws."""
    rows, target = read_target(tbl, model=options["model"], noise=noise, error_floor=None)
    if len(rows) < len(tbl):
        raise InputError(f"only {len(rows)} of {len(tbl)} mocks have a band of the model")
    grid = target.likelihood.quadrature(target.prior)
    by_grid = grid is not None and not target.observed.limit.any()
    quantile = np.empty((len(tbl), 3, 3))
    if by_grid:
        quantile[:] = grid.summarize(target.observed, LEVELS).quantiles[:, :3]
    n_classified = min(n_classified, len(tbl))
    draws = (drawn_parameters(sample_posterior(tbl[:n_classified], n_samples=_N_CLASSIFIED, **options))
             if n_classified else None)
    differences = {"as they are": [], "moved": []}
    likelihood = options["model"].family.likelihood.with_noise(target.noise)
    single = Target(target.observed.to(dtype=torch.float32), likelihood, target.prior)
    for i in range(n_classified if by_grid else len(tbl)):
        theta, weight = dense_draws(single[i : i + 1])
        if not by_grid:
            every = weight[0].expand(theta.shape[-1], -1)
            quantile[i] = quantiles(theta[0].double().T.contiguous(), LEVELS, every).numpy()
        if i < n_classified:
            index = systematic_resample(weight, _N_CLASSIFIED, order=theta[..., 0])[0]
            exact, width = theta[0, index].double().numpy(), (quantile[i, :, 2] - quantile[i, :, 0]) / 2
            for shift, of in zip((0.0, 0.5), differences.values(), strict=True):
                ours = draws[i] + shift * width
                of.append([classifier_accuracy(ours, exact, width), *jensen_shannon(ours, exact)])
        bar.update()
    return quantile, *(np.median(of, axis=0) if of else np.full(4, np.nan) for of in differences.values())


def _rows(case, out, ours, exact, differences):
    half = (exact[..., 2] - exact[..., 0]) / 2
    efficiency = np.quantile(out["efficiency"], [0.01, 0.05, 0.5])
    rows = []
    for i, name in enumerate(_PARAMETERS):
        for j, level in enumerate(LEVELS):
            difference = np.abs(ours[:, i, j] - exact[:, i, j]) / half[:, i]
            rows.append({
                "case": case, "quantile": f"{name}_q{round(100 * level)}", "n": len(out),
                "median": np.nanmedian(difference), "p95": np.nanquantile(difference, 0.95),
                "worst": np.nanmax(difference), "classifier_accuracy": differences[0],
                "jensen_shannon": differences[1 + i],
                "efficiency_p1": efficiency[0], "efficiency_p5": efficiency[1], "efficiency_p50": efficiency[2],
                "flagged": float(np.mean(np.asarray(out["flag"]) & ~2 > 0)),
            })
    return rows


def efficiency_by_bands(n: int = 2000, *, model: Any = "any_bands", seed: int = 1,
                        progress: bool | None = False) -> Table:
    """Measure the efficiency of a network's draws for two to five bands.

    Parameters
    ----------
    n : int
        Number of mocks per number of bands, with relative errors uniform in 0.05-0.5.
    model : str or path
    seed : int
    progress : bool, optional

    Returns
    -------
    `~astropy.table.Table`

    Examples
    --------
    >>> from clusterpost.validation import efficiency_by_bands
    >>> efficiency_by_bands(20)["n_bands"].tolist()
    [5, 4, 3, 2]
    """
    rows = []
    for n_bands in (5, 4, 3, 2):
        tbl = _without(_mocks(n, seed=seed), 5 - n_bands, seed)
        out = infer_table(tbl, model=model, error_floor=None, seed=seed, progress=progress)
        quantile = np.quantile(out["efficiency"], [0.01, 0.05, 0.5])
        rows.append({"n_bands": n_bands, "n": n, "p1": quantile[0], "p5": quantile[1], "p50": quantile[2]})
    return Table(rows=rows)
