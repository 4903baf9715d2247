"""The benchmarks run at their smallest, and their tables say what they promise; no speed is asserted."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.table import Table

import clusterpost

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
MODULES = ("accuracy", "cores", "dimensions", "figures", "galaxies", "galaxy_figures", "gpu", "gpu_tables",
           "growth", "machine", "methods", "mocks", "prices", "run", "speed", "stages", "stochastic",
           "streams")


@pytest.fixture(scope="module")
def benchmarks():
    """Their modules, as attributes; they are scripts of a folder and no package."""
    if not FOLDER.is_dir():
        pytest.skip("the benchmarks are not part of an installed package")
    others = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}  # of the same name
    sys.path.insert(0, str(FOLDER))
    try:
        yield type("Benchmarks", (), {name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(others)


@pytest.fixture(scope="module")
def measured(benchmarks):
    return benchmarks.speed.speed("small")


def row(table, method, device="cpu"):
    """The row of a method."""
    return next(row for row in table if (row["method"], row["device"]) == (method, device))


@pytest.mark.slow
def test_speed_has_every_method_and_its_error(measured):
    table = measured["speed"]
    assert {"Walter et al. 2025", "emcee", "exact_posterior", "infer_table", "sbi NPE"} <= set(table["method"])
    timed = table[table["objects"] > 0]
    assert (timed["seconds_per_object"] > 0).all()
    assert (timed["ratio_low"] <= timed["ratio"]).all()
    assert (timed["ratio"] <= timed["ratio_high"]).all()
    assert row(table, "infer_table")["ratio"] == 1
    assert (timed["error_median"] <= timed["error_p95"]).all()
    assert row(table, "exact_posterior")["error_p95"] < 0.01
    assert row(table, "infer_table")["error_median"] < 0.05
    about = measured["methods"]
    assert row(about, "Walter et al. 2025")["exact_posterior_of"] == "whole Myr"
    assert all(note.startswith("not measured") for note in about["note"][table["objects"] == 0])


@pytest.mark.slow
def test_rates_are_what_the_speeds_say(measured):
    speed, rates = measured["speed"], measured["rates"]
    assert rates.colnames == ["method", "device", "rows_per_second", "cpu_seconds_per_row"]
    for rate in rates:
        timed = row(speed, rate["method"], rate["device"])
        assert rate["rows_per_second"] == pytest.approx(1 / timed["seconds_per_object"])
        assert rate["cpu_seconds_per_row"] == timed["cpu_seconds_per_object"]


def test_an_interval_of_pairs_survives_a_machine_that_slows_down(benchmarks, monkeypatch):
    """Both of a pair become slower alike: their ratio remains."""
    clock = iter(np.repeat([1.0, 2.0, 4.0], 2) * np.tile([10.0, 1.0], 3))
    monkeypatch.setattr(benchmarks.speed, "timed", lambda call, device: (call(), next(clock), 0.0))
    slow, quick = (benchmarks.speed._Timer(benchmarks.methods.Method(name, 1, "", lambda at: np.zeros((1, 3, 3))), 3)
                   for name in ("slow", "quick"))
    for _ in range(3):
        slow.run(after=quick)
    assert slow.ratios == [10, 10, 10]
    assert slow.seconds == [10, 20, 40]


def test_quantile_errors_are_in_half_widths(benchmarks):
    exact = np.array([[[0.0, 1, 3], [1, 2, 4], [0, 0.5, 1]]])
    assert benchmarks.mocks.quantile_error(exact + np.array([[0.75], [1.5], [0.25]]), exact) == pytest.approx(
        np.array([[0.5] * 3 + [1.0] * 3 + [0.5] * 3]))


def test_both_noise_models_see_the_same_clusters(benchmarks):
    rows = benchmarks.mocks.Rows(3)
    one, other = rows.tables.values()
    assert (one["age_true"] == other["age_true"]).all()
    assert (one["distance"] == other["distance"]).all()
    assert (one["F555W"] == other["F555W"]).all()
    assert (one["F555W_err"] != other["F555W_err"]).all()  # of the observed flux, or of the true one


def test_the_reference_is_the_posterior(benchmarks):
    """Dense grid and dense draws are two ways to one distribution."""
    rows = benchmarks.mocks.Rows(2, reference=(690, 150))
    rows.tables["walter2025"] = rows.tables["lognormal"]
    weighted = benchmarks.mocks.dense_draws(
        benchmarks.mocks.Target(
            rows.observed("lognormal", [0]).to(dtype=torch.float32),
            benchmarks.mocks.ClusterLikelihood(benchmarks.mocks.load_table().select(benchmarks.mocks.WFC3_BANDS),
                                               benchmarks.mocks.get_noise("lognormal")),
            benchmarks.mocks.cluster_prior()), 1 << 13)
    found = np.stack([benchmarks.mocks.quantiles(x, (0.16, 0.5, 0.84), weighted[1])[0] for x in weighted[0].unbind(-1)])
    error = benchmarks.mocks.quantile_error(found[None], rows.exact("lognormal", np.array([0])))
    assert error.max() < 0.1


def test_fluxes_of_whole_myr_are_steps(benchmarks):
    table = benchmarks.mocks.load_table().select(benchmarks.mocks.WFC3_BANDS)
    ages = torch.log10(torch.tensor([2.6, 3.0, 3.4, 3.6]))
    steps = benchmarks.mocks._WholeMyr(table).ln_flux(ages, torch.zeros(4))
    assert torch.equal(steps[0], steps[2])
    assert torch.equal(steps[1], table.ln_flux(ages[1:2], torch.zeros(1))[0])
    assert not torch.equal(steps[2], steps[3])


def test_the_papers_method_draws_what_the_network_says(benchmarks):
    rows = benchmarks.mocks.Rows(2, seed=4)
    found = benchmarks.methods.paper(rows, 2, 2000).run(np.arange(2))
    out = clusterpost.infer_table(rows.table("walter2025", np.arange(2)), model="walter2025", refine=False,
                                  n_samples=2000, error_floor=None)
    error = benchmarks.mocks.quantile_error(found, benchmarks.mocks.quantiles_of(out))
    assert error.max() < 0.3  # of 2000 draws' scatter
    assert np.median(error) < 0.08


@pytest.mark.slow
def test_stages_add_up_and_leave_the_package_as_it_was(benchmarks):
    before = {(owner, name): getattr(owner, name) for parts in benchmarks.stages.STAGES.values()
              for owner, name in parts}
    tables = benchmarks.stages.stages("small")
    assert all(getattr(owner, name) is function for (owner, name), function in before.items())
    shares = tables["stages"]
    for model in set(shares["model"]):
        part = shares[shares["model"] == model]
        assert part["share"].sum() == pytest.approx(1)
        spent = part[(part["stage"] != "refinement") & (part["stage"] != benchmarks.stages.OTHER)]
        assert (spent["seconds_per_object"] > 0).all(), "a stage names no function that is called"
        drawn = np.isin(part["stage"], ["draws of the mass", "draws from the network", "density and weights",
                                        "refinement"])
        summed = np.isin(part["stage"], ["modes", "MAP", "quantiles"])
        balance = tables["balance"][tables["balance"]["model"] == model]
        assert balance["summaries_over_drawing"][0] == pytest.approx(part["share"][summed].sum()
                                                                     / part["share"][drawn].sum())
    products = tables["products"]
    assert (products["share_of_products"] > 0).all()
    replica = products[products["model"] == "walter2025"][0]
    # FrEIA's graph runs every layer for every draw.
    assert replica["flop_per_draw"] == replica["flop_draw_by_draw"]


def test_dimensions_multiply_the_grid(benchmarks):
    tables = benchmarks.dimensions.dimensions("small")
    table = tables["dimensions"]
    assert list(table["parameters"]) == [3, 4, 5, 6]
    assert (np.diff(np.log(table["grid_cells"])) == pytest.approx(np.log(benchmarks.dimensions.NODES)))
    assert list(table["how"]) == ["measured", "extrapolated", "extrapolated", "extrapolated"]
    assert {"network, parameters", "grid, cells", "grid, metallicities"} <= set(tables["parts"]["what"])


@pytest.mark.slow
def test_rows_are_measured_in_processes_of_their_own(benchmarks, monkeypatch):
    monkeypatch.setitem(benchmarks.growth.SCALES, "small", (10, 10_000_000))
    table = benchmarks.growth.growth("small", settings=benchmarks.growth.SETTINGS[2:])["rows"]
    assert list(table["rows"]) == [10]  # the other would take too long
    assert len(table.meta["skipped"]) == 1
    assert table["peak"][0] >= table["before"][0] > 10
    assert 0 < table["tables"][0] < 1
    with pytest.raises(RuntimeError, match="failed"):
        benchmarks.growth.in_a_process("infer_table", "no number", {})


def test_the_command_writes_tables_with_the_machine_and_figures(benchmarks, tmp_path, monkeypatch):
    monkeypatch.setitem(benchmarks.accuracy.SCALES, "small",
                        {"n": 2, "draws": (50, 100), "grids": ((60, 20), (120, 40)), "reference": (172, 38),
                         "repeats": 1})
    assert benchmarks.run.main(["-o", str(tmp_path), "--scale", "small", "--only", "accuracy"]) == 0
    table = Table.read(tmp_path / "accuracy.ecsv")
    assert set(table["method"]) == {"infer_table", "network alone", "exact grid"}
    assert {"cpu", "threads", "torch", "clusterpost", "date", "load", "command"} <= set(table.meta)
    lines = (tmp_path / "accuracy.txt").read_text().splitlines()
    assert lines[0] == lines[2] == lines[-1]
    assert len(lines) == len(table) + 4
    assert table.meta["cpu"] in (tmp_path / "machine.txt").read_text()
    with pytest.raises(SystemExit):
        benchmarks.run.main(["--only", "nothing"])


@pytest.mark.slow
def test_every_figure_is_drawn_from_the_tables(benchmarks, measured, tmp_path):
    rows = Table({"call": ["a", "a", "b"], "setting": ["s"] * 3, "rows": [10, 100, 10], "seconds": [1.0, 9.0, 2.0],
                  "peak": [300.0, 310.0, 300.0], "tables": [0.1, 1.0, 0.1]})
    stages = Table({"model": ["m", "m"], "device": ["cpu"] * 2, "stage": ["x", "y"], "share": [0.4, 0.6]})
    accuracy = Table({"mocks": ["prior"] * 2, "method": ["grid"] * 2, "seconds_per_object": [0.1, 0.2],
                      "error_p95": [0.1, 0.01]})
    dimensions = Table({"parameters": [3, 4], "grid": [0.01, 0.2], "network": [0.01, 0.011]})
    tables = {"rows": rows, "stages": stages, "accuracy": accuracy, "dimensions": dimensions}
    benchmarks.machine.write({**tables, "speed": measured["speed"]}, tmp_path, {})
    assert benchmarks.figures.draw(tmp_path) == [f"{name}.png" for name in benchmarks.figures.FIGURES]
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in benchmarks.figures.FIGURES)


def test_numbers_on_the_page(benchmarks):
    text = benchmarks.machine.as_rst(Table({"a_b": [0.012345, np.nan, 12345.6], "note": ["x", "", "z w"]}))
    assert text.splitlines() == ["======  ====", "a b     note", "======  ====",
                                 "0.0123  x", "–       –", "12346   z w", "======  ===="]


@pytest.mark.slow
def test_cores_free_and_busy(benchmarks, monkeypatch):
    monkeypatch.setattr(benchmarks.cores, "in_a_process", benchmarks.growth.measure)  # whose process has its own test
    tables = benchmarks.cores.cores("small")
    found = tables["cores"]
    processes = tables["processes"]
    assert list(processes["processes"]) == [1, max(2, benchmarks.cores.available_cores())]
    assert processes["ratio"][0] == 1
    assert 0 < processes["ratio_low"][1] <= processes["ratio"][1] <= processes["ratio_high"][1]
    assert list(found["machine"]) == ["free", "free", "busy", "busy"] * 2
    assert (found["ratio"][found["workers"] == 1] == 1).all()
    assert (found["seconds"] > 0).all()
    assert (tables["memory"]["peak"] > tables["memory"]["before"] - 1).all()
    assert (tables["memory"]["process"] >= 0).all()


@pytest.mark.slow
def test_prices_of_every_case(benchmarks):
    found = benchmarks.prices.prices("small")["prices"]
    assert list(found["case"]) == list(benchmarks.prices.CASES)
    assert np.isfinite(found["ratio"]).all()
    assert (found["error_median"] < 0.3).all()
    assert (found["error_p95"] >= found["error_median"]).all()


@pytest.mark.filterwarnings("ignore:model stochastic has no certificate")
def test_networks_of_drawn_stars_are_compared_with_brute_force(benchmarks, tiny_stochastic, shared_data, tmp_path,
                                                               capsys):
    folder = shared_data / "stochastic"
    benchmarks.stochastic.main([str(tiny_stochastic), str(folder), "--scale", "small", "-o", str(tmp_path)])
    assert "set B, brute force" in capsys.readouterr().out
    table = Table.read(tmp_path / "stochastic_accuracy.ecsv")
    assert table["compared with"].tolist() == ["set B, brute force, default draws", "set B, brute force",
                                               "set A, brute force, default draws", "set A, brute force",
                                               "set A, wider prior", "set A, wider prior, network alone",
                                               "flat prior, simulated clusters",
                                               "1e6 Msun, simulated clusters", "1e6 Msun, mean light"]
    assert (table["age_median"] > 0).all()
    assert (table["age_p95"] >= table["age_median"]).all()
    assert 0.05 < Table.read(tmp_path / "stochastic_cost.ecsv")["megabytes"][0] < 5
    # The reference itself is no distance from it, and another object's is far.
    exact = np.load(folder / "setB.npz")["quantiles"][:2, :3, 1:4]
    assert benchmarks.stochastic.errors(exact, exact).max() == 0
    assert benchmarks.stochastic.errors(exact[::-1], exact).max() > 5


@pytest.mark.slow
def test_galaxies(benchmarks, tmp_path):
    benchmarks.galaxies.main(["-o", str(tmp_path), "--mocks", "60", "--refined", "20"])
    claims = Table.read(tmp_path / "sedflow_claims.ecsv")
    (ranks,) = claims["ours"][claims["claim"] == "p-p plot and ranks"]
    assert "of 9 inside" in ranks
    (agreement,) = claims["ours"][claims["section"] == "5, Fig. 2"]
    assert agreement == "not computed"
    assert {"pp_refined.png", "sbc_network.png", "sbc_refined.ecsv"} <= {path.name for path in tmp_path.iterdir()}


def test_gpu_tables_are_of_what_the_script_found(benchmarks):
    results = {"machine": {"device": "cuda"}, "walter2025": {"seconds_per_step": {"replayed": 0.004}},
               "speed": {"galaxies, refined": {"objects_per_second": 400.0},
                         "galaxies, draws": {"draws_per_second": 7e6, "share_of_that": 0.03}}}
    steps = benchmarks.gpu_tables.step_table(results)
    assert steps["mocks_per_second"][0] == pytest.approx(512 / 0.004)
    assert steps["whole_schedule"][0] == pytest.approx(8 * 5e6 / 512 * 0.004 / 60)
    rates = benchmarks.gpu_tables.rate_table(results)
    assert [tuple(rates[name][0] for name in rates.colnames)] == [("galaxies", "refined", 400.0, 7e6, 0.03)]


def test_networks_of_galaxies_are_compared_on_the_same_mocks(benchmarks):
    model = clusterpost.load_model("galaxies")
    table = benchmarks.galaxies.architectures([model, model], n_test=200, n_mocks=2, n_draws=50)
    assert table["nll"][0] == table["nll"][1]
    assert (table["efficiency_median"] > 0).all()
    assert (table["weights"] == model.flow.spec.count_weights()).all()


@pytest.mark.slow
def test_streams_and_dask_are_timed(benchmarks):
    found = benchmarks.streams.streams("small")
    assert found["stream"]["rows"].tolist() == [60]
    assert found["stream"]["peak"][0] >= found["stream"]["before"][0]
    assert found["dask"]["workers"].tolist() == [1, 2]
    assert found["dask"]["ratio"][0] == 1
