"""Small tools that every room may use."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from pathlib import Path

__all__ = ["lazy_names", "progress_bar", "require", "whole_file", "write_whole"]


@contextlib.contextmanager
def whole_file(path):
    """Give a temporary path beside ``path`` that becomes it only on success.

    Parameters
    ----------
    path : path
        The file to appear.  What was there before stays until the new one is whole.

    Yields
    ------
    pathlib.Path
        The same name in a folder of its own, to write to.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise OSError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    # In a folder that nobody else can write to, so that no link can take its place.
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        temporary = Path(folder, path.name)
        yield temporary
        os.replace(temporary, path)


def write_whole(path, data: bytes):
    """Write bytes to a file, whole or not at all.

    Parameters
    ----------
    path : path
    data : bytes
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def require(module: str, extra: str):
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


def progress_bar(total, *, show=None, **options):
    """A progress bar on standard error.

    Parameters
    ----------
    total : int
    show : bool, optional
        By default only where standard error is a terminal.
    **options
        Of `tqdm.tqdm`.

    Returns
    -------
    tqdm.tqdm
    """
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    show = terminal if show is None else show
    return tqdm(total=total, disable=not show, mininterval=0.1 if terminal else 30, file=sys.stderr, **options)


def lazy_names(package, homes):
    """Functions by which a package's public names are imported on first use (PEP 562).

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : dict
        The module of each name, relative to the package.

    Returns
    -------
    getattr, dir : callable
        To be bound to the package's ``__getattr__`` and ``__dir__``.
    """

    def get(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{homes[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *sys.modules[package].__all__})
