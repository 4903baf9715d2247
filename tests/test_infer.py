import copy

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from infer_tables import (
    INTEGERS,
    LEVELS,
    MODES,
    NAMES,
    PARAMETERS,
    N,
    assert_close,
    assert_same,
    in_unit,
    value,
    without,
)

import clusterpost
from clusterpost import conf, infer_table, log_prob, sample_posterior
from clusterpost.bands import WFC3_BANDS
from clusterpost.catalogs.writer import write_catalog
from clusterpost.errors import ColumnError, DistanceError, InputError, ModelError
from clusterpost.flow.modelfile import load_model
from clusterpost.priors import Exponential, ProductPrior, cluster_prior
from clusterpost.schema import output_columns

pytestmark = pytest.mark.usefixtures("exact_by_default")


def state(tbl):
    columns = {
        n: (
            value(tbl[n]).tobytes(),
            str(tbl[n].dtype),
            str(tbl[n].unit),
            tbl[n].info.description,
            copy.deepcopy(tbl[n].info.meta),
        )
        for n in tbl.colnames
    }
    return columns, copy.deepcopy(dict(tbl.meta))


# The table comes back as it was, with more columns


@pytest.mark.parametrize("kind", [Table, QTable])
def test_rows_columns_and_meta_are_kept(clusters, kind):
    tbl = kind(clusters)
    before = state(tbl)
    out = infer_table(tbl, n_samples=50)
    assert state(tbl) == before
    assert type(out) is kind
    assert len(out) == 12
    assert out.colnames == tbl.colnames + NAMES
    columns, _ = state(out)
    for name in tbl.colnames:
        assert columns[name] == before[0][name], name
    for key, kept in before[1].items():
        assert out.meta[key] == kept
    out["F275W"][0] *= 2
    out.meta["nested"]["a"].append(3)
    assert state(tbl) == before  # the copy shares nothing


def test_functions_of_draws_and_density_change_nothing(clusters):
    before = state(clusters)
    sample_posterior(clusters[:2], n_samples=20)
    log_prob(clusters, np.tile([2.0, 5.0, 0.3], (12, 1)))
    assert state(clusters) == before


def test_indices_and_masks_of_the_input(clusters):
    tbl = Table(clusters)
    tbl["note"] = MaskedColumn(np.arange(12), mask=np.arange(12) % 2 == 0)
    tbl.add_index("name")
    out = infer_table(tbl, n_samples=20)
    assert out["note"].mask.tolist() == tbl["note"].mask.tolist()
    assert out.loc["cluster 3"]["class"] == 3


def test_columns_are_as_the_registry_says(clusters):
    levels = (0.025, 0.5, 0.9973)
    for kind in (Table, QTable):
        out = infer_table(kind(clusters[:3]), n_samples=50, quantiles=levels)
        registry = output_columns(levels)
        assert out.colnames[len(clusters.colnames) :] == [c.name for c in registry]
        assert "age_q2.5" in out.colnames
        assert "stellar_mass_q99.73" in out.colnames
        for column in registry:
            got = out[column.name]
            assert (got.unit or "") == (u.Unit(column.unit) if column.unit else "")
            assert got.info.description == column.description
            assert got.info.meta["ucd"] == column.ucd
            assert got.shape == ((3, 3) if column.shape == "modes" else (3,))
            assert not isinstance(got, (MaskedColumn, Masked))
            assert isinstance(got, u.Quantity) is (kind is QTable and bool(column.unit))
            assert got.dtype == (np.int32 if column.name in INTEGERS else np.float64)


@pytest.mark.parametrize("n_modes", [1, 5])
def test_number_of_modes(clusters, n_modes):
    out = infer_table(clusters[:3], n_samples=50, n_modes=n_modes)
    for name in MODES:
        assert out[name].shape == (3, n_modes)
    assert (out["n_modes"] <= n_modes).all()


def test_prefix(clusters, inferred):
    out = infer_table(inferred, n_samples=N, prefix="new_")
    assert out.colnames == inferred.colnames + [f"new_{n}" for n in NAMES]
    for name in ("age_q50", "flag", "ebv_modes"):
        np.testing.assert_array_equal(value(out[f"new_{name}"]), value(inferred[name]))


def test_a_column_in_the_way(clusters, inferred):
    with pytest.raises(ColumnError, match=r"already has a column 'age_q16' \(and \d\d more .*give prefix="):
        infer_table(inferred)
    tbl = clusters.copy()
    tbl["flag"] = 0
    with pytest.raises(ColumnError, match=r"already has a column 'flag'; give prefix='...' or remove"):
        infer_table(tbl)


def test_provenance(clusters, inferred):
    meta = inferred.meta
    model = load_model()
    assert meta["CPMODEL"] == model.name == conf.default_model
    assert model.card["sha256"].startswith(meta["CPHASH"])
    assert (meta["CPSEED"], meta["CPDRAWS"], meta["CPFLOOR"], meta["CPNOISE"]) == (0, N, 0.05, "lognormal")
    assert meta["CPREFINE"] is True
    assert meta["CPDIST"] == "column 'distance'"
    assert meta["CPVERS"] == clusterpost.__version__
    assert "log_mass 2..8" in meta["CPPRIOR"]
    assert all(len(k) <= 8 for k in meta if k.startswith("CP"))
    other = infer_table(clusters[:1], n_samples=20, distance=7.0, error_floor=None, seed=5, refine=False).meta
    assert (other["CPFLOOR"], other["CPDIST"], other["CPSEED"], other["CPREFINE"]) == (0.0, "argument", 5, False)
    exact = clusterpost.exact_posterior(clusters[:1]).meta
    assert (exact["CPMODEL"], exact["CPNOISE"], exact["CPFLOOR"]) == ("exact grid", "lognormal", 0.05)
    assert exact["CPPRIOR"] == meta["CPPRIOR"]
    normal = infer_table(clusters[:1], n_samples=20, noise="normal", prior=cluster_prior(0.1)).meta
    assert normal["CPNOISE"] == "normal"
    assert normal["CPPRIOR"] == meta["CPPRIOR"] + ", distance error 0.1"


@pytest.mark.parametrize("refine", [True, False])
def test_numbers_are_consistent(clusters, inferred, refine):
    out = inferred if refine else infer_table(clusters, n_samples=N, refine=False)
    for name in ("age", "mass", "ebv", "stellar_mass"):
        low, mid, high = (value(out[f"{name}_{q}"]) for q in ("q16", "q50", "q84"))
        assert (low <= mid).all()
        assert (mid <= high).all()
        assert np.isfinite([low, high]).all()
    # Nothing is lost yet at 1 Myr, and more than half at 8 Gyr.
    left = value(out["stellar_mass_q50"]) / value(out["mass_q50"])
    assert (left <= 1).all()
    assert (left[value(out["age_q50"]) > 1000] < 0.7).all()
    assert (value(out["stellar_mass_q50"]) > 0.3 * value(out["mass_q50"])).all()
    there = np.arange(3) < np.asarray(out["n_modes"])[:, None]
    for name in MODES:
        np.testing.assert_array_equal(np.isfinite(value(out[name])), there)
    assert (np.nansum(out["mode_weight"], axis=1) <= 1 + 1e-6).all()
    assert (out["n_bands"] == 5).all()
    assert (out["chi2_map"] >= 0).all()
    assert ((out["support"] >= 0) & (out["support"] <= 1)).all()
    assert (value(out["age_q16"]) >= 1 - 1e-6).all()
    assert (value(out["age_q84"]) <= 13750 * (1 + 1e-6)).all()


def test_what_refinement_adds(clusters, inferred):
    """A network alone knows neither the evidence nor how good it is, and its MAP is its strongest mode."""
    assert ((inferred["efficiency"] > 0.2) & (inferred["efficiency"] <= 1)).all()
    assert np.isfinite(inferred["log_evidence"]).all()
    alone = infer_table(clusters, n_samples=N, refine=False)
    assert np.isnan(alone["efficiency"]).all()
    assert np.isnan(alone["log_evidence"]).all()
    for name in PARAMETERS:
        np.testing.assert_array_equal(value(alone[f"{name}_map"]), value(alone[f"{name}_modes"])[:, 0])
    assert np.isfinite(alone["entropy"]).all()
    assert (value(inferred["chi2_map"]) <= value(alone["chi2_map"]) + 0.3).all()


# The same whatever the order, chunk and unit


def test_seeds(clusters, inferred):
    assert_same(infer_table(clusters, n_samples=N, seed=np.int64(0)), inferred)
    other = infer_table(clusters, n_samples=N, seed=1)
    assert not np.isclose(value(other["age_q50"]), value(inferred["age_q50"]), rtol=1e-6).any()
    # and yet it is the same posterior
    width = np.log10(value(inferred["mass_q84"]) / value(inferred["mass_q16"]))
    change = np.log10(value(other["mass_q50"]) / value(inferred["mass_q50"]))
    assert (np.abs(change) < 0.5 * width).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_rows_changes_nothing(clusters, inferred, seed):
    order = np.random.default_rng(seed).permutation(12)
    assert_close(infer_table(clusters[order], n_samples=N), inferred[order])


@pytest.mark.parametrize("points_per_pass", [1, 300, 700])
@pytest.mark.parametrize("refine", [True, False])
def test_chunks_change_nothing(clusters, inferred, refine, points_per_pass):
    expected = inferred if refine else infer_table(clusters, n_samples=N, refine=False)
    with conf.set_temp("points_per_pass", points_per_pass):
        assert_close(infer_table(clusters, n_samples=N, refine=refine), expected)


def test_neighbors_do_not_matter(clusters, inferred):
    assert_close(infer_table(clusters[4:5], n_samples=N), inferred[4:5])


@pytest.mark.parametrize("unit", ["uJy", "Jy", "erg / (s cm2 AA)", "AB", "Vega"])
def test_units_change_nothing(clusters, inferred, unit):
    assert_close(infer_table(in_unit(clusters, WFC3_BANDS, unit), n_samples=N), inferred)


def test_a_floor_once_or_before_is_the_same(clusters, inferred):
    assert_close(infer_table(clusterpost.apply_error_floor(clusters, 0.05), n_samples=N), inferred)
    without = infer_table(clusters, n_samples=N, error_floor=None)
    assert not np.isclose(value(without["age_q50"]), value(inferred["age_q50"]), rtol=1e-4).all()
    assert_same(infer_table(clusters, n_samples=N, error_floor=0), without)


def test_mapped_columns(clusters, inferred):
    tbl = clusters.copy()
    for band in WFC3_BANDS:
        tbl.rename_columns([band, f"{band}_err"], [f"flux_{band}", f"unc_{band}"])
    columns = {band: (f"flux_{band}", f"unc_{band}") for band in WFC3_BANDS}
    out = infer_table(tbl, n_samples=N, columns=columns)
    assert_same(out, inferred)
    assert out.meta["CPLAYOUT"] == "columns argument"


# Options that cannot be


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_samples": 5}, InputError, "n_samples=5 must be an integer of at least 10"),
        ({"n_samples": 50.5}, InputError, "n_samples=50.5"),
        ({"n_modes": 0}, InputError, "n_modes=0"),
        ({"n_modes": 9}, InputError, "from 1 to 8"),
        ({"quantiles": (0.16, 1.0)}, InputError, "quantiles=.*between 0 and 1, such as 0.16 for 16 %"),
        ({"quantiles": (16, 84)}, InputError, "quantiles="),
        ({"quantiles": ()}, InputError, "quantiles="),
        ({"quantiles": (0.5, 0.5)}, InputError, "different"),
        ({"model": "nothing"}, ModelError, "bundled models are"),
        ({"distance": [1.0, 2.0]}, DistanceError, "2 values .* for 12 rows"),
        ({"error_floor": 2}, InputError, "error_floor=2"),
        ({"columns": {"F275W": ("a", "b")}}, ColumnError, "'a'"),
        ({"device": "gpu"}, ModelError, "'cpu' or 'cuda'"),
        ({"noise": "gaussian"}, InputError, "unknown noise model 'gaussian'; choose from lognormal, normal"),
        ({"prior": "flat"}, InputError, "prior='flat' is not a prior; give a ProductPrior"),
        ({"prior": lambda theta: theta}, InputError, r"returned the shape .*index with theta\[..., 0\]"),
        ({"prior": lambda theta: theta[..., 0] * np.nan}, InputError, "it must return a log density"),
    ],
)
def test_options_that_cannot_be(clusters, options, error, message):
    with pytest.raises(error, match=message):
        infer_table(clusters, **options)


def test_one_quantile(clusters):
    out = infer_table(clusters[:1], n_samples=20, quantiles=0.5)
    assert "age_q50" in out.colnames
    assert "age_q16" not in out.colnames


def test_progress_is_on_standard_error(clusters, capsys):
    infer_table(clusters[:2], n_samples=20)
    assert capsys.readouterr() == ("", "")
    infer_table(clusters[:2], n_samples=20, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "inferring" in shown.err


# Truth and files


def test_known_clusters(clusters):
    """Ages, masses and reddening of clean clusters to within what five bands can tell."""
    out = infer_table(clusters, n_samples=300, quantiles=(0.005, 0.995))
    for name in ("age", "mass", "ebv"):
        truth = value(clusters[f"{name}_true"])
        slack = 1.3 if name != "ebv" else 1.0
        low, high = value(out[f"{name}_q0.5"]), value(out[f"{name}_q99.5"])
        assert ((truth >= low / slack - 0.05) & (truth <= high * slack + 0.05)).sum() >= 10, name


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".vot", ".parquet"])
@pytest.mark.parametrize("kind", [Table, QTable])
def test_round_trip(tmp_path, clusters, kind, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")
    tbl = kind(clusters[:4])
    del tbl.meta["nested"]
    without(tbl, 2, "F275W", "F336W", "F438W", "F555W")  # a row that holds NaN
    out = infer_table(tbl, n_samples=20)
    path = tmp_path / f"out{suffix}"
    write_catalog(out, path)
    back = kind.read(path)
    assert back.colnames == out.colnames
    for column in output_columns(LEVELS):
        got = back[column.name]
        got = got.unmasked if isinstance(got, Masked) else got
        np.testing.assert_array_equal(value(got), value(out[column.name]), err_msg=column.name)
        assert (got.unit or "") == (out[column.name].unit or ""), column.name
        assert got.info.description.split() == column.description.split()  # a VOTable breaks lines
        assert back[column.name].info.meta["ucd"] == column.ucd
    again = clusterpost.read_catalog(path)
    for key, kept in out.meta.items():
        assert again.meta[key.upper() if suffix == ".fits" else key] == kept
    # and it can be inferred again
    second = infer_table(back, n_samples=20, prefix="b_")
    np.testing.assert_allclose(value(second["b_age_q50"]), value(out["age_q50"]), rtol=1e-5)
    assert not isinstance(second["b_age_q50"], (MaskedColumn, Masked))


def test_on_a_gpu_the_same(clusters, inferred):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    assert_close(infer_table(clusters, n_samples=N, device="cuda"), inferred)


def test_a_network_alone_takes_another_prior(clusters):
    """Draws of the network are weighted by the ratio of both priors."""
    prior = ProductPrior(ebv=Exponential(0.05))
    results = [infer_table(clusters, refine=refine, prior=p, n_samples=1000)
               for refine, p in ((False, None), (False, prior), (True, prior))]
    network, other, refined = (value(out["ebv_q50"]) for out in results)
    assert np.mean(other) < np.mean(network) - 0.02
    half = value(results[-1]["ebv_q84"] - results[-1]["ebv_q16"]) / 2
    assert np.median(np.abs(other - refined) / half) < 0.15
