"""Several chunks of rows in parallel: the same numbers, nothing left running, and torch's settings as they were."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import clusterpost
from clusterpost import conf, exact_posterior, infer_table, log_prob, sample_posterior
from clusterpost import workers as module
from clusterpost.errors import InputError
from clusterpost.inference import _split
from clusterpost.workers import available_cores, count_workers, in_parallel

pytestmark = pytest.mark.usefixtures("exact_by_default")


@pytest.fixture
def small_chunks():
    """Twelve rows of 100 draws in four chunks."""
    with conf.set_temp("points_per_pass", 300):
        yield


@pytest.fixture
def processes(monkeypatch):
    """Processes for any number of chunks."""
    monkeypatch.setattr(module, "_MANY", 1)


@pytest.fixture(scope="module")
def mocks():
    return clusterpost.simulate(12, seed=4)


def same(one, other):
    return all(np.array_equal(np.asarray(one[name]), np.asarray(other[name]), equal_nan=True)
               for name in one.colnames if one[name].dtype.kind in "fi")


@pytest.mark.parametrize("call", [infer_table, sample_posterior])
@pytest.mark.parametrize("workers", [2, 5])
def test_numbers_are_the_same_to_the_last_digit(small_chunks, mocks, call, workers):
    options = {"n_samples": 100, "progress": False}
    assert same(call(mocks, workers=workers, **options), call(mocks, workers=1, **options))


def test_numbers_of_the_grid_are_the_same(mocks):
    with conf.set_temp("points_per_pass", 3000):
        assert same(exact_posterior(mocks[:6], workers=3, progress=False),
                    exact_posterior(mocks[:6], workers=1, progress=False))


def test_densities_are_the_same(small_chunks, mocks):
    theta = np.tile([1.5, 4.0, 0.3], (12, 1))
    assert np.array_equal(log_prob(mocks, theta, workers=3), log_prob(mocks, theta, workers=1))


def test_chunks_are_really_at_work_at_the_same_time():
    both = threading.Barrier(2, timeout=60)
    assert sorted(in_parallel(lambda task: both.wait() * 0 + task, [1, 2], 2)) == [1, 2]


def test_one_torch_thread_inside_and_the_users_setting_after():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        inside = list(in_parallel(lambda task: torch.get_num_threads(), range(4), 2))
        assert inside == [1, 1, 1, 1]
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 3
        with pytest.raises(ZeroDivisionError):
            list(in_parallel(lambda task: 1 / task, [1, 0], 2))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_two_uses_at_once_leave_the_setting_as_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        one, two = in_parallel(str, range(4), 1), in_parallel(str, range(4), 1)
        next(one), next(two)
        assert list(one) == ["1", "2", "3"] == list(two)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_failure_stops_the_others():
    """The first call fails at once; the other would go on for a minute."""
    ended = threading.Event()

    def call(task):
        if task == 0:
            time.sleep(0.2)
            raise InputError("no")
        try:
            for _ in range(60_000):
                time.sleep(0.01)
        finally:
            ended.set()

    with pytest.raises(InputError, match="no"):
        list(in_parallel(call, [0, 1], 2))
    assert ended.wait(5)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("n_tasks", [8, 100], ids=["threads", "processes"])
def test_an_interruption_stops_all(n_tasks):
    """The signal reaches all processes, as Ctrl-C in a terminal does."""
    code = textwrap.dedent("""
        import os, signal, sys, time
        from clusterpost.workers import in_parallel
        signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what is in the background ignore it
        def call(task):
            os.write(1, f"begun {os.getpid()}\\n".encode())  # whole, where the print of two threads may mix
            for _ in range(60_000):
                time.sleep(0.01)
        try:
            list(in_parallel(call, range(int(sys.argv[1])), 2))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", code, str(n_tasks)], text=True, start_new_session=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        begun = [process.stdout.readline().split() for _ in range(2)]
        assert [word for word, _ in begun] == ["begun", "begun"]
        assert all((int(number) == process.pid) == (n_tasks < module._MANY) for _, number in begun)
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=120) == ("interrupted\n", "")
        assert process.returncode == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("call", [infer_table, sample_posterior])
def test_processes_give_the_same_numbers(processes, small_chunks, mocks, call):
    options = {"n_samples": 100, "progress": False}
    assert same(call(mocks, workers=2, **options), call(mocks, workers=1, **options))


def test_processes_integrate_the_same_grid_and_evaluate_the_same_density(processes, mocks):
    theta = np.tile([1.5, 4.0, 0.3], (12, 1))
    with conf.set_temp("points_per_pass", 3000):
        assert same(exact_posterior(mocks[:6], workers=2, progress=False),
                    exact_posterior(mocks[:6], workers=1, progress=False))
        assert np.array_equal(log_prob(mocks, theta, workers=2), log_prob(mocks, theta, workers=1))


def test_a_prior_of_the_user_is_known_in_processes(processes, small_chunks, mocks):
    lean = -1.5
    options = {"prior": lambda theta: lean * theta[..., 1], "n_samples": 100, "progress": False}
    assert same(infer_table(mocks, workers=2, **options), infer_table(mocks, workers=1, **options))


def test_processes_have_one_torch_thread_and_the_settings_of_the_caller(processes):
    with conf.set_temp("points_per_pass", 777):
        found = list(in_parallel(lambda task: (os.getpid(), torch.get_num_threads(), conf.points_per_pass, task),
                                 range(4), 2))
    assert os.getpid() not in {pid for pid, *_ in found}
    assert [rest for _, *rest in found] == [[1, 777, task] for task in range(4)]


def test_a_failure_in_a_process_is_raised_here(processes):
    with pytest.raises(InputError, match="row 3"):
        list(in_parallel(lambda task: (_ for _ in ()).throw(InputError("row 3")), range(4), 2))
    assert list(in_parallel(lambda task: task, range(4), 2)) == [0, 1, 2, 3]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="sends a signal")
def test_a_killed_process_names_the_remedy(processes):
    with pytest.raises(InputError, match="memory is full; use fewer workers"):
        list(in_parallel(lambda task: os.kill(os.getpid(), signal.SIGKILL), range(4), 2))
    assert list(in_parallel(lambda task: task, range(4), 2)) == [0, 1, 2, 3]


@pytest.mark.parametrize("reason", ["lock", "daemon"])
def test_threads_where_processes_cannot_be(processes, monkeypatch, reason):
    lock = threading.Lock() if reason == "lock" else None
    if reason == "daemon":
        monkeypatch.setattr(module.multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    assert set(in_parallel(lambda task: (os.getpid(), lock)[0], range(4), 2)) == {os.getpid()}


@pytest.mark.parametrize(("n_rows", "n_chunks"), [(1, 1), (60, 1), (300, 4), (700, 8), (1000, 8), (1100, 16),
                                                  (8192, 64)])
def test_chunks_are_shared_evenly(n_rows, n_chunks):
    """Otherwise two workers take as long for nine chunks as for ten."""
    chunks = _split(n_rows, 1000, "cpu")
    assert len(chunks) == n_chunks
    assert [i for chunk in chunks for i in range(n_rows)[chunk]] == list(range(n_rows))
    assert max(chunk.stop - chunk.start for chunk in chunks) * 1000 <= conf.points_per_pass


def test_one_row_of_many_draws_is_one_chunk():
    assert [len(range(12)[chunk]) for chunk in _split(12, 10 * conf.points_per_pass, "cpu")] == [1] * 12


def test_how_many():
    assert count_workers() == available_cores()
    assert count_workers(3) == 3
    assert count_workers(3, "cuda") == 1
    with conf.set_temp("workers", 2):
        assert count_workers() == 2
        assert count_workers(1) == 1


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "two"])
def test_no_number_of_workers(mocks, workers):
    with pytest.raises(InputError, match="workers="):
        infer_table(mocks, workers=workers)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_only_the_cores_that_the_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
