"""Small tools that every room may use."""

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
    """Have a function say which options it has, and which of them may be meant, where it is given another.

    Parameters
    ----------
    hints : dict
        What to say of names that the function does not have.

    Returns
    -------
    callable
        A decorator.

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
            """Call the function if it has all options."""
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
    """Hold a lock that excludes other processes, also those on other machines with the same file system.

    The system frees the lock of a process that dies.  The file goes while the
    lock is held: who has it open then is told by filelock that it is gone, and
    locks a new one.

    Parameters
    ----------
    path : path
        Of the lock file, which must not be used for anything else.
    wait : bool
        Wait for a process that holds it.

    Raises
    ------
    TimeoutError
        If another process holds it and ``wait`` is False.
    InputError
        If there is something else in its place, such as a link, which is not followed.
    """
    from filelock import FileLock

    path = Path(path)
    if path.is_symlink() or path.is_dir():
        raise InputError(f"{path} is no file of its own, where clusterpost keeps a lock; remove it")
    with FileLock(path, timeout=-1 if wait else 0):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file
                os.unlink(path)


def check_target(path: PathLike, *, overwrite: bool = False) -> None:
    """Raise before long work if no file can be written to this path.

    Parameters
    ----------
    path : path
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    InputError
        If the folder is absent, the file exists, or there is something that is
        no plain file: a folder, a link, a pipe or a device.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_symlink():
        raise InputError(f"{path} is a link, which is not written to; name the file itself")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a pipe or a device and no plain file; name another")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: nothing can be written to the folder {path.parent}; choose another")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give another name, or overwrite it with option:overwrite")


@contextlib.contextmanager
def whole_file(path: PathLike) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` only on success, and that no other process has.

    Parameters
    ----------
    path : path
        The file to appear.  What was there before stays until the new one is
        whole and on the disk.

    Yields
    ------
    pathlib.Path
        A file of the same name, to be made, in a hidden folder beside it.  What
        a killed process left of that folder is removed.

    Raises
    ------
    InputError
        As from `check_target`.
    """
    path = Path(path)
    check_target(path, overwrite=True)
    with _partial(path) as folder:
        folder.mkdir(mode=0o700)  # so that nobody else can put a link there
        yield folder / path.name
        to_disk(folder / path.name)
        os.replace(folder / path.name, path)
        to_disk(path.parent)


def remove_leftovers(path: PathLike) -> None:
    """Remove what a process that was killed while it wrote this file left beside it.

    Parameters
    ----------
    path : path
    """
    with _partial(Path(path)):
        pass


@contextlib.contextmanager
def _partial(path):
    """Give the name of the hidden folder that a file is made in, which is not there before and after."""
    folder = path.with_name(f".{path.name}.partial")
    with exclusive(path.with_name(f".{path.name}.lock")):
        _remove(folder)
        try:
            yield folder
        finally:
            _remove(folder)


def to_disk(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    with contextlib.suppress(PermissionError):  # of folders on Windows
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
    """Import an optional module, or say how to install it.

    Parameters
    ----------
    module : str
        Name to import.
    extra : str
        The extra of clusterpost that brings it.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        With the install line.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.split('.')[0]} is needed for this; install it with: pip install 'clusterpost[{extra}]'"
        ) from error


def progress_bar(total: int, *, show: bool | None = None, **options: Any) -> tqdm.tqdm:
    """Make a progress bar: on standard error, or in a notebook a widget.

    Parameters
    ----------
    total : int
    show : bool, optional
        By default where standard error is a terminal, and in IPython.
    **options
        Of `tqdm.tqdm`.

    Returns
    -------
    tqdm.tqdm
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets is given a bar of text
        from tqdm.auto import tqdm

    seen = sys.stderr.isatty() or _in_ipython()
    show = seen if show is None else show
    return tqdm(total=total, disable=not show, mininterval=0.1 if seen else 30, file=sys.stderr, **options)


def _in_ipython():
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
