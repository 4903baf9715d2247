"""The clusters that are inferred, and what their posteriors really are."""

import numpy as np
import torch
from astropy import units as u

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.families.clusters.exact_grid import ExactGrid
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.families.clusters.table import load_table
from clusterpost.noise import get_noise
from clusterpost.posterior.summary import quantiles
from clusterpost.posterior.target import Target
from clusterpost.prepare import prepare
from clusterpost.priors import cluster_prior
from clusterpost.validation.exactness import dense_draws, survey_mocks

LEVELS = (0.16, 0.5, 0.84)
REFERENCE = (2760, 600)  # cells of the grid that is held to be exact; four times the default's along each axis
_REFERENCE_ROWS = 8  # at once: so fine a grid takes memory


class Rows:
    """Clusters as seen through each noise model, with their exact posteriors.

    Parameters
    ----------
    n : int
    kind : str
        ``prior``, or ``survey-like``: young bright ones with small errors (log-normal noise only).
    seed : int
    reference : tuple of int
        Cells of the finest grid.

    Notes
    -----
    The same random numbers make both tables of mocks from the prior: row i is the same cluster with the same fluxes,
    whose errors are a share of the observed flux in one table and of the true one in the other. Exact posteriors are
    those of the noise model that made the mocks; those named ``whole Myr`` have the photometry constant over each Myr
    besides, as what the replica of Walter et al. (2025) was trained with.
    """

    def __init__(self, n, kind="prior", seed=9, reference=REFERENCE):
        if kind == "prior":
            self.tables = {noise: clusterpost.simulate(n, model="any_bands", noise=noise, seed=seed)
                           for noise in ("lognormal", "walter2025")}
        else:
            self.tables = {"lognormal": survey_mocks(n, seed=seed)}
        self.reference = reference
        self._exact = {}

    def __len__(self):
        return len(self.tables["lognormal"])

    def table(self, noise, at):
        """Photometry of some rows."""
        return self.tables["lognormal" if noise == "lognormal" else "walter2025"][at]

    def observed(self, noise, at):
        """Return the same as tensors."""
        return observed(self.table(noise, at), noise)

    def exact(self, truth, at):
        """Exact quantiles of some rows, (n, 3, 3): of log age, log mass and E(B-V), at `LEVELS`."""
        known = self._exact.setdefault(truth, np.full((len(self), 3, 3), np.nan))
        missing = np.array([i for i in at if np.isnan(known[i]).any()], int)
        if len(missing):
            known[missing] = self._by_grid(missing) if truth == "lognormal" else self._by_points(truth, missing)
        return known[at]

    def _by_grid(self, at):
        grid = ExactGrid(load_table().select(WFC3_BANDS), n_age=self.reference[0], n_ebv=self.reference[1])
        parts = [grid.summarize(self.observed("lognormal", some), LEVELS).quantiles[:, :3].numpy()
                 for some in np.array_split(at, -(-len(at) // _REFERENCE_ROWS))]
        return np.concatenate(parts)

    def _by_points(self, truth, at):
        table = load_table().select(WFC3_BANDS)
        table = _WholeMyr(table) if truth == "whole Myr" else table
        parts = []
        for i in at:
            seen = self.observed("walter2025", [i]).to(dtype=torch.float32)
            likelihood = ClusterLikelihood(table, get_noise("walter2025"))
            theta, weight = dense_draws(Target(seen, likelihood, cluster_prior()))
            parts.append([quantiles(x, LEVELS, weight)[0].tolist() for x in theta.unbind(-1)])
        return np.array(parts)


class _WholeMyr:
    """A band-flux table whose fluxes are those at the nearest whole Myr."""

    def __init__(self, table):
        self._table = table

    def __getattr__(self, name):
        return getattr(self._table, name)

    def ln_flux(self, log_age, ebv):
        """As of the table."""
        return self._table.ln_flux(torch.log10(torch.round(10**log_age)), ebv)


def observed(tbl, noise="lognormal"):
    """Photometry as tensors; no floor is added to the errors."""
    return prepare(tbl, WFC3_BANDS, get_noise(noise), slots=[[i] for i in range(len(WFC3_BANDS))],
                   at_least=len(WFC3_BANDS), columns=None, distance=None, error_floor=None).observed


def quantiles_of(out):
    """Quantiles (n, 3, 3) of an inferred table, as `Rows.exact` gives them."""
    result = []
    for name in ("age", "mass", "ebv"):
        values = np.stack([u.Quantity(out[f"{name}_q{round(100 * level)}"]).value for level in LEVELS], -1)
        result.append(values if name == "ebv" else np.log10(values))
    return np.stack(result, 1)


def quantile_error(found, exact):
    """Absolute differences in units of the exact half-width (q84 - q16) / 2, (n, 9)."""
    half = (exact[..., 2:] - exact[..., :1]) / 2
    return (np.abs(found - exact) / half).reshape(len(found), 9)
