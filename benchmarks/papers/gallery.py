"""Make the figures of the documentation's gallery: every figure of both papers that this package can make.

Run ``python -m benchmarks.papers.gallery CATALOG.tab -o FOLDER`` with a catalog of the LEGUS collection, such as
``examples/legus_comparison.py`` takes.  Without a catalog the bundled example stands in for it, and the figures that
need published fits are left out.  ``--rows`` takes fewer clusters, ``--only`` fewer figures.
"""

import argparse
from functools import cached_property
from pathlib import Path

import numpy as np

import clusterpost
from clusterpost.photometry import Photometry
from clusterpost.plotting import (
    plot_chi2,
    plot_comparison,
    plot_coverage,
    plot_deviation,
    plot_flux_errors,
    plot_posterior,
    plot_pp,
    plot_predictive,
    plot_sbc,
    plot_seds,
    plot_support,
)
from clusterpost.training.simulation import Simulator
from clusterpost.validation import (
    MARGINALS,
    PosteriorSampler,
    coverage_ranks,
    draw_ensemble,
    map_chi2,
    predictive_check,
    rank_statistics,
    resimulate,
    sbc_ranks,
    tarp_ranks,
)
from clusterpost.validation.fits import closest_modes, inferred_parameters, published_fits

from .density_figures import plot_densities, plot_with_mcmc
from .maps import grid_chi2
from .noise import compare_noise, noisy_rows
from .noise_figure import plot_noise_models


def walter2025_2(data):
    """Fig. 2: relative flux errors, and fluxes under two noise models."""
    return plot_flux_errors(data.clusters)


def walter2025_3(data):
    """Fig. 3: calibration of the replica's network, without refinement."""
    sampler = PosteriorSampler("walter2025", refine=False)
    simulator = Simulator.of(sampler.model)
    n_mocks = 20_000 // data.thrift
    return plot_sbc(sbc_ranks(sampler, simulator, n_mocks=n_mocks, n_draws=100))


def walter2025_4(data):
    """Fig. 4: posterior predictive check."""
    return plot_predictive(predictive_check(data.out, n_draws=500))


def walter2025_5(data):
    """Fig. 5: densities of four examples by the network, refined and exact."""
    titles = ["very young", "young", "intermediate", "old"]
    return plot_densities(data.out[data.examples], titles=titles)


def walter2025_6(data):
    """Fig. 6 (and B.1, B.2): MAPs and closest modes against the published fits."""
    noisy = noisy_rows(data.out)[0]
    return plot_comparison(data.out, highlight=noisy, examples=data.examples)


def walter2025_7(data):
    """Fig. 7: the fluxes of the four examples at their MAPs and published fits."""
    return plot_seds(resimulate(data.out, data.examples))


def walter2025_8(data):
    """Fig. 8: chi-square of MAPs, published fits and a grid's best points."""
    published = ["chi2_catalog_free_mass", "chi2_catalog"] if data.published else []
    others = [*published, "chi2_grid"]
    chi2 = map_chi2(data.out)
    chi2["chi2_grid"] = grid_chi2(data.out)
    return plot_chi2(chi2, reference=others, examples=data.examples)


def walter2025_9(data):
    """Fig. 9: the noisy cluster whose published fit is furthest from every mode."""
    return plot_posterior(data.outlier, model="any_bands")


def walter2025_324(data):
    """Sect. 3.2.4: clusters with large ultraviolet errors under either noise."""
    return plot_noise_models(data.noise)


def walter2025_b3(data):
    """Fig. B.3: deviation from published fits against the posterior's width."""
    return plot_deviation(data.out)


def sedflow_2(data):
    """Fig. 2 of SEDflow: one posterior by Markov chains and by this package."""
    row = data.examples[1]
    return plot_with_mcmc(data.out[row:row + 1])


def sedflow_3(data):
    """Fig. 3 of SEDflow: the p-p plot of 1000 mocks."""
    return plot_pp(rank_statistics(data.ensemble, MARGINALS))


def sedflow_4(data):
    """Fig. 4 of SEDflow: simulation-based calibration with the same mocks."""
    return plot_sbc(rank_statistics(data.ensemble), bins=20)


def sedflow_5(data):
    """Figs. 1 and 5 of SEDflow: photometry that the model covers or cannot explain."""
    return plot_support(clusterpost.infer_table(data.catalog, model="any_bands"))


def coverage(data):
    """Beyond the papers: how often credible regions contain the truth."""
    return plot_coverage(coverage_ranks(data.ensemble), tarp_ranks(data.ensemble))


FIGURES = {figure.__name__: figure for figure in (
    walter2025_2, walter2025_3, walter2025_4, walter2025_5, walter2025_6, walter2025_7, walter2025_8, walter2025_9,
    walter2025_324, walter2025_b3, sedflow_2, sedflow_3, sedflow_4, sedflow_5, coverage)}
NEED_FITS = ("walter2025_6", "walter2025_b3")


class Data:
    """What the figures are made of, each made when it is first asked for."""

    def __init__(self, path, rows):
        self.published = path is not None
        self.thrift = 1 if rows is None else 10  # divides the numbers of mocks
        catalog = clusterpost.read_catalog(path, distance_source="legus") if path else clusterpost.example_catalog()
        self.catalog = catalog if rows is None else _some(catalog, np.ones(len(catalog), bool), 3 * rows)
        self.clusters = _some(catalog, self._clusters(catalog), rows)
        self._candidates = catalog[np.isin(catalog["class_mode"], [1, 2])] if path else catalog

    def _clusters(self, tbl):
        """Class 1 and 2 in five bands: with a published fit, or of the example detected in all."""
        if self.published:
            return np.isin(tbl["class_mode"], [1, 2]) & (tbl["n_filters"] == 5)
        photometry = Photometry.from_table(tbl)
        return ~(photometry.missing | photometry.limit).any(axis=1)

    @cached_property
    def out(self):
        """The clusters, inferred."""
        return clusterpost.infer_table(self.clusters, model="any_bands")

    @cached_property
    def examples(self):
        """Four clusters from very young to old, each the one of median brightness among its kind."""
        age, mass, _ = inferred_parameters(self.out, "q50").T
        rows = []
        for low, high in ((-1, 0.6), (0.6, 1.5), (1.5, 2.5), (2.5, 5)):
            among = np.flatnonzero((age > low) & (age <= high))
            if len(among):
                rows.append(int(among[np.argsort(mass[among])[len(among) // 2]]))
        return rows

    @cached_property
    def noise(self):
        """Clusters with large errors in the ultraviolet, inferred under either noise model."""
        return compare_noise(self._candidates)

    @cached_property
    def outlier(self):
        """The noisy cluster whose published fit, or else truth, lies furthest from every mode of its posterior."""
        table, prefix = self.noise, "lognormal_"
        fits = published_fits(table, None if self.published else
                              {stem: (f"{stem}_true", None, None, None, unit) for stem, unit in
                               (("age", "Myr"), ("mass", "solMass"), ("ebv", "mag"))})
        width = inferred_parameters(table, "q84", prefix=prefix) - inferred_parameters(table, "q16", prefix=prefix)
        fit = np.stack([fits[stem].value for stem in fits], -1)
        distance = np.abs(closest_modes(table, fits, prefix=prefix) - fit) / width
        row = int(table["row"][np.nanargmax(distance.max(1))])
        return self._candidates[row:row + 1]

    @cached_property
    def ensemble(self):
        """A thousand mocks, with a hundred draws from each refined posterior."""
        sampler = PosteriorSampler("any_bands")
        simulator = Simulator.of(sampler.model)
        return draw_ensemble(sampler, simulator, 1000 // self.thrift, n_draws=100)


def _some(tbl, chosen, rows):
    """So many of the chosen rows, evenly spread."""
    index = np.flatnonzero(chosen)
    return tbl[index if rows is None else index[np.linspace(0, len(index) - 1, min(rows, len(index))).astype(int)]]


def main(catalog, folder, rows, only):
    """Make them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = Data(catalog, rows)
    for name in only or FIGURES:
        if name in NEED_FITS and not data.published:
            print(f"{name}: needs a catalog with published fits")
            continue
        FIGURES[name](data).savefig(folder / f"{name}.png", dpi=110)
        print(f"{name}: {FIGURES[name].__doc__}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog", nargs="?", help="LEGUS catalog")
    parser.add_argument("-o", "--output", default="gallery", help="folder (default: %(default)s)")
    parser.add_argument("--rows", type=int, help="at most so many clusters, and fewer mocks, for a quick look")
    parser.add_argument("--only", nargs="+", choices=FIGURES, metavar="FIGURE", help=f"of {', '.join(FIGURES)}")
    arguments = parser.parse_args()
    main(arguments.catalog, arguments.output, arguments.rows, arguments.only)
