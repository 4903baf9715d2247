"""Parallel processing of chunks of rows, in threads or, if they are many, in processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from .config import conf
from .errors import InputError

__all__ = ["available_cores", "count_workers", "in_parallel"]

_AHEAD = 2  # maximum number of waiting results per worker
_MANY = 64  # chunks that are worth the start of processes; they take one core 15 seconds or more
_IDLE = 60  # seconds after which idle processes end


def available_cores() -> int:
    """Count the cores that this process may use.

    Returns
    -------
    int
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_workers(workers: int | None = None, device: Any = "cpu") -> int:
    """Return the number of chunks to process in parallel.

    Parameters
    ----------
    workers : int, optional
        Number of workers; by default `clusterpost.conf.workers`, where 0 means all available cores.
    device : torch.device or str
        Device; a GPU uses one worker.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If the number is not an integer of at least one.
    """
    chosen = conf.workers or None if workers is None else workers
    if chosen is not None and (isinstance(chosen, bool) or not isinstance(chosen, int) or chosen < 1):
        raise InputError(f"option:workers={chosen!r} must be an integer of at least 1, the number of chunks of rows "
                         "to process in parallel")
    if torch.device(device).type != "cpu":
        return 1
    return available_cores() if chosen is None else chosen


def in_parallel(function: Callable, tasks: Sequence, workers: int) -> Iterator:
    """Call a function for each task, with one torch thread each.

    Parameters
    ----------
    function : callable
        Function of one task, called in inference mode.  It must not modify data that other calls read.
    tasks : sequence
    workers : int

    Yields
    ------
    object
        Results in the order of the tasks.

    Raises
    ------
    InputError
        If a worker process is killed, usually because the memory is full.

    Notes
    -----
    A few tasks run in threads, which start at once but share the GIL. Many tasks run in processes, which take a few
    seconds to start and then wait for nothing; they stay for a minute, for the next call. The numbers are the
    same. Threads are used for any number of tasks if the function cannot be pickled, or in a process that cannot have
    child processes.

    The calling thread only waits and keeps its own torch settings.  If it is interrupted or a call fails, running
    calls stop, in threads at their next step in Python, and no others start.
    """
    workers = min(workers, max(1, len(tasks)))
    pickled = _pickled(function) if workers > 1 and len(tasks) >= _MANY else None
    pool = _thread_pool(function, workers) if pickled is None else _process_pool(pickled, workers)
    with pool as submit:
        waiting: deque = deque()
        for task in tasks:
            waiting.append(submit(task))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _thread_pool(function, workers):
    """Yield a function that submits a task to threads."""
    running: set[int] = set()

    def call(task: Any) -> Any:
        """Run the function on a task in this thread."""
        running.add(threading.get_ident())
        try:
            with torch.inference_mode():
                return function(task)
        finally:
            running.discard(threading.get_ident())

    with _one_torch_thread() as limit:
        pool = ThreadPoolExecutor(workers, "clusterpost", initializer=limit)
        try:
            yield lambda task: pool.submit(call, task)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for thread in list(running):
                # Stop between two Python steps: a chunk may take minutes, and its result is no longer needed.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Stopped))
            pool.shutdown()


@contextmanager
def _process_pool(pickled, workers):
    """Yield a function that submits a task to processes, which read the pickled function once."""
    from loky import get_reusable_executor  # only large tables need it
    from loky.process_executor import BrokenProcessPool

    with tempfile.TemporaryDirectory(prefix="clusterpost-") as folder:
        path = Path(folder, "function.pickle")
        path.write_bytes(pickled)
        pool = get_reusable_executor(max_workers=workers, timeout=_IDLE, env={"OMP_NUM_THREADS": "1"})
        try:
            yield lambda task: pool.submit(_call, str(path), task)
        except BrokenProcessPool as error:
            raise InputError("a worker process ended before its rows were inferred, probably because the memory is "
                             f"full; use fewer workers (option:workers={max(1, workers // 2)})") from error
        except BaseException:
            pool.shutdown(kill_workers=True)
            raise


def _pickled(function):
    """Return the function and the settings as bytes, or None if they cannot be sent to another process."""
    if multiprocessing.current_process().daemon:  # for example a worker of a multiprocessing.Pool
        return None
    import cloudpickle  # only large tables need it

    try:
        return cloudpickle.dumps((function, {name: getattr(conf, name) for name in conf}))
    except Exception:  # any type, from the objects of the user, for example a prior with an open file
        return None


def _call(path, task):
    """Run the function in a file on a task, in a worker process."""
    with torch.inference_mode():
        return _read(path)(task)


@lru_cache(maxsize=1)
def _read(path):
    torch.set_num_threads(1)
    function, settings = pickle.loads(Path(path).read_bytes())
    for name, value in settings.items():
        setattr(conf, name, value)
    return function


class _Stopped(BaseException):
    """Raised in a thread whose result is no longer needed."""


_lock = threading.Lock()
_depth, _threads = 0, 1  # overlapping uses of `_one_torch_thread`, and the setting before the first


@contextmanager
def _one_torch_thread():
    """Yield a function that limits a new thread to one torch thread, and restore torch's setting at the end.

    The OpenMP setting belongs to each thread; that of MKL, and torch's default for new threads, to the process.
    """
    global _depth, _threads

    with _lock:
        if _depth == 0:
            _threads = torch.get_num_threads()
        _depth += 1
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                torch.set_num_threads(_threads)
