import json
import subprocess
import sys

import pytest
import torch

from clusterpost.training.processes import Processes, join_processes

TRAIN = """
import sys
import torch
from clusterpost.errors import InputError
from clusterpost.training import fit
from clusterpost.training.processes import join_processes
from clusterpost.training.recipes import train_model, walter2025

torch.set_num_threads(1)
folder, rank = sys.argv[1], join_processes().rank
sizes = {"n_blocks": 2, "width": 16, "mocks_per_epoch": 4096, "epochs": 1, "n_validation": 500, "checkpoint_every": 4}
try:
    train_model(walter2025(**sizes, batch_size=511), folder, n_test=500)
except InputError as error:
    refusal = str(error)
seen, advance = [], fit._Run.advance
def watch(run, mocks, *rest):
    seen.append(mocks.theta.clone())
    return advance(run, mocks, *rest)
fit._Run.advance = watch
save = fit._Run.save
def stop(run, path):
    save(run, path)
    if run.step == 4 and not stopped:
        stopped.append(True)
        raise KeyboardInterrupt
fit._Run.save = stop
stopped = []
for name in ("broken", "broken", "whole"):
    try:
        card = train_model(walter2025(**sizes, batch_size=512), f"{folder}/{name}", n_test=500)
    except KeyboardInterrupt:
        continue
torch.save({"seen": seen[-8:], "card": card, "refusal": refusal}, f"{folder}/{rank}.pt")
"""


def run_two(script, folder):
    """Run a script in two processes and return what each saved in the folder, which is its argument."""
    path = folder / "script.py"
    path.write_text(script)
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(path),
                    str(folder)], check=True, capture_output=True, timeout=300)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes report of a training, and its folder."""
    folder = tmp_path_factory.mktemp("two")
    return folder, *run_two(TRAIN, folder)


def test_without_torchrun_there_is_one_process():
    tensor = torch.ones(3)
    processes = join_processes()
    processes.average([tensor])
    processes.wait()
    assert processes == Processes(0, 1)
    assert tensor.tolist() == [1, 1, 1]


def test_processes_train_one_network_with_different_mocks(two):
    folder, first, second = two
    assert first["card"] == second["card"] == json.loads((folder / "whole" / "walter2025.json").read_text())
    assert first["card"]["training"]["mocks_seen"] == 4096
    assert first["card"]["training"]["hardware"].startswith("2 x CPU")
    mocks = torch.cat([*first["seen"], *second["seen"]])
    assert len(mocks) == 4096
    assert len(mocks.unique(dim=0)) == 4096


def test_a_stopped_training_of_two_processes_continues_to_the_same_end(two):
    folder, *_ = two
    broken, whole = (json.loads((folder / name / "walter2025.json").read_text()) for name in ("broken", "whole"))
    assert broken["training"]["test_nll"] == pytest.approx(whole["training"]["test_nll"], rel=1e-6)


def test_batches_that_cannot_be_shared_are_refused(two):
    assert two[1]["refusal"] == ("2 processes cannot share batches of 511 mocks; give a multiple as batch_size")


def test_the_gradient_is_the_mean_of_the_processes(tmp_path):
    saved = run_two("""
import sys
import torch
from clusterpost.training.processes import join_processes

processes = join_processes()
tensors = [torch.full((2, 3), 1.0 + processes.rank), torch.arange(4.0) * processes.rank]
processes.average(tensors)
torch.save(tensors, f"{sys.argv[1]}/{processes.rank}.pt")
""", tmp_path)
    for one, two in saved:
        assert (one == 1.5).all()
        assert two.tolist() == [0, 0.5, 1, 1.5]
