"""The hyperparameter search, at sizes of no use but for its bookkeeping."""

import json
import math
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import torch
from astropy.table import Table

from clusterpost.bands import WFC3_BANDS
from clusterpost.cli import main
from clusterpost.errors import InputError
from clusterpost.families import get_family
from clusterpost.flow.network import build_flow
from clusterpost.training import search as module
from clusterpost.training.objectives import LogVariance, NegativeLogLikelihood
from clusterpost.training.observing import AllBands, FlatErrors
from clusterpost.training.recipes import walter2025
from clusterpost.training.search import FAMILIES, recipe_of, search
from clusterpost.training.simulation import Simulator, cluster_simulator, seeded_generator

TINY = {"trials": 4, "seconds": 0.1, "n_validation": 200, "n_objects": 20}


def small_spline(trial, simulator):
    """Of the family's names, at sizes that train at once."""
    return FULL["spline"](optuna.trial.FixedTrial({
        "spline_width": 64, "depth": 1, "bins_age": trial.suggest_int("bins_age", 8, 12), "bins_ebv": 6, "splines": 1,
        "knots": 32, "spline_learning_rate": trial.suggest_float("spline_learning_rate", 3e-4, 1e-2, log=True),
        "spline_batch_size": 128, "optimizer": "adam", "objective_draws": 3}), simulator)


def small_affine(trial, simulator):
    return FULL["affine"](optuna.trial.FixedTrial({
        "blocks": 4, "width": 128, "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "learning_rate_decay": 0.5, "betas": "0.8, 0.8", "batch_size": 64, "l2": 1e-6}), simulator)


FULL, FIRST = dict(FAMILIES), dict(module._FIRST)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(FAMILIES, "affine", small_affine)
    monkeypatch.setitem(FAMILIES, "spline", small_spline)
    monkeypatch.setattr(module, "_FIRST", {})


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "affine", small_affine)
        patch.setitem(FAMILIES, "spline", small_spline)
        patch.setattr(module, "_FIRST", {})
        return folder, search(folder, **TINY)


class Recorder(optuna.trial.FixedTrial):
    """A trial that remembers what it was asked for."""

    def __init__(self, params):
        super().__init__(params)
        self.asked = {}

    def suggest_int(self, name, low, high, **options):
        self.asked[name] = (low, high)
        return super().suggest_int(name, low, high, **options)

    def suggest_float(self, name, low, high, **options):
        self.asked[name] = (low, high)
        return super().suggest_float(name, low, high, **options)


class TestFamilies:
    def test_affine_ranges_are_those_of_table_a1(self):
        trial = Recorder({"blocks": 12, "width": 256, "learning_rate": 0.001876, "learning_rate_decay": 0.6637,
                          "betas": "0.9, 0.999", "batch_size": 512, "l2": 1.353e-6})
        recipe = FULL["affine"](trial, cluster_simulator())
        assert trial.asked == {"blocks": (4, 21), "width": (128, 2048), "learning_rate": (1e-5, 1e-2),
                               "learning_rate_decay": (0.1, 0.9), "batch_size": (64, 1024), "l2": (1e-7, 1e-4)}
        assert recipe.spec == walter2025().spec  # the final values make the paper's network
        assert recipe.config == walter2025().config

    @pytest.mark.parametrize("draws", [0, 1, 2, 9])
    def test_a_spline_recipe_is_whole(self, draws):
        settings = {"family": "spline", "spline_width": 64, "depth": 2, "bins_age": 9, "bins_ebv": 6, "splines": 2,
                    "knots": 64, "spline_learning_rate": 1e-3, "spline_batch_size": 200, "optimizer": "muon",
                    "objective_draws": draws}
        recipe = FULL["spline"](optuna.trial.FixedTrial(settings), cluster_simulator())
        assert recipe.objective == (LogVariance(draws=draws) if draws > 1 else NegativeLogLikelihood())
        assert (recipe.spec.width, recipe.spec.depth, recipe.spec.bins) == ((64, 32), (2, 1), (9, 6))
        assert (recipe.config.optimizer, recipe.config.batch_size) == ("muon", 200)
        mocks = recipe.simulator.draw(5, seeded_generator(0))
        conditions = recipe.encoder(mocks)
        assert torch.isfinite(build_flow(recipe.spec).log_prob(recipe.learned_part(mocks).theta, conditions)).all()


class TestTable:
    def test_rows_are_the_trials_and_the_best_comes_first(self, searched):
        folder, table = searched
        assert sorted(table["trial"]) == [0, 1, 2, 3]
        assert set(table["state"]) <= {"complete", "pruned"}
        complete = table[table["state"] == "complete"]
        assert len(complete)
        assert list(complete["nll"]) == sorted(complete["nll"])
        assert table["state"][0] == "complete"
        assert (complete["units"] == 27).all()
        assert np.isfinite(complete["nll"]).all()
        for name in ("efficiency_1", "efficiency_5", "efficiency_50"):
            assert ((complete[name] > 0) & (complete[name] <= 1)).all()
        assert (complete["draws_per_second"] > 100).all()
        assert (complete["seconds"] > 0).all()
        assert {p.name for p in folder.iterdir()} == {"search.journal", "search.ecsv", ".search.lock"}
        again = Table.read(folder / "search.ecsv")
        assert again.meta["best"] == table.meta["best"]
        assert list(again["trial"]) == list(table["trial"])
        assert again.meta["simulator"]["family"]["options"]["bands"] == list(WFC3_BANDS)

    def test_a_finished_search_is_given_back(self, searched):
        folder, table = searched
        before = (folder / "search.journal").read_bytes()
        again = search(folder, **{**TINY, "trials": 3})
        assert list(again["nll"]) == list(table["nll"])
        assert len((folder / "search.journal").read_bytes()) <= len(before) + 2000  # nothing was run

    def test_more_trials_go_on_from_it(self, searched):
        folder, table = searched
        longer = search(folder, **{**TINY, "trials": 5})
        assert sorted(longer["trial"]) == [0, 1, 2, 3, 4]
        same = {row["trial"]: row["nll"] for row in longer}
        assert all(same[row["trial"]] == row["nll"] for row in table)

    def test_settings_of_another_search_are_refused(self, searched):
        folder, _ = searched
        for change in ({"seconds": 0.2}, {"families": ("affine",)}, {"seed": 1},
                       {"simulator": cluster_simulator(distance=(1.0, 2.0))}):
            with pytest.raises(InputError, match="holds another search"):
                search(folder, **{**TINY, **change})

    def test_best_settings_make_a_recipe(self, searched):
        _, table = searched
        recipe = recipe_of(table.meta["best"])
        assert recipe.simulator.bands == WFC3_BANDS
        assert recipe.name == table["family"][0]


def test_full_density_of_both_kinds_is_comparable():
    """An untrained flow of three parameters has the prior's density; of two, with the mass known, far more."""
    problem = module._Problem(cluster_simulator(), None, 1.0, 5000, 10, 0, "cpu")
    test = problem.mocks(5000, 7)
    settings = optuna.trial.FixedTrial({"bins_age": 8, "spline_learning_rate": 1e-3})
    spline = small_spline(settings, problem.simulator)
    affine = small_affine(optuna.trial.FixedTrial({"learning_rate": 1e-3}), problem.simulator)
    assert problem.mass_nll(affine, test) == 0
    mass = problem.mass_nll(spline, test)
    # The mass is as uncertain as its weighted mean flux.
    variance = torch.log1p((test.error / test.flux) ** 2)
    width = (1 / variance).sum(1).rsqrt() / math.log(10)
    expected = (torch.log(width) + 0.5 * math.log(2 * math.pi * math.e)).mean().item()
    assert mass == pytest.approx(expected, abs=0.05)
    assert spline.learned == ("log_age", "ebv")


def test_sampling_of_the_exact_posterior_is_efficient():
    """Where errors are so large that the posterior of age and reddening is nearly the prior, an untrained flow does."""
    class Vague:
        low, high, kind = 30.0, 30.0, "flat"
        range = (30.0, 30.0)

        def draw(self, ln_flux, generator):
            return torch.full_like(ln_flux, 30.0)

    simulator = cluster_simulator(errors=Vague())
    problem = module._Problem(simulator, None, 1.0, 100, 40, 0, "cpu")
    recipe = small_spline(optuna.trial.FixedTrial({"bins_age": 8, "spline_learning_rate": 1e-3}), simulator)
    vague = problem.sampling(build_flow(recipe.spec).eval(), recipe)
    assert vague["efficiency_50"] > 0.5
    problem = module._Problem(cluster_simulator(), None, 1.0, 100, 40, 0, "cpu")
    sharp = problem.sampling(build_flow(recipe.spec).eval(), recipe)
    assert sharp["efficiency_50"] < 0.2
    assert sharp["efficiency_1"] <= sharp["efficiency_5"] <= sharp["efficiency_50"]


def test_steps_are_given_by_their_cost():
    problem = module._Problem(cluster_simulator(), None, 1.0, 100, 10, 0, "cpu")
    trial = optuna.trial.FixedTrial({"bins_age": 8, "spline_learning_rate": 1e-3})
    small_one = small_spline(trial, cluster_simulator())
    large = FULL["affine"](optuna.trial.FixedTrial({
        "blocks": 8, "width": 400, "learning_rate": 1e-3, "learning_rate_decay": 0.5, "betas": "0.8, 0.8",
        "batch_size": 128, "l2": 1e-6}), cluster_simulator())
    flow = build_flow(small_one.spec)
    before = {name: value.clone() for name, value in flow.export().items()}
    assert 0 < problem.step_time(flow, small_one) < problem.step_time(build_flow(large.spec), large)
    assert all(torch.equal(value, before[name]) for name, value in flow.export().items())


def test_interrupted_trial_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    whole = search(tmp_path / "whole", **{**TINY, "trials": 1})
    real, reports = module.fit, []

    def stops(*args, report, **options):
        def stop(entry):
            report(entry)
            reports.append(entry["step"])
            if len(reports) == 12:
                raise KeyboardInterrupt

        return real(*args, report=stop, **options)

    monkeypatch.setattr(module._Problem, "step_time", lambda *args: 0.1 / 27)  # one step a unit
    monkeypatch.setattr(module, "fit", stops)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "broken", **{**TINY, "trials": 1})
    assert (tmp_path / "broken" / "trial-0" / "checkpoint.safetensors").exists()
    seen = []

    def tells(*args, report, **options):
        return real(*args, report=lambda entry: (seen.append(entry["step"]), report(entry)), **options)

    monkeypatch.setattr(module, "fit", tells)
    table = search(tmp_path / "broken", **{**TINY, "trials": 1})
    assert seen == list(range(1, 28))  # the earlier ones from the checkpoint
    assert len(table) == 1
    assert table["units"][0] == 27
    assert table["family"][0] == whole["family"][0]
    assert not list((tmp_path / "broken").glob("trial-*"))


def test_bad_trials_are_pruned(tmp_path, monkeypatch):
    calls = []

    def fails(flow, recipe, folder, *, report, **options):
        folder.mkdir()
        calls.append(folder)
        if len(calls) == 2:
            report({"step": 1, "validation_nll": math.nan})
        for step in range(1, 28):
            report({"step": step, "validation_nll": float(step)})
        return SimpleNamespace(seconds=1.0, mocks_seen=1)

    monkeypatch.setattr(module._Problem, "step_time", lambda *args: 0.1 / 27)
    monkeypatch.setattr(module, "fit", fails)
    table = search(tmp_path, **{**TINY, "trials": 3})
    assert list(table["state"][table["trial"] == 1]) == ["pruned"]
    assert np.isnan(table["nll"][table["trial"] == 1]).all()
    assert not list(tmp_path.glob("trial-*"))


@pytest.mark.parametrize(("options", "message"), [
    ({"families": ("maf",)}, "no family maf; choose from affine, spline"),
    ({"families": ()}, "no family"),
    ({"simulator": walter2025().simulator}, "closed form of the mass, which exists only for log-normal noise"),
])
def test_what_a_family_cannot_learn_is_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        search(tmp_path, **TINY, **options)
    assert not (tmp_path / "search.journal").exists()


def test_a_simulator_without_an_exact_density_is_refused(tmp_path):
    simulator = Simulator(get_family("galaxies")(), errors=FlatErrors(), coverage=AllBands())
    with pytest.raises(InputError, match="family galaxies have no likelihood with an amplitude and two more"):
        search(tmp_path, **TINY, simulator=simulator)
    assert not list(tmp_path.iterdir())


def test_two_searches_in_one_folder_are_refused(tmp_path):
    with module._alone(tmp_path), pytest.raises(InputError, match="a search is going on"):
        search(tmp_path, **TINY)


def test_from_the_shell(tmp_path, monkeypatch, capsys):
    seen = {}

    def fake(folder, **options):
        seen.update(options, folder=folder)
        return Table(rows=[{"trial": 3, "state": "complete", "family": "spline", "nll": -3.0, "n_weights": 100,
                            "draws_per_second": 1e5, "efficiency_1": 0.2, "efficiency_50": 0.6}])

    monkeypatch.setattr(module, "search", fake)
    assert main(["train", "--search", "-o", str(tmp_path), "--trials", "7", "--seconds-per-trial", "30"]) == 0
    printed = capsys.readouterr()
    assert "1 trials; the best is number 3 (spline flow), with an NLL of -3.0000" in printed.err
    assert "-3.000" in printed.out
    assert (seen["simulator"], seen["families"], seen["trials"], seen["seconds"]) == (None, ("affine", "spline"), 7, 30)
    assert main(["train", "any_bands", "--search", "-o", str(tmp_path), "--table", "z0.008"]) == 0
    assert seen["families"] == ("affine", "spline")
    assert seen["simulator"].coverage != AllBands()
    assert main(["train", "walter2025", "--search", "-o", str(tmp_path)]) == 0
    assert json.dumps(seen["simulator"].to_dict()) == json.dumps(walter2025().simulator.to_dict())
    for arguments, message in ((["maf", "--search"], "no search is available for maf"),
                               ([], "unknown recipe None; choose from"),
                               (["other"], "unknown recipe 'other'"),
                               (["walter2025", "--table", "z0.05"], "--table is not available for walter2025")):
        assert main(["train", *arguments, "-o", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err


def test_the_first_trials_are_what_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FIRST", {"spline": {"bins_age": 11, "spline_learning_rate": 0.005}})
    table = search(tmp_path, **{**TINY, "trials": 1, "families": ("spline",)})
    assert (table["bins_age"][0], table["spline_learning_rate"][0]) == (11, 0.005)


def test_what_is_known_is_the_recipe_of_the_paper():
    known = FULL["affine"](optuna.trial.FixedTrial(FIRST["affine"]), walter2025().simulator)
    assert (known.spec.width, len(known.spec.permutations)) == (walter2025().spec.width, 12)
    assert known.config == walter2025().config
