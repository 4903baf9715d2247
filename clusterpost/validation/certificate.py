"""Certificates: the calibration of a model's posteriors, measured on mocks and stored in its card."""

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

#: Quantities that divide mocks to find local miscalibration, besides the first two parameters; known from the data.
REGIONS = ("snr", "n_bands", "band_set")
_VERIFIED_LEVEL = 0.999  # of each test, for the verification of a certificate


@dataclass
class Calibration:
    """Results of all calibration tests of one ensemble of posteriors.

    Attributes
    ----------
    sbc : SBCResult
        Ranks of the family's statistics, T1 to T6 of Walter et al. (2025) for clusters.
    marginals : SBCResult
        Ranks of the parameters, for the p-p plot.
    coverage : SBCResult
        ``HPD`` (expected coverage of highest-density regions) and ``TARP``.
    regions : dict of Table
        Output of `~clusterpost.validation.regions.by_region` for each of ``REGIONS`` that varies among the mocks.
    entropy : dict
        Output of `~clusterpost.validation.regions.entropy_check`.
    """

    sbc: SBCResult
    marginals: SBCResult
    coverage: SBCResult
    regions: dict
    entropy: dict

    @property
    def tests(self) -> SBCResult:
        """Ranks of T1 to T6, HPD and TARP together."""
        return SBCResult(np.concatenate([self.sbc.ranks, self.coverage.ranks], axis=1),
                         self.sbc.names + self.coverage.names, self.sbc.n_draws)

    def record(self, level: float = 0.99) -> dict:
        """Return the numbers for a certificate.

        Parameters
        ----------
        level : float
            Probability level of the simultaneous bands.

        Returns
        -------
        dict
            ``n_mocks``, ``max_difference`` and ``inside_band`` of T1 to T6 together, each of the ``tests``, the worst
            of the ``regions``, and the ``entropy`` check.
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
    """Return values for JSON, without NaN and NumPy scalars."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def calibration(ensemble: Ensemble, seed: int = 0, regions: Sequence[str] | None = None) -> Calibration:
    """Run all calibration tests on an ensemble.

    Parameters
    ----------
    ensemble : Ensemble
        Ensemble with densities.
    seed : int
        Random seed of tie breaking and of the reference points of TARP.
    regions : sequence of str, optional
        Quantities that divide the mocks, as for `~clusterpost.validation.by_region`; by default the first two
        parameters and ``REGIONS``.  Quantities that are the same for all mocks are omitted.

    Returns
    -------
    Calibration

    Examples
    --------
    >>> from clusterpost.validation.certificate import calibration, posterior_ensemble
    >>> tested = calibration(posterior_ensemble("walter2025", n_mocks=100, n_draws=20,
    ...                                         refine=False))
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
    """Draw mocks from a model's simulator, with draws from the model's posteriors.

    Parameters
    ----------
    model : str, path or Model
    n_mocks, n_draws, seed : int
    refine : bool
        Whether to use refined posteriors instead of those of the network alone.
    parts : path, optional
        Folder that keeps finished draws (`clusterpost.validation.parts`).
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
    """Draw from a model's posteriors and test their calibration.

    Parameters
    ----------
    model, n_mocks, n_draws, seed, n_refined, parts, progress
        As for `certify`.
    regions
        As for `calibration`.

    Returns
    -------
    dict of Calibration
        Calibration of ``network`` and, unless ``n_refined`` is zero, ``refined``.
    """
    refined = n_mocks if n_refined is None else n_refined
    tractable = load_model(model).family.likelihood is not None  # refinement needs a likelihood
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
        Number of mocks for the refined posteriors of `~clusterpost.infer_table`; 0 for none, by default as many as for
        the network alone, and always none if the family has no likelihood.  Each takes a millisecond or two, or much
        longer if the network is inaccurate.
    parts : path, optional
        Folder for finished draws, from which a second call resumes after an interruption.
    level : float
        Probability level of the simultaneous bands.
    progress : bool, optional

    Returns
    -------
    dict
        Certificate for `~clusterpost.flow.modelfile.save_certificate`; `certificate_table` shows it as a table.

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
    """Return the certificate of measured calibrations.

    Parameters
    ----------
    model : Model
    tested : dict of Calibration
        Calibrations of ``network`` and ``refined``.
    seed : int
        Random seed of the mocks.
    level : float
        Probability level of the simultaneous bands.

    Returns
    -------
    dict
        Certificate with plain values.
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
    """Return the tests of a certificate, one per row.

    Parameters
    ----------
    certificate : dict

    Returns
    -------
    `~astropy.table.Table`
        ``posterior`` (network or refined), ``test``, number of mocks ``n``, ``max_difference`` of the rank ECDF from
        uniform, the largest half-width ``band`` of the simultaneous band at the certificate's level (differs between
        regions), and whether the curve lies inside it (for regions, whether all do).  ``meta`` has the sizes, seed,
        date and versions.

    Examples
    --------
    >>> from clusterpost.validation.certificate import certificate_table, certify
    >>> certificate = certify("walter2025", n_mocks=60, n_draws=20, n_refined=0)
    >>> certificate_table(certificate)["test"][:2].tolist()
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
    """List contradictions between a smaller test and a certificate.

    Parameters
    ----------
    certificate : dict
    tested : dict of Calibration
        Calibrations with other mocks, of ``network`` and ``refined``.

    Returns
    -------
    list of str
        Tests that are worse than certified by more than chance explains: a maximum difference above the certified one
        plus the band of the smaller test (99.9 %), or an entropy check off by more than four standard errors.
        Empty if the certificate holds.
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
    if certified["difference"] is None:  # the posterior density was zero at a truth
        return
    difference = abs(fresh["difference"] - certified["difference"])
    allowed = 4 * np.hypot(fresh["standard_error"], certified["standard_error"])
    if not difference <= allowed:
        yield f"off by {difference:.4f} nat, allowed {allowed:.4f}"


def describe_model(model: Model) -> str:
    """Return the inputs, training and calibration of a model, as text.

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
                  "max_difference: of the rank ECDF from uniform; band: simultaneous band that chance allows "
                  f"({certificate['level']:.0%})"]
        lines += [f"entropy, {name}: {row['mean_entropy']:.4f} nat, mean -ln q at the truths {row['mean_nll']:.4f} "
                  f"(z = {row['z']:+.1f})" for name, record in certificate["posteriors"].items()
                  if (row := record["entropy"])["difference"] is not None]
    return "\n".join(lines)
