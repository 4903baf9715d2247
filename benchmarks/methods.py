"""The ways to a posterior that are compared; each takes rows and gives their quantiles."""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from mocks import LEVELS, quantiles_of

import clusterpost
from clusterpost.bands import WFC3_BANDS
from clusterpost.families.clusters.likelihood import ClusterLikelihood
from clusterpost.families.clusters.table import load_table
from clusterpost.flow.modelfile import load_model
from clusterpost.noise import get_noise
from clusterpost.posterior.target import Target
from clusterpost.priors import cluster_prior
from clusterpost.training.observing import FlatErrors
from clusterpost.training.simulation import cluster_simulator, seeded_generator

_PAPER_BANDWIDTH_DRAWS = 500
_WALKERS = 32
_STEPS, _LENGTHS, _STEADY = 500, 50, 0.01  # between looks; autocorrelation times of a converged chain; their change
_SBI_BATCH = 500


@dataclass
class Method:
    """One way to a posterior.

    Attributes
    ----------
    name : str
    rows : int
        How many at a time.
    truth : str
        The exact posteriors that it is held against, as `mocks.Rows.exact` names them.
    run : callable
        Of an array of rows; gives quantiles (n, 3, 3).
    device : str
    note : str
        What a reader should know; a method may add to it as it goes.
    """

    name: str
    rows: int
    truth: str
    run: Callable
    device: str = "cpu"
    note: str = ""


def infer(rows, n, name="infer_table", truth="lognormal", device="cpu", note="", model="any_bands", **options):
    """`clusterpost.infer_table`, the whole call."""
    def run(at):
        return quantiles_of(clusterpost.infer_table(rows.table(truth, at), model=model, error_floor=None,
                                                    progress=False, device=device, **options))

    return Method(name, n, truth, run, device, note)


def grid(rows, n, device="cpu"):
    """`clusterpost.exact_posterior`, the whole call."""
    def run(at):
        return quantiles_of(clusterpost.exact_posterior(rows.table("lognormal", at), error_floor=None, progress=False,
                                                        device=device))

    return Method("exact_posterior", n, "lognormal", run, device, "dense grid, no network")


def paper(rows, n, n_draws=10_000):
    """Walter et al. (2025): FrEIA's inverse object by object, scikit-learn's mean shift, quantiles of the draws."""
    from sklearn.cluster import MeanShift, estimate_bandwidth

    model = load_model("walter2025", device="cpu")
    flow, generator = model.flow, seeded_generator(0)

    def one(condition):
        z = torch.randn(n_draws, 3, generator=generator)
        x, _ = flow.inn(z, [condition.expand(n_draws, -1)], rev=True)
        theta = flow.box.inverse(x).numpy()
        scaled = theta / theta.std(0)
        bandwidth = estimate_bandwidth(scaled, n_samples=_PAPER_BANDWIDTH_DRAWS, random_state=0)
        MeanShift(bandwidth=bandwidth, bin_seeding=True).fit(scaled)
        return np.quantile(theta, LEVELS, axis=0).T

    def run(at):
        seen = rows.observed("walter2025", at)
        conditions = model.encode(seen).float()
        with torch.no_grad():
            return np.stack([one(condition) for condition in flow.standardize(conditions)])

    return Method("Walter et al. 2025", n, "whole Myr", run, note=f"{n_draws} draws, MeanShift with bin seeding")


def mcmc(rows, n, most_steps=20_000):
    """Emcee on the likelihood of `clusterpost.infer_table`, until its autocorrelation time says that it converged."""
    import emcee

    likelihood, prior = ClusterLikelihood(load_table().select(WFC3_BANDS), get_noise("lognormal")), cluster_prior()
    low, high = prior.low.double().numpy(), prior.high.double().numpy()
    method = Method("emcee", n, "lognormal", None)
    ended = []

    def one(target, seed):
        def log_density(position):
            points = torch.as_tensor(position, dtype=torch.float32)[None]
            return target.log_density(points)[0].double().nan_to_num(nan=-torch.inf, neginf=-torch.inf).numpy()

        rng = np.random.default_rng(seed)
        # A thousand points of the prior tell where to begin, and in which modes.
        points = rng.uniform(low, high, (1000, 3))
        density = log_density(points)
        weight = np.exp(density - density.max())
        start = points[rng.choice(len(points), _WALKERS, p=weight / weight.sum())]
        start = np.clip(start + 0.01 * (high - low) * rng.standard_normal(start.shape), low + 1e-3, high - 1e-3)
        sampler = emcee.EnsembleSampler(_WALKERS, 3, log_density, vectorize=True)
        sampler.random_state = np.random.RandomState(seed).get_state()
        state, time, converged = start, np.inf, False
        while not converged and sampler.iteration < most_steps:
            state = sampler.run_mcmc(state, _STEPS, skip_initial_state_check=True)
            before, time = time, sampler.get_autocorr_time(tol=0).max()
            converged = bool(_LENGTHS * time < sampler.iteration and abs(before - time) < _STEADY * time)
        ended.append((converged, sampler.iteration))
        burn = min(int(3 * time), sampler.iteration // 2) if np.isfinite(time) else 0
        return np.quantile(sampler.get_chain(discard=burn, flat=True), LEVELS, axis=0).T

    def run(at):
        seen = rows.observed("lognormal", at).to(dtype=torch.float32)
        with torch.inference_mode():
            found = np.stack([one(Target(seen[[k]], likelihood, prior), int(i)) for k, i in enumerate(at)])
        good, steps = sum(c for c, _ in ended), np.median([s for _, s in ended])
        method.note = f"{_WALKERS} walkers, {steps:.0f} steps in the median; {good} of {len(ended)} chains converged"
        return found

    method.run = run
    return method


def npe(rows, n, n_mocks, n_epochs, n_draws=2000):
    """NPE of the package sbi with a spline flow, trained here on few mocks; None where it is not installed."""
    try:
        from sbi.inference import NPE
        from sbi.utils import BoxUniform
        from sbi.utils.tracking import TensorBoardTracker
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    prior, simulator = cluster_prior(), cluster_simulator(errors=FlatErrors(0.05, 0.5))
    torch.manual_seed(0)  # sbi takes torch's own generator

    def features(mocks):
        return torch.cat([torch.log10(mocks.flux), torch.log10(mocks.error / mocks.flux),
                          torch.log10(mocks.covariates["distance"])[:, None]], 1).float()

    drawn = simulator.draw(n_mocks, seeded_generator(1))
    with (tempfile.TemporaryDirectory() as logs, SummaryWriter(logs) as writer,
          warnings.catch_warnings(action="ignore", category=UserWarning)):  # it ends before it converged, as it should
        inference = NPE(BoxUniform(prior.low, prior.high), density_estimator="nsf",
                        tracker=TensorBoardTracker(writer), show_progress_bars=False)
        inference.append_simulations(drawn.theta, features(drawn)).train(training_batch_size=_SBI_BATCH,
                                                                         max_num_epochs=n_epochs)
        posterior = inference.build_posterior()

    def run(at):
        seen = features(rows.observed("lognormal", at))
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # nflows calls what torch is to drop
            draws = [posterior.sample((n_draws,), x=x, show_progress_bars=False).numpy() for x in seen]
        return np.stack([np.quantile(theta, LEVELS, axis=0).T for theta in draws])

    return Method("sbi NPE", n, "lognormal", run,
                  note=f"{n_draws} draws; trained for this run alone on {n_mocks} mocks: its error is no verdict")
