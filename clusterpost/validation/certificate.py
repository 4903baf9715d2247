"""Certificates: how well a model's posteriors are calibrated, measured on mocks and kept in its card."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from .. import __version__
from ..flow.metadata import certificate_of
from ..flow.modelfile import load_model
from ..training.simulation import Simulator
from .coverage import coverage_ranks, tarp_ranks
from .parts import draw_in_parts
from .regions import by_region, entropy_check
from .samplers import PosteriorSampler
from .sbc import SBCResult, rank_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..flow.model import Model
    from ..typing import ModelLike, PathLike
    from .ensemble import Ensemble

__all__ = ["REGIONS", "Calibration", "calibration", "certificate_table", "certify", "describe_model", "disagreements",
           "make_certificate", "measured", "posterior_ensemble"]

#: What mocks are divided by to look for local faults, besides the first two parameters: known from the data alone.
REGIONS = ("snr", "n_bands", "band_set")
_VERIFIED_LEVEL = 0.999  # of each test, when a certificate is looked at again


@dataclass
class Calibration:
    """All tests of one ensemble of posteriors that are uniform, or zero, where these are right.

    Attributes
    ----------
    sbc : SBCResult
        The family's statistics, T1 to T6 of Walter et al. (2025) for clusters.
    marginals : SBCResult
        The parameters themselves, for the p-p plot.
    coverage : SBCResult
        ``HPD`` (expected coverage of highest-density regions) and ``TARP``.
    regions : dict of Table
        `~clusterpost.validation.regions.by_region` for each of `REGIONS` that differs among the mocks.
    entropy : dict
        `~clusterpost.validation.regions.entropy_check`.
    """

    sbc: SBCResult
    marginals: SBCResult
    coverage: SBCResult
    regions: dict
    entropy: dict

    @property
    def tests(self) -> SBCResult:
        """T1 to T6, HPD and TARP together."""
        return SBCResult(np.concatenate([self.sbc.ranks, self.coverage.ranks], axis=1),
                         self.sbc.names + self.coverage.names, self.sbc.n_draws)

    def record(self, level: float = 0.99) -> dict:
        """Return the numbers, for a certificate.

        Parameters
        ----------
        level : float
            Of the simultaneous bands.

        Returns
        -------
        dict
            ``n_mocks``, ``max_difference`` and ``inside_band`` of T1 to T6 together, ``tests`` one by one, the worst
            of the ``regions`` and the ``entropy`` check.
        """
        tests, band = self.tests, max(self.tests.simultaneous_band(level)[1])
        rows = {str(row["statistic"]): {"max_difference": float(row["max_difference"]), "band": float(band),
                                        "inside_band": bool(row["inside_band"]),
                                        "outside_pointwise": float(row["outside_pointwise"]),
                                        "p_value": float(row["p_value"])} for row in tests.summary(level)}
        six = [rows[name] for name in self.sbc.names]
        return {
            "n_mocks": tests.n_mocks,
            "max_difference": max(row["max_difference"] for row in six),
            "inside_band": all(row["inside_band"] for row in six),
            "tests": rows,
            "regions": {by: _worst_region(table) for by, table in self.regions.items()},
            "entropy": {name: _number(value) for name, value in self.entropy.items()},
        }


def _worst_region(table):
    worst = table[int(np.argmax(table["of_band"]))]
    return {"n_tests": len(table), "n_outside": int(np.sum(~np.asarray(table["inside_band"], bool))),
            "worst": {name: _number(worst[name]) for name in table.colnames}}


def _number(value):
    """As JSON has it: no NaN, no scalars of numpy."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def calibration(ensemble: Ensemble, seed: int = 0, regions: Sequence[str] | None = None) -> Calibration:
    """Put an ensemble to every test of calibration.

    Parameters
    ----------
    ensemble : Ensemble
        With densities.
    seed : int
        Of how ties fall, and of the reference points of TARP.
    regions : sequence of str, optional
        What to divide the mocks by, as for `~clusterpost.validation.by_region`; by default the first two parameters
        and `REGIONS`.  What is the same for all of them is left out.

    Returns
    -------
    Calibration

    Examples
    --------
    >>> from clusterpost.validation.certificate import calibration, posterior_ensemble
    >>> tested = calibration(posterior_ensemble("walter2025", n_mocks=100, n_draws=20, refine=False))
    >>> tested.tests.names
    ('T1', 'T2', 'T3', 'T4', 'T5', 'T6', 'HPD', 'TARP')
    """
    coverage = [coverage_ranks(ensemble, seed=seed), tarp_ranks(ensemble, seed=seed)]
    coverage = SBCResult(np.concatenate([one.ranks for one in coverage], axis=1), ("HPD", "TARP"), ensemble.n_draws)
    if regions is None:
        known = [by for by in REGIONS if by in ensemble.about.colnames]
        regions = (*(parameter.column for parameter in ensemble.parameters[:2]), *known)
    divided = [by for by in regions if by not in ensemble.about.colnames or len(np.unique(ensemble.about[by])) > 1]
    marginals = rank_statistics(ensemble, ensemble.marginals, seed=seed)
    return Calibration(rank_statistics(ensemble, seed=seed), marginals, coverage,
                       {by: by_region(ensemble, by, seed=seed) for by in divided}, entropy_check(ensemble))


def posterior_ensemble(model: ModelLike, n_mocks: int = 100_000, n_draws: int = 100, seed: int = 1, *,
                       refine: bool = True, parts: PathLike | None = None, progress: bool | None = None) -> Ensemble:
    """Draw mocks of a model's own simulator, with draws from the model's posteriors.

    Parameters
    ----------
    model : str, path or Model
    n_mocks, n_draws, seed : int
    refine : bool
        Refined posteriors, or those of the network alone.
    parts : path, optional
        Folder that keeps what is drawn (`clusterpost.validation.parts`).
    progress : bool, optional

    Returns
    -------
    Ensemble
    """
    model = load_model(model)
    return draw_in_parts(PosteriorSampler(model, refine=refine), Simulator.of(model), n_mocks,
                         n_draws, seed, folder=parts, progress=progress)


def measured(model: Model, n_mocks: int = 100_000, n_draws: int = 100, seed: int = 1, *, n_refined: int | None = None,
             regions: tuple | None = None, parts: Path | None = None, progress: bool | None = None) -> dict:
    """Draw from a model's posteriors, and test them.

    Parameters
    ----------
    model, n_mocks, n_draws, seed, n_refined, parts, progress
        As for `certify`.
    regions
        As for `calibration`.

    Returns
    -------
    dict of Calibration
        By ``network`` and, unless ``n_refined`` is zero, ``refined``.
    """
    refined = n_mocks if n_refined is None else n_refined
    tractable = load_model(model).family.likelihood is not None  # or there is nothing to refine with
    sizes = {"network": n_mocks, "refined": refined if tractable else 0}
    return {name: calibration(posterior_ensemble(model, size, n_draws, seed, refine=name == "refined", parts=parts,
                                                 progress=progress), seed, regions)
            for name, size in sizes.items() if size}


def certify(model: Any, n_mocks: int = 100_000, n_draws: int = 100, seed: int = 1, *, n_refined: int | None = None,
            parts: Any = None, level: float = 0.99, progress: bool | None = None) -> dict:
    """Measure a model's calibration.

    Parameters
    ----------
    model : str, path or Model
    n_mocks, n_draws, seed : int
        Mocks of the model's own simulator, and draws from the posterior of each.
    n_refined : int, optional
        Mocks for the refined posteriors, which `~clusterpost.infer_table` gives, besides those of the network alone;
        0 for none, by default as many, and always none where the family has no likelihood.  They take a millisecond
        or two each, or many times more where the network is far off.
    parts : path, optional
        Folder for what is drawn, so that a second call goes on where one was interrupted.
    level : float
        Of the simultaneous bands.
    progress : bool, optional

    Returns
    -------
    dict
        For `~clusterpost.flow.modelfile.save_certificate`; `certificate_table` makes it readable.

    Examples
    --------
    >>> from clusterpost.validation.certificate import certify
    >>> certificate = certify("walter2025", n_mocks=60, n_draws=20, n_refined=0)
    >>> certificate["n_mocks"], list(certificate["posteriors"])
    (60, ['network'])
    """
    model = load_model(model)
    tested = measured(model, n_mocks, n_draws, seed, n_refined=n_refined, parts=parts, progress=progress)
    return make_certificate(model, tested, seed, level)


def make_certificate(model: Model, tested: dict, seed: int, level: float = 0.99) -> dict:
    """Make the certificate of calibrations that were measured.

    Parameters
    ----------
    model : Model
    tested : dict of Calibration
        By ``network`` and ``refined``.
    seed : int
        Of the mocks.
    level : float
        Of the simultaneous bands.

    Returns
    -------
    dict
        Plain values.
    """
    first = next(iter(tested.values())).sbc
    return {
        "sha256": model.metadata.sha256,
        "n_mocks": first.n_mocks,
        "n_draws": first.n_draws,
        "seed": int(seed),
        "level": level,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"clusterpost": __version__, "torch": version("torch"), "numpy": version("numpy")},
        "posteriors": {name: one.record(level) for name, one in tested.items()},
    }


def certificate_table(certificate: dict) -> Table:
    """Return the tests of a certificate, one a row.

    Parameters
    ----------
    certificate : dict

    Returns
    -------
    `~astropy.table.Table`
        ``posterior`` (network or refined), ``test``, number of mocks ``n``, ``max_difference`` of the rank ECDF from
        uniform, the ``band`` that holds all of it with the certificate's level if the posteriors are right (its
        largest half-width; regions differ), and whether it does (of regions: whether all do).  Sizes, seed, date and
        versions in ``meta``.

    Examples
    --------
    >>> from clusterpost.validation.certificate import certificate_table, certify
    >>> certificate_table(certify("walter2025", n_mocks=60, n_draws=20, n_refined=0))["test"][:2].tolist()
    ['T1', 'T2']
    """
    rows = []
    for posterior, record in certificate["posteriors"].items():
        for test, row in record["tests"].items():
            rows.append({"posterior": posterior, "test": test, "n": record["n_mocks"],
                         **{name: row[name] for name in ("max_difference", "band", "inside_band")}})
        for by, region in record["regions"].items():
            rows.append({"posterior": posterior, "test": f"worst region by {by}", "n": region["worst"]["n"],
                         "max_difference": region["worst"]["max_difference"], "band": np.nan,
                         "inside_band": not region["n_outside"]})
    table = Table(rows=rows)
    for name in ("max_difference", "band"):
        table[name].info.format = ".4f"
    table.meta = {name: value for name, value in certificate.items() if name != "posteriors"}
    return table


def disagreements(certificate: dict, tested: dict) -> list[str]:
    """List where a smaller test contradicts a certificate.

    Parameters
    ----------
    certificate : dict
    tested : dict of Calibration
        Of other mocks, by ``network`` and ``refined``.

    Returns
    -------
    list of str
        What is worse than certified by more than chance explains: a maximal difference above the certified one plus
        the band of the smaller test (99.9 %), or an entropy check off by more than four standard errors.
        Empty where the certificate holds.
    """
    found = []
    for posterior, fresh in tested.items():
        certified, tests = certificate["posteriors"][posterior], fresh.tests
        band = max(tests.simultaneous_band(_VERIFIED_LEVEL)[1])
        for name, curve in zip(tests.names, tests.ecdf_difference()[1], strict=True):
            allowed = certified["tests"][name]["max_difference"] + band
            if np.abs(curve).max() > allowed:
                found.append(f"{posterior} {name}: {np.abs(curve).max():.4f} is above {allowed:.4f}")
        found += [f"{posterior} entropy: {text}" for text in _entropy_disagrees(certified["entropy"], fresh.entropy)]
    return found


def _entropy_disagrees(certified, fresh):
    if certified["difference"] is None:  # some truth lay where the posterior has nothing
        return
    difference = abs(fresh["difference"] - certified["difference"])
    allowed = 4 * np.hypot(fresh["standard_error"], certified["standard_error"])
    if not difference <= allowed:
        yield f"off by {difference:.4f} nat, allowed {allowed:.4f}"


def describe_model(model: Model) -> str:
    """Return what a model takes, how it was trained and how well it is calibrated, as text.

    Parameters
    ----------
    model : Model

    Returns
    -------
    str

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation.certificate import describe_model
    >>> print(describe_model(clusterpost.load_model("walter2025")).splitlines()[0])
    model         walter2025
    """
    card, metadata, training = model.card, model.metadata, model.metadata.training
    facts = {
        "model": model.name,
        "sha256": metadata.sha256,
        "bands": " ".join(model.bands),
        "noise": metadata.simulator.noise,
        "prior": ", ".join(f"{p.name} {p.low:g} to {p.high:g}" for p in model.family.parameters),
        "learned": " ".join(model.learned),
        "weights": f"{metadata.n_weights:,}, {metadata.architecture['kind']}",
    }
    if "finished" in training:
        facts["training"] = (f"{training['mocks_seen']:,} mocks in {training['hours']:.2f} h on "
                             f"{training['hardware']}, {training['finished']}")
        facts["test NLL"] = f"{training['test_nll']:.4f} {training['nll_unit']}"
    certificate = certificate_of(card)
    if certificate is None:
        facts["certificate"] = "of another model" if "certificate" in card else "none"
    else:
        versions = ", ".join(f"{name} {value}" for name, value in certificate["versions"].items())
        facts["certificate"] = (f"{certificate['n_mocks']:,} mocks with {certificate['n_draws']} draws each, seed "
                                f"{certificate['seed']}, {certificate['date']}, {versions}")
    lines = [f"{name:14s}{value}" for name, value in facts.items()]
    if certificate is not None:
        lines += ["", *certificate_table(certificate).pformat(max_lines=-1, max_width=-1), "",
                  "max_difference: of the rank ECDF from uniform; band: what chance allows the whole curve "
                  f"({certificate['level']:.0%})"]
        lines += [f"entropy, {name}: {row['mean_entropy']:.4f} nat, mean -ln q at the truths {row['mean_nll']:.4f} "
                  f"(z = {row['z']:+.1f})" for name, record in certificate["posteriors"].items()
                  if (row := record["entropy"])["difference"] is not None]
    return "\n".join(lines)
