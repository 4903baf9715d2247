import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import clusterpost
from clusterpost.errors import InputError
from clusterpost.flow.affine import AffineFlow
from clusterpost.flow.network import build_flow
from clusterpost.training import fit as fit_module
from clusterpost.training.fit import FitConfig, fit, mean_nll
from clusterpost.training.objectives import LogVariance, NegativeLogLikelihood
from clusterpost.training.observing import FlatErrors
from clusterpost.training.recipes import RECIPES, any_bands, walter2025
from clusterpost.training.simulation import cluster_simulator, seeded_generator

TINY = {"n_blocks": 2, "width": 16, "mocks_per_epoch": 20_480, "epochs": 3, "batch_size": 512, "n_validation": 2000,
        "checkpoint_every": 10, "learning_rate": 0.01}


# Every part of the objective and both optimizers at work within few steps.
TINY_SPLINE = {"width": (16, 16), "depth": (1, 1), "bins": (6, 4), "knots": 16, "mocks_per_epoch": 2560, "epochs": 2,
               "batch_size": 128, "n_validation": 1000, "checkpoint_every": 5, "optimizer": "muon",
               "learning_rate": 2e-3}


def train(folder, *, recipe=None, encoder=None, report=None, **changes):
    recipe = recipe or walter2025(**{**TINY, **changes})
    if encoder:
        recipe = replace(recipe, encoder=encoder)
    torch.manual_seed(0)
    flow = build_flow(recipe.spec)
    return flow, fit(flow, recipe, folder, progress=False, report=report)


def assert_same_run(one, two):
    (flow_one, result_one), (flow_two, result_two) = one, two
    assert result_one.history
    assert len(result_one.history) == len(result_two.history)
    for first, second in zip(result_one.history, result_two.history, strict=True):
        assert first == pytest.approx(second, rel=1e-6)
    assert result_one.best_nll == pytest.approx(result_two.best_nll, rel=1e-6)
    assert result_one.mocks_seen == result_two.mocks_seen
    for name, value in flow_one.export().items():
        torch.testing.assert_close(value, flow_two.export()[name], msg=name)


def checkpoint_state(folder):
    with safe_open(str(folder / "checkpoint.safetensors"), framework="pt") as file:
        return json.loads(file.metadata()["state"])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return *train(folder), folder


def test_loss_falls_from_that_of_the_prior(unbroken):
    flow, result, _ = unbroken
    recipe = walter2025(**TINY)
    log_volume = math.log(math.log10(13750) * 6 * 1.5)
    mocks = recipe.simulator.draw(5000, seeded_generator(7, 12345))
    untrained = AffineFlow(recipe.spec)
    assert mean_nll(untrained, recipe.encoder, mocks) == pytest.approx(log_volume, abs=1e-3)
    trained = mean_nll(flow, recipe.encoder, mocks)
    assert trained < log_volume - 2
    assert trained == pytest.approx(result.best_nll, abs=0.2)
    values = [h["validation_nll"] for h in result.history]
    assert values[-1] < values[0] < log_volume


def test_history_tells_the_run(unbroken):
    _, result, folder = unbroken
    config = FitConfig(**{k: v for k, v in TINY.items() if k not in ("n_blocks", "width")})
    assert config.steps_per_epoch == 40
    assert [h["step"] for h in result.history] == [20, 40, 60, 80, 100, 120]
    assert [h["mocks_seen"] for h in result.history] == [512 * h["step"] for h in result.history]
    rates = [0.01 * 0.6637**epoch for epoch in (0, 0, 1, 1, 2, 2)]
    assert [h["learning_rate"] for h in result.history] == pytest.approx(rates)
    assert result.best_nll == min(h["validation_nll"] for h in result.history)
    assert result.mocks_seen == 120 * 512
    assert result.seconds > 0
    assert not result.stopped_early
    assert [p.name for p in folder.iterdir()] == ["checkpoint.safetensors"]


def test_steps_of_an_epoch_are_rounded_up():
    assert FitConfig(mocks_per_epoch=1000, batch_size=512).steps_per_epoch == 2
    assert FitConfig(mocks_per_epoch=1024, batch_size=512).steps_per_epoch == 2


def test_defaults_are_those_of_the_paper():
    config = RECIPES["walter2025"]().config
    assert config == FitConfig()
    assert (config.learning_rate, config.learning_rate_decay, config.batch_size) == (0.001876, 0.6637, 512)
    assert (config.betas, config.l2, config.mocks_per_epoch) == ((0.9, 0.999), 1.353e-6, 5_000_000)


def test_same_seed_same_run_and_another_another(unbroken, tmp_path):
    flow, result, _ = unbroken
    assert_same_run((flow, result), train(tmp_path / "again"))
    _, other = train(tmp_path / "other", seed=1)
    assert other.best_nll != pytest.approx(result.best_nll, rel=1e-6)


def test_finished_run_is_taken_up_as_it_is(unbroken):
    flow, result, folder = unbroken
    before = (folder / "checkpoint.safetensors").read_bytes()
    assert_same_run((flow, result), train(folder))
    assert (folder / "checkpoint.safetensors").read_bytes() == before


CHILD = """
import sys, time, json, torch
from dataclasses import replace
from pathlib import Path
from clusterpost.flow.affine import AffineFlow
from clusterpost.training import fit as module
from clusterpost.training.recipes import walter2025

torch.set_num_threads(1)
module._N_STANDARDIZE = int(sys.argv[3])
recipe = walter2025(**json.loads(sys.argv[2]))
def slow(*values):
    time.sleep(0.05)
    return recipe.encoder(*values)
torch.manual_seed(0)
module.fit(AffineFlow(recipe.spec), replace(recipe, encoder=slow), Path(sys.argv[1]), progress=False)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_run_continues_to_the_same_end(unbroken, tmp_path):
    flow, result, _ = unbroken
    folder = tmp_path / "killed"
    environment = {**os.environ, "PYTHONPATH": str(Path(clusterpost.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), json.dumps(TINY),
                              str(fit_module._N_STANDARDIZE)], env=environment, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "checkpoint.safetensors").exists():
            assert child.poll() is None, child.stderr.read().decode()
            assert time.monotonic() < deadline, "no checkpoint came"
            time.sleep(0.02)
        time.sleep(0.2)  # some steps beyond the checkpoint, to be lost
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == -signal.SIGKILL
    state = checkpoint_state(folder)
    assert 0 < state["step"] < 100, "killed in the middle"
    assert state["step"] % 20 or len(state["history"]) == state["step"] // 20
    assert_same_run((flow, result), train(folder))


def test_stop_between_validations_changes_nothing(unbroken, tmp_path):
    """The running training loss, the patience and Adam's moments live on across a stop at any checkpoint."""
    flow, result, _ = unbroken
    recipe = walter2025(**TINY)
    calls = 0

    def stops(*values):
        nonlocal calls
        calls += 1
        if calls == 58:
            raise KeyboardInterrupt
        return recipe.encoder(*values)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, encoder=stops)
    assert 0 < checkpoint_state(tmp_path)["step"] < 60
    assert_same_run((flow, result), train(tmp_path))


@pytest.mark.parametrize("change", [{"learning_rate": 0.02}, {"width": 8}, {"n_blocks": 1}, {"seed": 3}])
def test_checkpoint_of_other_settings_is_refused(unbroken, change):
    *_, folder = unbroken
    before = (folder / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ValueError, match="checkpoint of another training run"):
        train(folder, **change)
    assert (folder / "checkpoint.safetensors").read_bytes() == before


def test_checkpoint_of_another_simulator_is_refused(unbroken):
    *_, folder = unbroken
    recipe = walter2025(**TINY)
    near = cluster_simulator(noise="walter2025", distance=(1.0, 10.0), whole_myr=True, errors=FlatErrors(0.0, 0.5))
    nearer = replace(recipe, simulator=near)
    with pytest.raises(ValueError, match="checkpoint of another training run"):
        fit(AffineFlow(recipe.spec), nearer, folder)


def test_checkpoint_of_another_objective_is_refused(unbroken):
    *_, folder = unbroken
    recipe = replace(walter2025(**TINY), objective=LogVariance())
    with pytest.raises(ValueError, match="checkpoint of another training run"):
        fit(AffineFlow(recipe.spec), recipe, folder)


def test_stop_of_two_optimizers_and_log_variance_changes_nothing(tmp_path):
    """Muon's momentum is kept beside Adam's moments, and the draws of the objective come again."""
    recipe = any_bands(**TINY_SPLINE)
    whole = train(tmp_path / "whole", recipe=recipe)
    with safe_open(str(tmp_path / "whole" / "checkpoint.safetensors"), framework="pt") as file:
        kinds = {name.split(".")[1] for name in file.keys() if name.startswith("optimizer.")}  # noqa: SIM118
    assert kinds == {"step", "exp_avg", "exp_avg_sq", "momentum_buffer"}

    def stops(entry):
        if entry["step"] == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", recipe=recipe, report=stops)
    assert checkpoint_state(tmp_path / "broken")["step"] == 20
    assert_same_run(whole, train(tmp_path / "broken", recipe=recipe))
    assert whole[1].best_nll < math.log(math.log10(13750) * 1.5)


def test_log_variance_makes_another_flow_than_the_nll_alone(tmp_path):
    recipe = any_bands(**TINY_SPLINE)
    plain = replace(recipe, objective=NegativeLogLikelihood())
    (one, _), (two, _) = train(tmp_path / "a", recipe=recipe), train(tmp_path / "b", recipe=plain)
    assert any(not torch.equal(value, two.export()[name]) for name, value in one.export().items())


def test_checkpoint_is_no_pickle(unbroken):
    *_, folder = unbroken
    data = (folder / "checkpoint.safetensors").read_bytes()
    assert b"pickle" not in data
    assert data[:2] not in (b"PK", b"\x80\x02", b"\x80\x04")
    with safe_open(str(folder / "checkpoint.safetensors"), framework="pt") as file:
        names = set(file.keys())
    assert {n.split(".")[0] for n in names} == {"best", "now", "optimizer"}
    assert "best.block0.first.layer0.weight" in names


def test_stops_when_nothing_improves(tmp_path):
    flow, result = train(tmp_path, learning_rate=0.0, patience=2)
    assert result.stopped_early
    assert [h["step"] for h in result.history] == [20, 40, 60]
    assert result.mocks_seen == 60 * 512
    again_flow, again = train(tmp_path, learning_rate=0.0, patience=2)
    assert again.stopped_early
    assert_same_run((flow, result), (again_flow, again))


def test_flow_ends_with_the_best_weights(tmp_path, monkeypatch):
    scripted = iter([3.0, 1.0, 2.0, 1.5, 1.2, 4.0])
    seen = []

    def fake(flow, encode, mocks, chunk=16384):
        seen.append({name: value.clone() for name, value in flow.export().items()})
        return next(scripted)

    monkeypatch.setattr(fit_module, "mean_nll", fake)
    flow, result = train(tmp_path)
    assert result.best_nll == 1.0
    best, last = seen[1], seen[-1]
    assert all(torch.equal(value, best[name]) for name, value in flow.export().items())
    assert any(not torch.equal(value, last[name]) for name, value in flow.export().items())
    continued, _ = train(tmp_path)  # the best weights come back from the checkpoint too
    assert all(torch.equal(value, best[name]) for name, value in continued.export().items())


def test_returns_to_the_best_weights_if_it_gets_much_worse(tmp_path, monkeypatch):
    scripted, seen = iter([3.0, 1.0, 1.4, 2.0, math.nan, 0.9]), []

    def fake(flow, encode, mocks, chunk=16384):
        seen.append({name: value.clone() for name, value in flow.export().items()})
        return next(scripted)

    monkeypatch.setattr(fit_module, "mean_nll", fake)
    flow, result = train(tmp_path / "returned", worst_rise=0.5, learning_rate_decay=1.0)
    assert result.returns == 2
    assert [h["learning_rate"] for h in result.history] == pytest.approx([0.01] * 4 + [0.005, 0.0025])
    # It did not go on from the fourth weights: the fifth are near the second.
    second, fourth, fifth = (torch.cat([value.flatten() for value in seen[i].values()]) for i in (1, 3, 4))
    assert (fifth - second).norm() < (fifth - fourth).norm()
    assert all(torch.equal(value, seen[-1][name]) for name, value in flow.export().items())
    assert checkpoint_state(tmp_path / "returned")["returns"] == 2


def test_a_diverging_training_comes_back(tmp_path):
    """A learning rate that increases until it ruins the weights."""
    options = {"learning_rate_decay": 20.0, "epochs": 4}
    _, ruined = train(tmp_path / "ruined", **options)
    flow, result = train(tmp_path / "returned", worst_rise=0.02, **options)
    assert result.returns >= 2
    assert result.history[-1]["validation_nll"] < ruined.history[-1]["validation_nll"] - 0.1
    again, same = train(tmp_path / "returned", worst_rise=0.02, **options)
    assert same.returns == result.returns
    assert_same_run((flow, result), (again, same))


def test_conditions_are_standardized_from_mocks(unbroken):
    flow, *_ = unbroken
    recipe = walter2025(**TINY)
    mocks = recipe.simulator.draw(20_000, seeded_generator(5, 5))
    conditions = flow.standardize(recipe.encoder(mocks))
    # reported relative errors s*/f* have a long tail
    assert (conditions.mean(0).abs() < 0.1).all()
    assert ((conditions.std(0) - 1).abs() < 0.2).all()


def test_chunks_do_not_change_the_mean(unbroken):
    flow, *_ = unbroken
    recipe = walter2025(**TINY)
    mocks = recipe.simulator.draw(1001, seeded_generator(5, 6))
    values = [mean_nll(flow, recipe.encoder, mocks, chunk) for chunk in (100, 1001, 16384)]
    assert values == pytest.approx([values[0]] * 3, rel=1e-5)


def test_validation_is_logged_and_nothing_printed(tmp_path, caplog, capsys):
    with caplog.at_level(logging.INFO, logger="clusterpost"):
        train(tmp_path, epochs=1)
    assert "validation NLL" in caplog.text
    with caplog.at_level(logging.INFO, logger="clusterpost"):
        train(tmp_path, epochs=1)
    assert "continuing at step 40" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_leaves_the_arithmetic_of_the_process_alone(tmp_path):
    train(tmp_path, epochs=1)
    assert torch.full((1,), 2.0**-140).mul(1.0).item() > 0  # denormals are not flushed any more


def test_report_is_told_of_every_validation_and_may_end_the_run(unbroken, tmp_path):
    _, result, _ = unbroken
    seen = []
    train(tmp_path / "all", report=seen.append)
    assert [{**h, "training_loss": None} for h in seen] == [{**h, "training_loss": None} for h in result.history]

    class EnoughError(Exception):
        pass

    def ends(entry):
        if entry["step"] == 40:
            raise EnoughError

    with pytest.raises(EnoughError):
        train(tmp_path / "two", report=ends)
    assert checkpoint_state(tmp_path / "two")["step"] == 40


class TestSchedules:
    def test_cosine_rises_and_falls(self):
        config = FitConfig(mocks_per_epoch=512_000, epochs=4, batch_size=512, learning_rate=0.01, schedule="cosine")
        rates = [config.rate(step) for step in range(config.steps)]
        assert rates[0] == pytest.approx(0.01 / 200, rel=1e-3)
        top = max(range(config.steps), key=rates.__getitem__)
        assert 190 < top < 210
        assert rates[top] == pytest.approx(0.01, rel=0.01)
        assert all(a > b for a, b in zip(rates[top:], rates[top + 1:], strict=False))
        assert rates[2000] == pytest.approx(0.005, rel=1e-2)
        assert rates[-1] == pytest.approx(1e-5, rel=0.01)

    def test_epochs_fall_by_steps(self):
        config = FitConfig(mocks_per_epoch=5120, epochs=3, batch_size=512, learning_rate=0.01)
        assert [config.rate(step) for step in (0, 9, 10, 29)] == pytest.approx(
            [0.01, 0.01, 0.006637, 0.01 * 0.6637**2])


def test_muon_has_the_square_matrices_and_adam_the_rest():
    flow = build_flow(any_bands(**TINY_SPLINE).spec)
    adam, muon = fit_module.make_optimizers(flow, any_bands(**TINY_SPLINE).config)
    square = [p for group in muon.param_groups for p in group["params"]]
    assert {tuple(p.shape) for p in square} == {(16, 16)}
    assert len(square) == 4  # two in each residual block
    both = square + [p for group in adam.param_groups for p in group["params"]]
    assert {id(p) for p in both} == {id(p) for p in flow.parameters()}
    assert len(both) == len(list(flow.parameters()))
    assert len(fit_module.make_optimizers(flow, FitConfig())) == 1


def test_recipe_is_complete():
    recipe = walter2025(**TINY)
    assert recipe.name == "walter2025"
    assert recipe.spec.n_conditions == recipe.encoder.size(len(recipe.simulator.bands))
    assert recipe.config == replace(recipe.config, **{k: v for k, v in TINY.items() if k not in ("n_blocks", "width")})
    with pytest.raises(TypeError, match="no_such_setting"):
        walter2025(no_such_setting=1)


def test_a_torch_that_is_too_old_is_named(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(InputError, match=r"training needs torch 2\.9 or later; .*clusterpost\[train\]"):
        fit_module.make_optimizers(torch.nn.Linear(2, 2), FitConfig())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", ["walter2025", "stochastic", "galaxies"])
def test_steps_replayed_on_a_gpu_are_those_taken_one_by_one(name, tmp_path):
    small = {"walter2025": {"n_blocks": 2, "width": 16}}.get(name, {"width": (16,) * 8, "depth": (1,) * 8})
    if name == "stochastic":
        small = {"width": (16,) * 6, "depth": (1,) * 6, "token": 16, "context": 16, "context_depth": 1}
    recipe = RECIPES[name](**small, mocks_per_epoch=20 * 512, epochs=1, batch_size=512, n_validation=512,
                           batches_at_once=4)
    results = []
    for record in (False, True):
        torch.manual_seed(0)
        flow = build_flow(recipe.spec)
        results.append(fit(flow, recipe, tmp_path / str(record), device="cuda", record=record, progress=False))
    one, other = results
    assert other.best_nll == pytest.approx(one.best_nll, abs=0.01)
    assert other.history[-1]["training_loss"] == pytest.approx(one.history[-1]["training_loss"], abs=0.01)
    assert one.history[0]["validation_nll"] != one.history[-1]["validation_nll"]
