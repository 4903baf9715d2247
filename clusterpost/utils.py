"""General utilities."""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import inspect
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    import numpy as np
    import tqdm
    from astropy.table import Table

    from .typing import PathLike

__all__ = ["check_target", "exclusive", "named_options", "progress_bar", "remove_leftovers", "require",
           "to_disk", "whole_file", "write_whole"]


def named_options(hints: dict[str, str]) -> Callable:
    """Decorate a function to list its options and suggest one if it receives an unknown option.

    Parameters
    ----------
    hints : dict
        Hints for option names that the function does not have.

    Returns
    -------
    callable
        The decorator.

    Examples
    --------
    >>> from clusterpost.utils import named_options
    >>> @named_options({"color": "paint it later"})
    ... def draw(*, width=1):
    ...     return width
    >>> draw(wide=2)
    Traceback (most recent call last):
    ...
    TypeError: draw() has no option wide=; did you mean width=? It has: width
    """
    def decorate(function: Callable) -> Callable:
        """Wrap a function."""
        known = inspect.signature(function).parameters
        options = [name for name, one in known.items() if one.kind is one.KEYWORD_ONLY]

        @functools.wraps(function)
        def checked(*args: Any, **given: Any) -> Table | np.ndarray:
            """Call the function if all options are known."""
            unknown = next((name for name in given if name not in known), None)
            if unknown is None:
                return function(*args, **given)
            near = difflib.get_close_matches(unknown, options, 1)
            hint = f"; {hints[unknown]}." if unknown in hints else f"; did you mean {near[0]}=?" if near else "."
            raise TypeError(f"{function.__name__}() has no option {unknown}={hint} It has: {', '.join(options)}")

        return checked

    return decorate


@contextlib.contextmanager
def exclusive(path: PathLike, *, wait: bool = True) -> Iterator:
    """Hold a lock that excludes other processes, including those on other machines with the same file system.

    The system frees the lock of a process that dies.  The file is removed while the
    lock is held; filelock then makes waiting processes lock a new file.

    Parameters
    ----------
    path : path
        Path of the lock file, which must have no other use.
    wait : bool
        Whether to wait for a process that holds the lock.

    Raises
    ------
    TimeoutError
        If another process holds the lock and ``wait`` is False.
    InputError
        If the path is something else, such as a link, which is not followed.
    """
    from filelock import FileLock

    path = Path(path)
    if path.is_symlink() or path.is_dir():
        raise InputError(f"{path} must be a regular file, because clusterpost keeps a lock there; remove it")
    with FileLock(path, timeout=-1 if wait else 0):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows does not remove open files
                os.unlink(path)


def check_target(path: PathLike, *, overwrite: bool = False) -> None:
    """Raise before a long computation if the path cannot be written.

    Parameters
    ----------
    path : path
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If the folder does not exist, the file exists, or the path is
        not a regular file but a folder, link, pipe, or device.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_symlink():
        raise InputError(f"{path} is a link, which is not written to; give the file itself")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a pipe or a device; give a regular file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} is not writable; choose another")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give another name, or overwrite it with option:overwrite")


@contextlib.contextmanager
def whole_file(path: PathLike) -> Iterator[Path]:
    """Provide a temporary path that becomes ``path`` only on success and is exclusive to this process.

    Parameters
    ----------
    path : path
        Final path.  An existing file stays until the new one is
        complete and on disk.

    Yields
    ------
    pathlib.Path
        Path of a file with the same name in a hidden folder next to it.  Leftovers
        of a killed process in that folder are removed.

    Raises
    ------
    InputError
        As for `check_target`.
    """
    path = Path(path)
    check_target(path, overwrite=True)
    with _partial(path) as folder:
        folder.mkdir(mode=0o700)  # prevents others from placing a link there
        yield folder / path.name
        to_disk(folder / path.name)
        os.replace(folder / path.name, path)
        to_disk(path.parent)


def remove_leftovers(path: PathLike) -> None:
    """Remove the leftovers of a process that was killed while writing this file.

    Parameters
    ----------
    path : path
    """
    with _partial(Path(path)):
        pass


@contextlib.contextmanager
def _partial(path):
    """Yield the path of the hidden folder in which a file is made; it does not exist before and after."""
    folder = path.with_name(f".{path.name}.partial")
    with exclusive(path.with_name(f".{path.name}.lock")):
        _remove(folder)
        try:
            yield folder
        finally:
            _remove(folder)


def to_disk(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    with contextlib.suppress(PermissionError):  # for folders on Windows
        handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(folder):
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: PathLike, data: bytes) -> None:
    """Write bytes to a file, whole or not at all.

    Parameters
    ----------
    path : path
    data : bytes
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or raise with the install command.

    Parameters
    ----------
    module : str
        Name of the module.
    extra : str
        Extra of clusterpost that installs it.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is not installed; the message contains the install command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.split('.')[0]} is required; install it with: pip install 'clusterpost[{extra}]'"
        ) from error


def progress_bar(total: int, *, show: bool | None = None, **options: Any) -> tqdm.tqdm:
    """Make a progress bar, on standard error or as a notebook widget.

    Parameters
    ----------
    total : int
    show : bool, optional
        Whether to show the bar; by default if standard error is a terminal, and in IPython.
    **options
        Options of `tqdm.tqdm`.

    Returns
    -------
    tqdm.tqdm
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notebooks without ipywidgets get a text bar
        from tqdm.auto import tqdm

    seen = sys.stderr.isatty() or _in_ipython()
    show = seen if show is None else show
    return tqdm(total=total, disable=not show, mininterval=0.1 if seen else 30, file=sys.stderr, **options)


def _in_ipython():
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
