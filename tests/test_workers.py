"""Several chunks of rows at once: the same numbers, nothing left running, and the user's torch as it was."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import clusterpost
from clusterpost import conf, exact_posterior, infer_table, log_prob, sample_posterior
from clusterpost.errors import InputError
from clusterpost.workers import available_cores, count_workers, in_parallel

pytestmark = pytest.mark.usefixtures("exact_by_default")


@pytest.fixture
def small_chunks():
    """Twelve rows of 100 draws in four chunks."""
    with conf.set_temp("points_per_pass", 300):
        yield


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
def test_an_interruption_stops_all():
    code = textwrap.dedent("""
        import signal, time
        from clusterpost.workers import in_parallel
        signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what is in the background ignore it
        def call(task):
            print("begun", flush=True)
            for _ in range(60_000):
                time.sleep(0.01)
        try:
            list(in_parallel(call, range(8), 2))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "begun\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=120)[0] == "interrupted\n"
        assert process.returncode == 0
    finally:
        process.kill()


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
