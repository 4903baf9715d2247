"""A model's calibration as a table and figures in a folder."""

from astropy.table import Table

from clusterpost import load_model
from clusterpost.validation import validate_model


def test_table_and_figures_are_written(tmp_path):
    folder = tmp_path / "new" / "folder"
    table = validate_model("walter2025", folder, n_mocks=60, n_draws=20, seed=3, refine=False, progress=False)
    assert list(table["statistic"]) == ["T1", "T2", "T3", "T4", "T5", "T6"]
    assert sorted(p.name for p in folder.iterdir()) == ["sbc_network.ecsv", "sbc_network.png", "training.png"]
    written = Table.read(folder / "sbc_network.ecsv")
    assert written.meta["n_mocks"] == 60
    assert written.meta["sha256"] == load_model("walter2025").card["sha256"]


def test_seeds_give_other_mocks(tmp_path):
    options = {"n_mocks": 40, "n_draws": 10, "refine": False, "progress": False}
    one, same, other = (validate_model("walter2025", tmp_path, seed=seed, **options) for seed in (1, 1, 2))
    assert (one["max_difference"] == same["max_difference"]).all()
    assert one.meta["mean_nll"] == same.meta["mean_nll"]
    assert one.meta["mean_nll"] != other.meta["mean_nll"]
