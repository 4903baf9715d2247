"""Tables of the papers' claims: ours follows from what is passed in."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from benchmarks.papers.claims import SEDFLOW_FAILURES, sedflow_claims, walter2025_claims
from clusterpost import load_model
from clusterpost.validation import SBCResult

STATISTICS = ("T1", "T2", "T3", "T4", "T5", "T6")
N_DRAWS = 20
UNIFORM = np.random.default_rng(0).integers(0, N_DRAWS + 1, 20_000)


def calibration(ranks):
    sbc = SBCResult(np.tile(ranks[:, None], 6), STATISTICS, N_DRAWS)
    entropy = {"mean_entropy": 1.25, "mean_nll": 1.5, "difference": 0.25, "standard_error": 0.1, "z": 2.5}
    return SimpleNamespace(sbc=sbc, marginals=SBCResult(sbc.ranks[:, :3], ("log_age", "log_mass", "ebv"), N_DRAWS),
                           entropy=entropy)


def ours(table, claim):
    rows = [row["ours"] for row in table if row["claim"].startswith(claim)]
    assert len(rows) == 1, claim
    return rows[0]


@pytest.fixture(scope="module")
def model():
    return load_model("walter2025")


@pytest.mark.parametrize(("ranks", "said"), [
    (UNIFORM, "inside the simultaneous 99 % band"),
    (UNIFORM * 9 // 10, "overestimated"),
    (N_DRAWS - UNIFORM * 9 // 10, "underestimated"),
    (N_DRAWS // 4 + UNIFORM // 2, "too wide"),
    (np.where(UNIFORM < N_DRAWS // 2, UNIFORM // 2, N_DRAWS - (N_DRAWS - UNIFORM) // 2), "too narrow"),
])
def test_what_a_curve_says(model, ranks, said):
    table = walter2025_claims(model, {"network": calibration(ranks)})
    assert ours(table, "SBC of T3").endswith(said)
    assert ours(table, "SBC of T3").startswith("network: at most")


def test_what_was_not_computed_says_how(model):
    table = walter2025_claims(model, {})
    assert ours(table, "posteriors of examples") == "not computed: needs --exact"
    assert ours(table, "Table 1: our mean") == "not computed: needs --catalog"
    assert ours(sedflow_claims(model, {}), "failures") == "not computed: needs --catalog"
    assert ours(sedflow_claims(model, {}), "time for 10,000 draws") == "not computed"


def test_the_papers_numbers(model):
    walter, sedflow = walter2025_claims(model, {}), sedflow_claims(model, {})
    paper = {row["claim"]: row["paper"] for row in [*walter, *sedflow]}
    assert paper["Table 1: our MAP inside theirs"] == "76.3 / 64.3 / 80.5 %"
    assert paper["clusters with all five bands"] == "2439 of 2638 (92.5 %)"
    assert paper["failures: posterior outside the prior"] == "591 of 33,883 (1.7 %)"
    assert SEDFLOW_FAILURES[0] / SEDFLOW_FAILURES[1] == pytest.approx(0.0174, abs=1e-4)


def test_ours_is_what_is_passed_in(model):
    exactness = Table({"case": ["prior", "prior", "control"], "median": [0.002, 0.004, 0.5], "p95": [0.01, 0.02, 0.6],
                       "classifier_accuracy": [0.46, 0.46, 0.9]})
    tested = {"refined": calibration(UNIFORM)}
    table = walter2025_claims(model, tested, exactness=exactness)
    assert ours(table, "posteriors of examples").startswith("median 0.0040, 95 % of clusters within 0.020")
    assert "46 % right" in ours(table, "posteriors of examples")
    assert ours(table, "draws and density agree") == "refined: 1.250 against 1.500 nat (z = +2.5)"
    timing = {"network": 0.001, "refined": 0.01, "exact": 0.02, "draws": 0.0005}
    table = sedflow_claims(model, tested, timing=timing)
    assert ours(table, "time for 10,000 draws") == "draws 0.5 ms"
    assert ours(table, "time for a catalog") == "refined 10 ms, network 1 ms"
    assert ours(table, "faster than MCMC").startswith("2.0 against the exact grid")
    checks = SimpleNamespace(counts={"rows": 200, "inferred": 196, "outside_support": 5})
    assert ours(sedflow_claims(model, tested, checks=checks), "failures") == (
        "4 of 200 not inferred (2.0 %), 5 flagged 'outside support' (2.5 %)")
