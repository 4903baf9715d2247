"""Parallel processing of chunks of rows in threads; torch releases the GIL while it computes."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from .config import conf
from .errors import InputError

__all__ = ["available_cores", "count_workers", "in_parallel"]

_AHEAD = 2  # maximum number of waiting results per worker


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
    """Call a function for each task, in threads with one torch thread each.

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

    Notes
    -----
    The calling thread only waits and keeps its own torch settings.  If it is interrupted or a call fails, running
    calls stop at their next step in Python, and no others start.
    """
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
        pool = ThreadPoolExecutor(min(workers, max(1, len(tasks))), "clusterpost", initializer=limit)
        waiting: deque = deque()
        remaining = iter(tasks)
        try:
            for task in remaining:
                waiting.append(pool.submit(call, task))
                if len(waiting) >= _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            for thread in list(running):
                # Stop between two Python steps: a chunk may take minutes, and its result is no longer needed.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Stopped))
            pool.shutdown(cancel_futures=True)


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
