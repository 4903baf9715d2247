"""Installation checks: packages, bundled files, and one inference with a known result."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

__all__ = ["Finding", "check_installation"]

_NEEDED = ("numpy", "scipy", "astropy", "torch", "FrEIA", "safetensors", "msgspec", "tqdm", "pooch", "requests",
           "filelock", "loky", "cloudpickle")
_OPTIONAL = {"matplotlib": "plot", "corner": "plot", "dust_extinction": "train", "optuna": "train", "zuko": "maf",
             "pyarrow": "scale", "astroquery": "archive", "emcee": "mcmc"}
_TABLE_SHA256 = {
    "z0.008": "4f0e0b0cd0df752a76ea44c33d785ed201242b33adcb8e66d962c1269177202b",
    "z0.02": "2f57748e9d7723ea7f91635193f2b16fe76fb90485c840d5492872791cf2e52d",
    "z0.05": "bbfc2ba71a42ea2e62152f3360de9c96a679e10f7a4c5bf2e8b39e996be3fcba",
    "z0.008, further bands": "e4c5b06eb4b82d056608d1fed99705276090a5031be9730501e8b1a62098bc4e",
    "z0.02, further bands": "4bd8c002503e777d64f94e207e9be49687f535de84580affb171d69d1b570591",
    "z0.05, further bands": "ce83ae62cd5c4fbf1fbc120f4ff3076fd8fe7435e5b9a40380444232405b1e70",
    "of stars": "dfb6bac919899b8b918bf5d98203227fee8c52ef607155ad97067dca10e6a6e6",
}


@dataclass
class Finding:
    """Result of one check.

    Attributes
    ----------
    name : str
    result : str
    problem : bool
    remedy : str
        Remedy for a problem, or the command that installs an optional package.
    """

    name: str
    result: str
    problem: bool = False
    remedy: str = ""


def check_installation() -> Iterator[Finding]:
    """Check all requirements of inference one by one.

    Yields
    ------
    Finding

    Examples
    --------
    >>> from clusterpost.check import check_installation
    >>> [f.name for f in check_installation() if f.problem]
    []
    """
    broken = False
    for package in _NEEDED:
        finding = _package(package, f"pip install {package}", needed=True)
        broken |= finding.problem
        yield finding
    for package, extra in _OPTIONAL.items():
        yield _package(package, f"pip install 'clusterpost[{extra}]'", needed=False)
    if broken:
        return
    # Models need the tables, and inference needs a model, so later checks would only repeat an earlier problem.
    for look in (_tables, _models, _inference):
        found = list(look())
        yield from found
        if any(f.problem for f in found):
            return


def _package(name, install, *, needed):
    try:
        importlib.import_module(name)
        found = version(name)
    except (ImportError, PackageNotFoundError) as error:
        return Finding(name, f"cannot be imported ({error})" if needed else "not installed (optional)", needed, install)
    return Finding(name, found)


def _tables():
    from .families.clusters.table import FURTHER_BANDS, TABLES
    from .families.stochastic.table import STARS_PATH

    again = "reinstall clusterpost: pip install --force-reinstall --no-deps clusterpost"
    further = {f"{name}, further bands": path for name, path in FURTHER_BANDS.items()}
    paths = {**TABLES, **further, "of stars": STARS_PATH}
    for name, expected in _TABLE_SHA256.items():
        title = f"band-flux table {name}"
        try:
            found = hashlib.sha256(paths[name].read_bytes()).hexdigest()
        except OSError as error:
            yield Finding(title, str(error), True, again)
        else:
            damaged = found != expected
            yield Finding(title, "differs from the distributed file" if damaged else f"sha256 {found[:12]}", damaged,
                          again if damaged else "")


def _models():
    from .errors import ModelError
    from .flow.bundled import bundled_models
    from .flow.modelfile import load_model

    for name in bundled_models():
        try:
            model = load_model(name)
        except (ModelError, OSError) as error:
            yield Finding(f"model {name}", error.at_the_shell() if isinstance(error, ModelError) else str(error), True,
                          "reinstall clusterpost: pip install --force-reinstall --no-deps clusterpost")
        else:
            yield Finding(f"model {name}",
                          f"sha256 {model.metadata.sha256[:12]}, golden vectors agree, on {model.device}")


def _inference():
    import numpy as np
    from astropy.table import QTable

    from .infer import infer_table
    from .training.mocks import simulate

    truth = QTable({"age": [100.0], "mass": [1e6], "ebv": [0.2], "metallicity": [0.0], "rv": [3.1],
                    "nebular_covering": [0.5]}, units={"age": "Myr", "mass": "solMass", "ebv": "mag"})
    tbl = simulate(truth, distance=10.0)
    out = infer_table(tbl, n_samples=1000, progress=False)
    low, high = out["age_q16"][0].value, out["age_q84"][0].value
    text = f"age {low:.0f} to {high:.0f} Myr for a noiseless cluster of 100 Myr"
    # The only errors are those of the floor, so any working model includes the true age.
    if not (np.isfinite([low, high]).all() and low / 2 < 100 < high * 2):
        yield Finding("inference", text, True, "report this with the output of clusterpost check")
    else:
        yield Finding("inference", text)

