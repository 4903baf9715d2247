r"""Generate the two files of the galaxy model: the light of the components, and the errors of mock fluxes.

The light of a galaxy's components comes from the networks of PROVABGS, which are not shipped. ::

    pip download --no-deps -d wheels speclite==1.0.0
    python -m clusterpost.training.galaxies components \
        provabgs_nmf_emulator.safetensors wheels
    python -m clusterpost.training.galaxies errors nsa.ecsv

The first file holds the arrays of the four networks ``nmf.v0.1.seed0_99.*.8x256.*`` of
https://github.com/changhoonhahn/provabgs (MIT license), those of its surviving-mass network ``emu_msurv.nmf.1``, and
the components of the histories, named as `Emulator` describes.  speclite brings the responses of the bands (Doi et
al. 2010, AJ 139, 1628; airmass 1.3).

Notes
-----
A network of PROVABGS is evaluated for star formation in one component only and with little dust; the closed form of the
dust is then removed (:mod:`clusterpost.families.galaxies.dust`).  The fraction of stars younger than 10 Myr in the
first component follows from its spectra without and with birth clouds.  The other components have no such stars.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from ..bands import get_band
from ..families.galaxies.components import COMPONENTS_PATH, chebyshev
from ..families.galaxies.dust import birth_cloud_curve, diffuse_curve
from ..families.galaxies.errors import ERRORS_PATH, measure_errors
from ..families.galaxies.forward import NANOMAGGY_MJY
from .curves import open_sources, read_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..typing import PathLike

__all__ = ["LOG_GAMMA", "MAX_REDSHIFT", "Emulator", "band_parts", "component_sets", "fit_polynomials",
           "part_weights"]

#: Largest redshift of the components.
MAX_REDSHIFT = 0.2
#: Range of log10 of the coefficients of the metallicity history (Hahn & Melchior 2022).
LOG_GAMMA = (float(np.log10(4.5e-5)), float(np.log10(1.5e-2)))
#: Sticks of galaxies with a single component.
CORNERS = ((0.0, 0.5, 0.5), (1.0, 0.0, 0.5), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0))
_LSUN = 3.846e33  # erg/s, as in FSPS
_MPC_CM = 3.0856775814913674e24
_C = 2.99792458e18  # Angstrom/s
_AB = 3631e-23  # erg/s/cm2/Hz at magnitude zero
_MJY = 3631e3  # mJy at magnitude zero
#: Number of equidistant parts of each band; those of u cover its blue peak.
_PARTS = {"u": 7, "g": 7, "r": 5, "i": 5, "z": 5}
# Angstrom.  The curve of u has a red leak and no points before it.  Interpolation over the gap, as in other codes, lets
# 0.2 % of a flat spectrum through, which is much of the u-band light of a very dusty galaxy.
_U_PEAK, _U_LEAK = (2980.0, 4160.0), (5300.0, 6450.0, 7620.0, 7941.0)
_RIDGE = 1e-6
# Optical depths of the diffuse dust and of the birth clouds at which components are evaluated: inside the training
# range of the networks, where they are better than at its edge.
_DIFFUSE, _CLOUDS = 0.3, (0.0, 1.5)


class Emulator:
    """Spectra and surviving masses from the networks of PROVABGS.

    Parameters
    ----------
    arrays : dict of str to Tensor
        Of network ``i`` (0 to 3, by wavelength): ``i.W0`` to ``i.W8`` and ``i.b0`` to ``i.b8``, ``i.alpha0`` to
        ``i.alpha7`` and ``i.beta0`` to ``i.beta7`` of its activations; ``i.param_shift``, ``i.param_scale``;
        ``i.pca_shift``, ``i.pca_scale``, ``i.pca``; ``i.spec_shift``, ``i.spec_scale``, ``i.wave``.  ``msurv.*`` of
        the surviving mass.  ``sfh_basis`` (4, n), ``zh_basis`` (2, n), ``t_lb`` (n,) in Gyr.

    Attributes
    ----------
    wavelength : ndarray (n_wavelength,)
        Rest frame, Angstrom.
    """

    def __init__(self, arrays: dict):
        self.arrays = arrays
        self.wavelength = torch.cat([arrays[f"{i}.wave"] for i in range(4)]).double().numpy()

    @classmethod
    def read(cls, path: PathLike) -> Emulator:
        """Read the arrays from a safetensors file."""
        from safetensors.torch import load_file

        return cls(load_file(str(path)))

    def ln_spectrum(self, parameters: torch.Tensor) -> torch.Tensor:
        """Emulate spectra.

        Parameters
        ----------
        parameters : Tensor (n, 9)
            Three sticks, the two metallicity coefficients (linear), tau_bc, tau_ism, dust index, and the age of the
            universe in Gyr.

        Returns
        -------
        Tensor (n, n_wavelength)
            ln of solar luminosities per Angstrom and solar mass formed.
        """
        return torch.cat([self._network(i, parameters) for i in range(4)], -1)

    def _network(self, i, x):
        def get(name):
            """Return an array of this network."""
            return self.arrays[f"{i}.{name}"]

        x = (x - get("param_shift")) / get("param_scale")
        for k in range(8):
            x = torch.addmm(get(f"b{k}"), x, get(f"W{k}"))
            x = torch.lerp(torch.sigmoid(get(f"alpha{k}") * x), torch.ones_like(x), get(f"beta{k}")) * x
        x = torch.addmm(get("b8"), x, get("W8")) * get("pca_scale") + get("pca_shift")
        return (x @ get("pca")) * get("spec_scale") + get("spec_shift")

    def surviving_mass(self, parameters: torch.Tensor) -> torch.Tensor:
        """Emulate the surviving stellar mass.

        Parameters
        ----------
        parameters : Tensor (n, 6)
            Three sticks, log10 of the metallicity coefficients, age of the universe in Gyr.

        Returns
        -------
        Tensor (n,)
            Surviving mass per mass formed.
        """
        def get(name: str) -> torch.Tensor:
            """Return an array of the network of surviving masses."""
            return self.arrays[f"msurv.{name}"]

        x = ((parameters - get("thetas_shift.nmf")) / get("thetas_scale.nmf")).float()
        for k in range(0, 18, 3):
            x = functional.leaky_relu(functional.linear(x, get(f"{k}.weight"), get(f"{k}.bias")), 0.01)
        return (x.double() * get("msurv_nmf_scale") + get("msurv_nmf_shift"))[:, 0]


def band_parts(wavelength: np.ndarray, response: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Divide a band into parts with nearly constant dust attenuation.

    Parameters
    ----------
    wavelength, response : ndarray (n,)
    name : str
        ``u``, ``g``, ``r``, ``i`` or ``z``.

    Returns
    -------
    knots : ndarray (n_part,)
        Angstrom, observer frame.  A part is the band times a triangle that falls from one at its knot to zero at the
        neighboring knots, so that no spectral feature jumps between parts with redshift.
    nodes : ndarray (n_part, 2)
        Two wavelengths per part; the mean of any quadratic function at them equals its mean over the part.
    """
    if name == "u":
        knots = np.array([*np.linspace(*_U_PEAK, _PARTS[name]), *_U_LEAK])
    else:
        on = wavelength[response > 1e-2 * response.max()]
        knots = np.linspace(on[0], on[-1], _PARTS[name])
    x = np.linspace(wavelength[0], wavelength[-1], 20001)
    nodes = []
    for weight in _triangles(knots, x) * x * np.interp(x, wavelength, response):
        mean = np.average(x, weights=weight)
        spread = np.sqrt(np.average((x - mean) ** 2, weights=weight))
        nodes.append((mean - spread, mean + spread))
    return knots, np.array(nodes)


def _triangles(knots, x):
    """Compute the weight of each part at wavelengths x, (n_part, n)."""
    return np.stack([np.interp(x, knots, row) for row in np.eye(len(knots))])


def part_weights(wavelength: np.ndarray, response: np.ndarray, knots: np.ndarray, spectrum_wavelength: np.ndarray,
                 redshift: float) -> np.ndarray:
    """Compute the contribution of each point of a spectrum to each part of a band.

    Parameters
    ----------
    wavelength, response : ndarray (n,)
        Response curve of the band.
    knots : ndarray (n_part,)
    spectrum_wavelength : ndarray (n_wavelength,)
        Rest frame.
    redshift : float

    Returns
    -------
    ndarray (n_part, n_wavelength)
        Weights that give mJy at a luminosity distance of 1 Mpc, times a rest-frame spectrum in solar luminosities per
        Angstrom.

    Notes
    -----
    Integration uses Simpson's rule between all points of spectrum, response and parts, which are piecewise linear.
    """
    observed = spectrum_wavelength * (1 + redshift)
    points = np.unique(np.concatenate([wavelength, knots, observed]))
    points = points[(points >= wavelength[0]) & (points <= wavelength[-1])]
    middle, width = (points[1:] + points[:-1]) / 2, np.diff(points)
    x = np.concatenate([points[:-1], middle, points[1:]])
    step = np.concatenate([width, 4 * width, width]) / 6
    through = np.interp(x, wavelength, response) * step
    left = np.clip(np.searchsorted(observed, x, side="right") - 1, 0, len(observed) - 2)
    fraction = (x - observed[left]) / (observed[left + 1] - observed[left])
    energy = through * x * _triangles(knots, x)
    size = len(observed)
    weights = np.stack([np.bincount(left, row * (1 - fraction), size) + np.bincount(left + 1, row * fraction, size)
                        for row in energy])
    per_maggie = np.sum(through * _AB * _C / x)
    return weights * (_MJY * _LSUN / (4 * np.pi * _MPC_CM**2 * (1 + redshift)) / per_maggie)


def component_sets(emulator: Emulator, curves: dict, redshifts: np.ndarray, n_each: int,
                   seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Evaluate the light and the surviving mass of the components.

    Parameters
    ----------
    emulator : Emulator
    curves : dict of str to (wavelength, response)
    redshifts : ndarray (n_redshift,)
    n_each : int
        Number of metallicity histories per redshift.
    seed : int

    Returns
    -------
    inputs : Tensor (n, 3)
        The two log10 coefficients of the metallicity history and the redshift, each scaled to -1..1.
    outputs : Tensor (n, 5 n_part + 4)
        ln of the light and surviving masses; see `clusterpost.families.galaxies.components.Components`.
    """
    from astropy.cosmology import Planck13

    parts = {name: band_parts(*curve, name)[0] for name, curve in curves.items()}
    used = slice(*np.searchsorted(emulator.wavelength, (2400.0, 11600.0)))
    wave = emulator.wavelength[used]
    draws = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed).draw(n_each * len(redshifts))
    log_gamma = torch.lerp(*(torch.full_like(draws, end) for end in LOG_GAMMA), draws)
    inputs, outputs = [], []
    for z, some in zip(redshifts, log_gamma.split(n_each), strict=True):
        age = float(Planck13.age(z).value)
        weights = np.concatenate([part_weights(*curves[name], edges, wave, z) for name, edges in parts.items()])
        light = _component_light(emulator, some, age, used, torch.as_tensor(wave)) @ torch.as_tensor(weights).T
        survive = torch.stack([emulator.surviving_mass(torch.cat(
            [some.new_tensor(corner).expand(len(some), 3), some, some.new_full((len(some), 1), age)], -1))
            for corner in CORNERS], -1)
        inputs.append(torch.cat([(2 * some - sum(LOG_GAMMA)) / (LOG_GAMMA[1] - LOG_GAMMA[0]),
                                 some.new_full((len(some), 1), 2 * z / MAX_REDSHIFT - 1)], -1))
        outputs.append(torch.cat([light.log().flatten(1), survive.log()], -1).float())
    return torch.cat(inputs), torch.cat(outputs)


def _component_light(emulator, log_gamma, age, used, wave):
    """Return dust-free spectra of the five components, (n, 5, n_wavelength), double."""
    def spectrum(corner, clouds):
        column = log_gamma.new_ones(len(log_gamma), 1)
        x = torch.cat([column * column.new_tensor(corner), 10**log_gamma, clouds * column, _DIFFUSE * column,
                       0 * column, age * column], -1)
        screen = _DIFFUSE * diffuse_curve(wave, wave.new_zeros(()))
        return torch.exp(emulator.ln_spectrum(x)[:, used].double() + screen)

    bare, clouded = (spectrum(CORNERS[0], depth) for depth in _CLOUDS)
    young = (bare - clouded) / -torch.expm1(-_CLOUDS[1] * birth_cloud_curve(wave))
    others = [sum(spectrum(corner, depth) for depth in _CLOUDS) / len(_CLOUDS) for corner in CORNERS[1:]]
    return torch.stack([bare - young, young, *others], 1)


def fit_polynomials(inputs: torch.Tensor, outputs: torch.Tensor, degree_gamma: int = 14,
                    degree_redshift: int = 8) -> tuple[dict, float]:
    """Fit polynomials to sets of components, by least squares.

    Parameters
    ----------
    inputs : Tensor (n, 3)
        Inputs from -1 to 1.
    outputs : Tensor (n, n_output)
    degree_gamma, degree_redshift : int
        Largest degree in the first two inputs, and in the third.

    Returns
    -------
    tensors : dict of str to Tensor
        ``degrees`` (n_term, 3) and ``coefficients`` (n_term, n_output) of products of Chebyshev polynomials.
    rms : float
        RMS error of a twentieth of the sets, held out from the fit.
    """
    degrees = torch.tensor([(i, j, k) for i in range(degree_gamma + 1) for j in range(degree_gamma + 1 - i)
                            for k in range(degree_redshift + 1)
                            if (i + j) / degree_gamma + k / degree_redshift <= 1])
    chosen = [chebyshev(x, max(degree_gamma, degree_redshift))[power].T
              for x, power in zip(inputs.double().unbind(1), degrees.unbind(1), strict=True)]
    terms = chosen[0] * chosen[1] * chosen[2]
    held = torch.arange(len(inputs)) % 20 == 0
    seen, goal = terms[~held], outputs[~held].double()
    ridge = _RIDGE * len(seen) * torch.eye(len(degrees), dtype=torch.float64)
    coefficients = torch.linalg.solve(seen.T @ seen + ridge, seen.T @ goal)
    rms = (terms[held] @ coefficients - outputs[held]).square().mean().sqrt().item()
    return {"degrees": degrees.int(), "coefficients": coefficients.float()}, rms


def _chebyshev_points(n):
    """Return points from 0 to 1 that are optimal for fitting a polynomial."""
    return (1 - np.cos(np.pi * (np.arange(n) + 0.5) / n)) / 2


def _cosmology():
    """Return polynomials in redshift, highest power first: age of the universe, and ln of distance over redshift."""
    from astropy.cosmology import Planck13

    z = 1e-4 + MAX_REDSHIFT * _chebyshev_points(60)
    curves = {"age": Planck13.age(z).value, "ln_distance": np.log(Planck13.luminosity_distance(z).to_value("Mpc") / z)}
    return {name: torch.tensor(np.polynomial.Polynomial.fit(z, y, 8).convert().coef[::-1].copy())
            for name, y in curves.items()}


def _make_components(args):
    """Write the components from the networks."""
    from safetensors.torch import save

    from ..utils import write_whole

    emulator = Emulator.read(args.emulator)
    read = open_sources(args.curves)
    files = {name: get_band(f"{name}_SDSS").curve for name in _PARTS}
    curves = {name: read_curve(read, file) for name, file in files.items()}
    redshifts = MAX_REDSHIFT * _chebyshev_points(args.redshifts)
    inputs, outputs = component_sets(emulator, curves, redshifts, args.sets, args.seed)
    sys.stderr.write(f"{len(inputs)} sets of {outputs.shape[1]} numbers\n")
    tensors, rms = fit_polynomials(inputs, outputs)
    nodes = [band_parts(*curve, name)[1] for name, curve in curves.items()]
    tensors |= {
        "wavelength": torch.tensor(np.concatenate(nodes)),
        "band": torch.tensor(np.repeat(np.arange(len(nodes)), [len(n) for n in nodes])),
        "lookback": emulator.arrays["t_lb"],
        "star_formation": emulator.arrays["sfh_basis"],
        "metallicity": emulator.arrays["zh_basis"],
        **_cosmology(),
    }
    header = {
        "format": "clusterpost galaxy components 1",
        "bands": [f"{name}_SDSS" for name in curves],
        "redshift": [0.0, MAX_REDSHIFT],
        "log_gamma": LOG_GAMMA,
        "cosmology": "astropy.cosmology.Planck13",
        "flux_unit": "ln(mJy) per solar mass formed, at a luminosity distance of 1 Mpc",
        "emulator": "PROVABGS, networks nmf.v0.1.seed0_99 (Hahn et al. 2023, ApJ 945, 16; MIT license)",
        "emulator_sha256": hashlib.sha256(Path(args.emulator).read_bytes()).hexdigest(),
        "curves": "SDSS at airmass 1.3 (Doi et al. 2010, AJ 139, 1628)",
        "curves_sha256": {name: hashlib.sha256(read(file)).hexdigest() for name, file in files.items()},
        "sha256": hashlib.sha256(tensors["coefficients"].numpy().tobytes()).hexdigest(),
        "rms": round(rms, 6),
        "source": f"python -m clusterpost.training.galaxies components --sets {args.sets} --redshifts {args.redshifts} "
                  f"--seed {args.seed}",
    }
    write_whole(args.output, save({name: x.contiguous() for name, x in tensors.items()},
                                  metadata={"header": json.dumps(header)}))
    sys.stderr.write(f"wrote {args.output}: rms {rms:.5f} in ln of light\n")


def _measure_errors(args):
    """Write the flux dependence of the errors of a catalog."""
    from astropy.table import Table

    from ..utils import write_whole

    tbl = Table.read(args.catalog)
    flux, error = (np.column_stack([np.asarray(tbl[f"nmgy_{kind}{b}"], float) for b in _PARTS]) * NANOMAGGY_MJY
                   for kind in ("", "err_"))
    good = np.asarray(tbl["clean"], bool)
    measured = measure_errors(flux[good], error[good])
    text = json.dumps({"source": f"{good.sum()} galaxies of the NASA-Sloan Atlas v0_1_2", **measured})
    write_whole(args.output, f"{text}\n".encode())
    sys.stderr.write(f"wrote {args.output}: {good.sum()} galaxies\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Generate the packaged files from the command line (see the module's docstring)."""
    parser = argparse.ArgumentParser(prog="python -m clusterpost.training.galaxies",
                                     description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    light = commands.add_parser("components", help="fit the light of the components")
    light.add_argument("emulator", help="arrays of the networks of PROVABGS (safetensors)")
    light.add_argument("curves", help="wheel of speclite 1.0.0, or a folder with it")
    light.add_argument("-o", "--output", default=str(COMPONENTS_PATH), help="file to write (default: the packaged one)")
    light.add_argument("--sets", type=int, default=200, help="metallicity histories at each redshift (%(default)s)")
    light.add_argument("--redshifts", type=int, default=81, help="number of redshifts (default: %(default)s)")
    light.add_argument("--seed", type=int, default=0)
    light.set_defaults(run=_make_components)
    errors = commands.add_parser("errors", help="measure how the errors of a catalog depend on its fluxes")
    errors.add_argument("catalog", help="galaxies with columns nmgy_u, nmgy_err_u ... in nanomaggies, and clean")
    errors.add_argument("-o", "--output", default=str(ERRORS_PATH), help="file to write (default: the packaged one)")
    errors.set_defaults(run=_measure_errors)
    args = parser.parse_args(argv)
    args.run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
