import functools
import importlib
import json
import re
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy.table import Table
from small_samples import small_samples

import clusterpost
from clusterpost import cli
from clusterpost.cli import main
from clusterpost.errors import InputWarning
from clusterpost.flow.bundled import MODELS_PATH
from clusterpost.flow.modelfile import load_model
from clusterpost.priors import Exponential, PowerLaw, ProductPrior, cluster_prior
from clusterpost.training import recipes

pytestmark = pytest.mark.usefixtures("exact_by_default")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "catalog.fits"
    clusterpost.write_catalog(clusterpost.simulate(4, errors=0.1, seed=1), path)
    return path


@pytest.fixture(scope="module")
def posteriors(catalog):
    path = catalog.with_name("posteriors.fits")
    assert main(["infer", str(catalog), str(path), "-n", "50", "--quiet"]) == 0
    return path


def run(*arguments):
    return main([str(a) for a in arguments])


def files(folder):
    return sorted(p.name for p in folder.iterdir())


# infer


def test_infer(tmp_path, catalog, capsys):
    assert run("infer", catalog, tmp_path / "out.ecsv", "-n", 50) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "out.ecsv: 4 rows, 4 inferred, 0 flagged 'not inferred'" in shown.err
    out = Table.read(tmp_path / "out.ecsv")
    expected = clusterpost.infer_table(Table.read(catalog), n_samples=50)
    np.testing.assert_allclose(out["age_q50"], expected["age_q50"], rtol=1e-5)
    assert out.meta["CPDRAWS"] == 50


def test_options_reach_inference(tmp_path, catalog):
    code = run(
        "infer",
        catalog,
        tmp_path / "out.ecsv",
        "-n",
        20,
        "--quantiles",
        0.025,
        0.5,
        "--prefix",
        "p_",
        "--seed",
        3,
        "--distance",
        "9.9 Mpc",
        "--error-floor",
        0.1,
        "--model",
        "walter2025",
        "--device",
        "cpu",
    )
    assert code == 0
    out = Table.read(tmp_path / "out.ecsv")
    assert {"p_age_q2.5", "p_age_q50", "p_flag"} <= set(out.colnames)
    assert "p_age_q16" not in out.colnames
    assert (out.meta["CPSEED"], out.meta["CPFLOOR"], out.meta["CPDIST"]) == (3, 0.1, "argument")


def test_options_of_the_posterior(tmp_path, catalog):
    """What the shell says is what the call would be told."""
    tbl = Table.read(catalog)
    cases = {
        "noise": (["-n", 50, "--noise", "normal"], {"n_samples": 50, "noise": "normal"}),
        "alone": (["-n", 50, "--no-refine"], {"n_samples": 50, "refine": False}),
        "prior": (["-n", 50, "--mass-slope", -2, "--ebv-scale", 0.2, "--distance-error", 0.1],
                  {"n_samples": 50, "prior": ProductPrior(log_mass=PowerLaw(-2), ebv=Exponential(0.2),
                                                          distance_error=0.1)}),
    }
    for name, (arguments, options) in cases.items():
        path = tmp_path / f"{name}.ecsv"
        assert run("infer", catalog, path, "--quiet", *arguments) == 0
        out, expected = Table.read(path), clusterpost.infer_table(tbl, **options)
        for key in ("CPNOISE", "CPREFINE", "CPPRIOR", "CPDRAWS"):
            assert out.meta[key] == expected.meta[key], key
        for column in ("age_q50", "mass_q16", "ebv_q84", "log_evidence"):
            np.testing.assert_allclose(out[column], expected[column], rtol=1e-4, atol=1e-4, err_msg=name)


def test_exact(tmp_path, catalog, capsys):
    path = tmp_path / "exact.ecsv"
    assert run("infer", catalog, path, "--exact", "--distance-error", 0.1, "--prefix", "g_") == 0
    assert "4 rows, 4 inferred" in capsys.readouterr().err
    out = Table.read(path)
    expected = clusterpost.exact_posterior(Table.read(catalog), prior=cluster_prior(0.1))
    np.testing.assert_allclose(out["g_mass_q16"], expected["mass_q16"], rtol=1e-5)
    assert out.meta["CPMODEL"] == "exact grid"
    assert "distance error 0.1" in out.meta["CPPRIOR"]


def test_exact_of_other_noise_and_model(tmp_path, catalog):
    path, options = tmp_path / "exact.ecsv", {"noise": "normal", "model": "walter2025"}
    assert run("infer", catalog, path, "--exact", "--noise", "normal", "--model", "walter2025") == 0
    expected = clusterpost.exact_posterior(Table.read(catalog), **options)
    np.testing.assert_allclose(Table.read(path)["mass_q16"], expected["mass_q16"], rtol=1e-5)


@pytest.mark.parametrize(("text", "mpc"), [("9.9", 9.9), ("9.9 Mpc", 9.9), ("9900 kpc", 9.9), ("M74", 9.84)])
def test_distances(text, mpc):
    from clusterpost.photometry import Photometry

    tbl = clusterpost.simulate(2)
    np.testing.assert_allclose(Photometry.from_table(tbl, distance=cli._distance(text)).distance, mpc)


def test_distance_source(tmp_path):
    tbl = Table(clusterpost.simulate(2, errors=0.1, seed=1))
    tbl.remove_column("distance")
    tbl["galaxy"] = "NGC 1433"
    tbl.write(tmp_path / "mine.ecsv")
    for source, mpc in (("legus", 8.3), ("lee2022", 18.94)):
        out = tmp_path / f"{source}.fits"
        assert run("infer", tmp_path / "mine.ecsv", out, "-n", 20, "--quiet", "--distance-source", source) == 0
        assert set(Table.read(out)["distance"]) == {mpc}
    assert run("infer", tmp_path / "mine.ecsv", tmp_path / "x.fits", "--quiet", "--distance-source", "table") == 2


def test_columns(tmp_path):
    tbl = Table(clusterpost.simulate(2, errors=0.1, seed=1))
    pairs = []
    for band in ("F275W", "F336W", "F438W", "F555W", "F814W"):
        tbl.rename_columns([band, f"{band}_err"], [f"flux_{band}", f"e_{band}"])
        pairs.append(f"{band}=flux_{band},e_{band}")
    tbl.write(tmp_path / "mine.ecsv")
    assert run("infer", tmp_path / "mine.ecsv", tmp_path / "out.fits", "-n", 20, "--quiet", "--columns", *pairs) == 0
    assert np.isfinite(Table.read(tmp_path / "out.fits")["age_q50"]).all()


@pytest.mark.parametrize("pair", ["F275W", "F275W=flux", "F275W=a,b,c,d"])
def test_columns_of_a_wrong_form(tmp_path, catalog, capsys, pair):
    assert run("infer", catalog, tmp_path / "out.fits", "--columns", pair) == 2
    assert f"--columns {pair!r} does not have the form BAND=FLUX,ERR" in capsys.readouterr().err


def test_quiet(tmp_path, catalog, capsys):
    assert run("infer", catalog, tmp_path / "out.fits", "-n", 20, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_standard_error(tmp_path, catalog, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert run("infer", catalog, tmp_path / "out.fits", "-n", 20) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "inferring" in shown.err


def test_flags_are_counted(tmp_path, capsys):
    clusterpost.write_catalog(clusterpost.example_catalog()[:30], tmp_path / "example.ecsv")
    assert run("infer", tmp_path / "example.ecsv", tmp_path / "out.fits", "-n", 20) == 0
    assert "upper limit" in capsys.readouterr().err


def test_an_existing_output_is_not_replaced(tmp_path, catalog, capsys):
    path = tmp_path / "out.fits"
    path.write_text("precious")
    assert run("infer", catalog, path, "-n", 20) == 2
    assert "exists; give another name" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert run("infer", catalog, path, "-n", 20, "--overwrite") == 0
    assert len(Table.read(path)) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{catalog}", "{tmp}/out.xyz"], "no format is known for the suffix '.xyz'"),
        (["{catalog}", "{tmp}/absent/out.fits"], "does not exist; create it first"),
        (["{tmp}/absent.fits", "{tmp}/out.fits"], "absent.fits does not exist"),
        (["{catalog}", "{tmp}/out.fits", "--distance", "5 km / s"], "is not a distance"),
        (["{catalog}", "{tmp}/out.fits", "--distance", "NGC 99999"], "'NGC 99999' is not one of"),
        (["{catalog}", "{tmp}/out.fits", "--distance", "5000", "--model", "walter2025"],
         "Check the unit of the distance"),
        (["{catalog}", "{tmp}/out.fits", "--model", "nothing"], "no model 'nothing'"),
        (["{catalog}", "{tmp}/out.fits", "--quantiles", "16"], "such as 0.16 for 16 %"),
        (["{catalog}", "{tmp}/out.fits", "-n", "3"], "--n-samples 3 "),
        (["{catalog}", "{tmp}/out.fits", "--device", "gpu"], "use 'cpu' or 'cuda'"),
        (["{catalog}", "{tmp}/out.fits", "--exact", "--device", "gpu"], "use 'cpu' or 'cuda'"),
        (["{catalog}", "{tmp}/out.fits", "--exact", "-n", "50"], "omit -n"),
        (["{catalog}", "{tmp}/out.fits", "--exact", "--no-refine"], "omit --no-refine"),
        (["{catalog}", "{tmp}/out.fits", "--exact", "--model", "galaxies"], "has no exact grid"),
        (["{catalog}", "{tmp}/out.fits", "--distance-error", "5"], "relative standard deviation from 0 to below 1"),
        (["{catalog}", "{tmp}/out.fits", "--ebv-scale", "-1"], "must be positive"),
        (["{posteriors}", "{tmp}/out.fits"], "already"),
    ],
)
def test_bad_input_leaves_no_output(tmp_path, catalog, posteriors, capsys, arguments, message):
    filled = [a.format(catalog=catalog, tmp=tmp_path, posteriors=posteriors) for a in arguments]
    assert run("infer", *filled) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("clusterpost: ")
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert files(tmp_path) == []


def test_interrupted(tmp_path, catalog, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    importlib.import_module("clusterpost.scale.job")  # first, or it would keep this one
    monkeypatch.setattr("clusterpost.infer.infer_table", interrupt)
    assert run("infer", catalog, tmp_path / "out.fits") == 130
    assert "interrupted; files are written whole or not at all" in capsys.readouterr().err
    assert files(tmp_path) == []


@pytest.mark.parametrize(("where", "arguments", "said"), [
    ("clusterpost.training.mocks.simulate", ["simulate", "out.fits"], "files are written whole or not at all"),
    ("clusterpost.validation.report.validate_model", ["validate", "any_bands", "-o", "report"],
     "finished results are in report, and the same command resumes from them"),
    ("clusterpost.training.recipes.train_model", ["train", "any_bands", "-o", "run"],
     "the same command resumes from the last checkpoint or the finished trials in run"),
    ("clusterpost.catalogs.phangs.fetch_phangs", ["fetch", "NGC1433"], "complete files stay in the cache"),
    ("clusterpost.check.check_installation", ["check"], "interrupted\n"),
])
def test_an_interruption_says_what_it_leaves(tmp_path, capsys, monkeypatch, where, arguments, said):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(where, interrupt)
    assert run(*arguments) == 130
    assert said in capsys.readouterr().err


def test_targets_are_refused_before_the_work(tmp_path, catalog, capsys, monkeypatch):
    importlib.import_module("clusterpost.scale.stream")  # or it keeps what replaces its functions here

    def work(*args, **kwargs):
        raise AssertionError("began to work")

    importlib.import_module("clusterpost.scale.stream")  # first, or it would keep these
    for name in ("clusterpost.infer.infer_table", "clusterpost.training.mocks.simulate",
                 "clusterpost.catalogs.phangs.fetch_phangs", "clusterpost.catalogs.reader.read_catalog"):
        monkeypatch.setattr(name, work)
    (tmp_path / "link.fits").symlink_to(catalog)
    (tmp_path / "link.png").symlink_to(catalog)
    (tmp_path / "folder.parquet").mkdir()
    before = catalog.read_bytes()
    for arguments, said in [
        (("infer", catalog, tmp_path / "link.fits", "--overwrite"), "is a link"),
        (("infer", catalog, tmp_path / "folder.parquet", "--overwrite"), "is a folder"),
        (("simulate", tmp_path / "link.fits", "--overwrite"), "is a link"),
        (("plot", catalog, tmp_path / "link.png", "--overwrite"), "is a link"),
        (("fetch", "NGC1433", "-o", tmp_path / "link.fits", "--overwrite"), "is a link"),
    ]:
        assert run(*arguments) == 2
        assert said in capsys.readouterr().err
    assert catalog.read_bytes() == before


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal here")
def test_a_reader_that_stops_is_no_error():
    """As of ``clusterpost models --json any_bands | head -1``."""
    command = [sys.executable, "-m", "clusterpost", "models", "any_bands", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# simulate


def test_simulate(tmp_path, capsys):
    path = tmp_path / "mocks.ecsv"
    assert (
        run(
            "simulate",
            "-n",
            7,
            path,
            "--seed",
            3,
            "--distance",
            10,
            "--errors",
            0.1,
            "--noise",
            "normal",
            "--bands",
            "F275W",
            "F814W_ACS",
        )
        == 0
    )
    shown = capsys.readouterr()
    assert (shown.out, shown.err.strip()) == ("", f"{path}: 7 mocks")
    mocks = Table.read(path)
    assert (mocks["distance"] == 10).all()
    assert {"F275W", "F814W_ACS"} <= set(mocks.colnames)
    assert (mocks.meta["SIMSEED"], mocks.meta["SIMNOISE"]) == (3, "normal")
    assert run("simulate", "-n", 7, path) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "0"], "at least 1"),
        (["--bands", "F150W"], "unknown band 'F150W'; known bands: F225W"),
        (["--distance", "-3"], "must be positive"),
        (["--errors", "-1"], "cannot be negative"),
    ],
)
def test_bad_simulations(tmp_path, capsys, arguments, message):
    assert run("simulate", tmp_path / "out.fits", *arguments) == 2
    assert message in capsys.readouterr().err
    assert files(tmp_path) == []


# plot


@pytest.mark.filterwarnings("always::clusterpost.errors.InputWarning")
def test_plot(tmp_path, posteriors, capsys, coarse_figures):
    pytest.importorskip("corner")
    assert run("plot", posteriors, tmp_path / "overview.png") == 0
    assert run("plot", posteriors, tmp_path / "corner.png", "--row", 1, "--quiet") == 0
    assert "now normal" not in capsys.readouterr().err
    assert run("plot", posteriors, tmp_path / "other.png", "--row", 1, "--quiet", "--noise", "normal") == 0
    assert "noise (lognormal; now normal)" in capsys.readouterr().err
    for name in ("overview.png", "corner.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == ""
    assert files(tmp_path) == ["corner.png", "other.png", "overview.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/out.png", "--row", "4"], "--row 4 is not in .*, which has rows 0 to 3"),
        (["{tmp}/out.png", "--row", "-1"], "--row -1"),
        (["{tmp}/out.xyz"], "the file name of a figure must end in one of .png"),
        (["{tmp}/absent/out.png"], "create it first"),
    ],
)
def test_bad_plots(tmp_path, posteriors, capsys, arguments, message):
    pytest.importorskip("corner")
    assert run("plot", posteriors, *(a.format(tmp=tmp_path) for a in arguments)) == 2
    err = capsys.readouterr().err

    assert re.search(message, err), err
    assert files(tmp_path) == []


def pages(path):
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


@pytest.mark.slow
def test_kinds_of_plots(tmp_path, posteriors, capsys, coarse_figures):
    pytest.importorskip("corner")
    for kind in ("color-color", "color-magnitude", "age-mass", "mass-function", "age-distribution"):
        assert run("plot", posteriors, tmp_path / f"{kind}.svg", "--kind", kind, "--where", "age_q50 > 0") == 0
    assert run("plot", posteriors, tmp_path / "sed.pdf", "--row", 1, "--kind", "sed") == 0
    assert pages(tmp_path / "sed.pdf") == 1
    assert run("plot", posteriors, tmp_path / "all.pdf", "--kind", "corner", "--where", "mass_q50 > 0", "--quiet") == 0
    assert pages(tmp_path / "all.pdf") == 4
    capsys.readouterr()
    for arguments, message in ((("all.png", "--kind", "sed"), "figures of several rows need a .pdf file"),
                               (("a.png", "--kind", "sky", "--row", 1), "--kind sky plots the whole catalog"),
                               (("sky.png", "--kind", "sky"), "right ascension and declination with recognized names")):
        assert run("plot", posteriors, tmp_path / arguments[0], *arguments[1:]) == 2
        assert message in capsys.readouterr().err
    assert not {"all.png", "a.png", "sky.png"} & set(files(tmp_path))


def test_rows_that_cannot_be_drawn_are_named(tmp_path, posteriors, capsys, coarse_figures):
    pytest.importorskip("corner")
    tbl = clusterpost.read_catalog(posteriors)
    for name in ("F275W", "F336W", "F438W", "F555W"):
        tbl[name][2] = np.nan
    clusterpost.write_catalog(tbl, tmp_path / "some.fits")
    assert run("plot", tmp_path / "some.fits", tmp_path / "all.pdf", "--kind", "corner") == 0
    assert "1 rows were not inferred and have no page: 2" in capsys.readouterr().err
    assert pages(tmp_path / "all.pdf") == 3


def test_a_plot_is_not_replaced(tmp_path, posteriors, capsys):
    (tmp_path / "out.png").write_text("precious")
    assert run("plot", posteriors, tmp_path / "out.png") == 2
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "out.png").read_text() == "precious"


# models, train


def test_models(capsys):
    assert run("models") == 0
    shown = capsys.readouterr().out
    assert "walter2025" in shown
    assert "certificate" in shown
    assert "test_nll: nat; compares only between models of the same learned parameters" in shown
    assert run("models", "walter2025") == 0
    shown = capsys.readouterr().out
    assert "bands         F275W F336W F438W F555W F814W" in shown
    assert "certificate" in shown
    assert run("models", "walter2025", "--json") == 0
    assert json.loads(capsys.readouterr().out) == load_model("walter2025").card
    assert run("models", "nothing") == 2
    assert "bundled models are" in capsys.readouterr().err


@pytest.mark.slow
def test_validate(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    command = ["validate", "walter2025", "-o", tmp_path / "out", "-n", 40, "--draws", 20, "--network-only", "--quiet"]
    before = (MODELS_PATH / "walter2025.json").read_bytes()
    assert run(*command) == 0
    assert (MODELS_PATH / "walter2025.json").read_bytes() == before  # it was not asked to certify
    shown = capsys.readouterr()
    assert "calibration\nn_mocks: 40\nn_draws: 20" in shown.out
    assert "TARP" in shown.out
    assert shown.err == ""
    assert (tmp_path / "out" / "report.html").is_file()
    assert not (tmp_path / "out" / "parts").exists()
    assert run("validate", "nothing", "-o", tmp_path / "other") == 2
    assert "bundled models are" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_train(tmp_path, monkeypatch, capsys):
    tiny = functools.partial(recipes.walter2025, n_blocks=2, width=8, batch_size=256, n_validation=500)
    monkeypatch.setitem(recipes.RECIPES, "walter2025", tiny)
    with small_samples():
        assert run("train", "walter2025", "-o", tmp_path, "--epochs", 1, "--mocks-per-epoch", 1024) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "walter2025.safetensors: test NLL" in shown.err
    model = load_model(tmp_path / "walter2025", device="cpu")
    assert model.card["training"]["mocks_seen"] == 1024
    clusterpost.write_catalog(clusterpost.simulate(2, errors=0.1), tmp_path / "in.fits")
    assert run("infer", tmp_path / "in.fits", tmp_path / "out.fits", "-n", 20, "--model", tmp_path / "walter2025") == 0


# The program


@pytest.mark.parametrize(
    "command", [[], ["infer"], ["simulate"], ["plot"], ["models"], ["train"], ["validate"], ["check"]]
)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith("usage: clusterpost")
    assert "example" in shown.out


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["infer"], ["infer", "a", "b", "--no-such-option"]])
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "usage: clusterpost" in shown.err


def test_as_a_module():
    bad = subprocess.run([sys.executable, "-m", "clusterpost", "infer", "absent.fits", "absent-out.fits"],
                         capture_output=True, text=True, timeout=120, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("clusterpost: absent.fits does not exist")


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert (end.value.code, capsys.readouterr().out.strip()) == (0, f"clusterpost {clusterpost.__version__}")


def test_help_is_quick():
    """Nothing heavy is loaded before there is something to do."""
    code = (
        "import sys; from clusterpost.cli import main\n"
        "try: main(['infer', '--help'])\n"
        "except SystemExit: print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert shown.stdout.strip().endswith("[]")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Four clusters of two classes, one of them no cluster of the model."""
    path = tmp_path_factory.mktemp("rows") / "mixed.fits"
    tbl = clusterpost.simulate(4, seed=2)
    tbl["class"] = [1, 2, 3, 1]
    tbl["F336W"][3] *= 10  # impossible, but near enough for its posterior to be found at once
    tbl.write(path)
    return path


def test_rows_to_write(mixed, tmp_path, capsys):
    assert run("infer", mixed, tmp_path / "a.fits", "-n", 50, "--where", "class <= 2") == 0
    assert clusterpost.read_catalog(tmp_path / "a.fits")["class"].tolist() == [1, 2, 1]
    assert run("infer", mixed, tmp_path / "b.fits", "-n", 50, "--good", "--where", "class <= 2", "--prefix", "p_") == 0
    out = clusterpost.read_catalog(tmp_path / "b.fits")
    assert clusterpost.is_good(out).all()
    assert set(out["class"]) <= {1, 2}
    assert len(out) < 3
    assert run("plot", tmp_path / "a.fits", tmp_path / "a.png", "--good") == 0
    capsys.readouterr()


@pytest.mark.parametrize(("arguments", "message"), [
    (["{out}.fits", "--where", "class <"], "cannot be understood"),
    (["{out}.fits", "--where", "clas == 1"], "did you mean 'class'"),
    (["{out}.fits", "--where", "class > 5"], "none of the 4 rows satisfies"),
    (["{out}.parquet", "--where", "class > 5"], "none of the 4 rows satisfies"),
    (["{out}.parquet", "--where", "clas == 1"], "did you mean 'class'"),
    (["{out}.parquet", "--where", "class <"], "cannot be understood"),
])
def test_rows_that_cannot_be_chosen(mixed, tmp_path, capsys, arguments, message):
    assert run("infer", mixed, *(str(a).format(out=tmp_path / "out") for a in arguments)) == 2
    assert message in capsys.readouterr().err
    assert files(tmp_path) == []


def test_sample(mixed, tmp_path, capsys):
    assert run("infer", mixed, tmp_path / "out.fits", "-n", 50, "--noise", "normal", "--distance", 20) == 0
    capsys.readouterr()
    assert run("sample", tmp_path / "out.fits", tmp_path / "draws.hdf5", "-n", 30, "--dtype", "float32",
               "--where", "class == 1") == 0
    assert capsys.readouterr().err.endswith("draws.hdf5: 30 draws for each of 2 rows\n")
    draws = Table.read(tmp_path / "draws.hdf5", path="clusterpost")
    assert draws.colnames == ["class", "age", "mass", "ebv", "stellar_mass", "log_prob", "flag"]
    assert draws["age"].dtype == "float32"
    assert (draws.meta["CPNOISE"], draws.meta["CPDRAWS"]) == ("normal", 30)
    expected = clusterpost.sample_posterior(clusterpost.read_catalog(tmp_path / "out.fits"), n_samples=30)
    np.testing.assert_allclose(draws["mass"], expected["mass"].value[[0, 3]], rtol=1e-4)
    assert run("sample", tmp_path / "out.fits", tmp_path / "draws.csv") == 2
    assert "too many for a CSV file" in capsys.readouterr().err


def test_the_first_line_says_what_is_done(mixed, tmp_path, capsys):
    assert run("infer", mixed, tmp_path / "out.csv", "-n", 50, "--distance", "9.84 Mpc", "--mass-slope", -2) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("bands: F275W F336W F438W F555W F814W; distance 9.84 Mpc (")
    assert "error floor 5 %; noise lognormal; prior log_age uniform" in first
    assert "log_mass power law -2" in first
    assert {"age_mode1", "mode_weight3"} <= set(Table.read(tmp_path / "out.csv").colnames)
    tbl = clusterpost.read_catalog(mixed)
    tbl["F475W"], tbl["F475W_err"] = tbl["F438W"], tbl["F438W_err"]
    clusterpost.write_catalog(tbl, tmp_path / "more.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        assert run("infer", tmp_path / "more.fits", tmp_path / "more.csv", "-n", 50) == 0
    said = capsys.readouterr().err
    assert "F475W look" in said.replace("looks", "look")
    assert "bands: F275W F336W F438W F555W F814W; " in said  # and not the one that the model does not know
    assert run("infer", mixed, tmp_path / "flat.fits", "-n", 50, "--flat", "--quiet") == 0
    assert "age_mode2" in Table.read(tmp_path / "flat.fits").colnames
    assert capsys.readouterr().err == ""


def test_rows_and_columns_to_write_in_parts(mixed, tmp_path, capsys):
    at_once, in_parts = tmp_path / "a.fits", tmp_path / "a.parquet"
    for where in ("class <= 2", "class <= 2 and age_q50 > 0"):  # told by the input, and by the results
        for path in (at_once, in_parts):
            assert run("infer", mixed, path, "-n", 50, "--where", where, "--flat", "--overwrite",
                       *(("--rows-per-part", 1) if path is in_parts else ())) == 0
        said = capsys.readouterr().err
        assert "bands: F275W F336W F438W F555W F814W; " in said.split("a.fits: ")[1]  # before any part is inferred
        one, other = Table.read(at_once), Table.read(in_parts)
        assert one.colnames == other.colnames
        assert "age_mode2" in other.colnames
        assert other["class"].tolist() == [1, 2, 1]
        np.testing.assert_allclose(np.asarray(one["age_q50"]), np.asarray(other["age_q50"]), rtol=1e-4)
    assert run("infer", mixed, in_parts, "-n", 50, "--good", "--overwrite", "--quiet") == 0
    assert clusterpost.is_good(clusterpost.read_catalog(in_parts)).all()
    assert capsys.readouterr().err == ""


def test_improbable_results_in_parts(tmp_path, capsys):
    tbl = clusterpost.simulate(6, seed=2, distance=10)
    tbl["F336W"] *= 10
    clusterpost.write_catalog(tbl, tmp_path / "odd.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        assert run("infer", tmp_path / "odd.parquet", tmp_path / "out.parquet", "-n", 50, "--rows-per-part", 2) == 0
    said = capsys.readouterr().err
    assert "most of 6 rows fit badly" in said
    assert "(--unit)" in said


def test_a_prior_by_its_name(mixed, tmp_path, capsys):
    for options, message in (
            (["--prior", "survey"], "--prior 'survey' is not a prior; give --mass-slope or --ebv-scale"),
            (["--prior", "none", "--mass-slope", "-2"], "--prior 'none' is not a prior"),
            (["-n", "5"], "--n-samples 5 must be an integer of at least 10"),
            (["--seed", "-1"], "--seed -1 must be an integer"),
            (["--workers", "0"], "--workers 0 must be an integer of at least 1"),
            (["--error-floor", "2"], "--error-floor 2.0 must be"),
            (["--quantiles", "2"], r"--quantiles (2.0,) must be")):
        for output in ("out.fits", "out.parquet"):
            assert run("infer", mixed, tmp_path / output, *options) == 2
            assert message in capsys.readouterr().err


def test_a_mass_slope_leaves_the_rest_of_the_prior(mixed, tmp_path):
    for options, words in ((["--mass-slope", "-2"], "survey but log_mass power law -2 in 2..7"),
                           (["--prior", "flat", "--ebv-scale", "0.1", "--distance-error", "0.1"],
                            "flat but ebv exponential 0.1 in 0..1.5, distance error 0.1")):
        options = ["--model", "stochastic", "-n", 50, "--overwrite", *options]
        assert run("infer", mixed, tmp_path / "out.fits", *options) == 0
        assert clusterpost.read_catalog(tmp_path / "out.fits").meta["CPPRIOR"] == words


def test_plot_by_identifier(mixed, tmp_path, capsys, coarse_figures):
    pytest.importorskip("corner")
    tbl = clusterpost.read_catalog(mixed)
    tbl["name"] = ["n1", "n2", "n3", "n4"]
    clusterpost.write_catalog(clusterpost.infer_table(tbl, n_samples=50), tmp_path / "out.fits")
    assert run("plot", tmp_path / "out.fits", tmp_path / "a.png", "--id", "n3", "--quiet") == 0
    for arguments, message in ((("--id", "n9"), "--id n9 is not in"), (("--id", 1), "is in 2 rows of"),
                               (("--id", "n1", "--row", 0), "not both"), (("--id", "n1", "--good"), "plot one row")):
        assert run("plot", tmp_path / "out.fits", tmp_path / "b.png", *arguments) == 2
        assert message in capsys.readouterr().err


def test_wrong_arguments_come_first(capsys):
    with pytest.raises(SystemExit) as stopped:
        run("infer", "a.fits", "b.fits", "--noise", "gaussian")
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert "invalid choice: 'gaussian'" in err.splitlines()[0]
    assert err.splitlines()[1] == "usage: clusterpost infer --help"


@pytest.mark.parametrize(("options", "named"), [
    (("--distance", "5", "--error-floor", "0.3", "--mass-slope", "-2"),
     "--distance, --error-floor, --mass-slope; omit them,"),
    (("--error-floor", "0", "--seed", "0"), "--error-floor, --seed; omit them,"),
    (("--no-refine",), "--no-refine; omit it,"),
    (("--noise", "normal", "--distance-error", "0"), "--noise, --distance-error; omit them,"),
    (("--model", "any_bands", "--workers", "1", "--device", "cpu"), "--device, --model, --workers; omit them,"),
])
@pytest.mark.parametrize("kind", ["overview", "color-color", "color-magnitude", "age-mass", "sky", "support"])
def test_options_that_a_kind_does_not_use_are_refused(tmp_path, posteriors, capsys, kind, options, named):
    assert run("plot", posteriors, tmp_path / "a.png", "--kind", kind, *options) == 2
    said = capsys.readouterr().err
    assert f"--kind {kind} shows the results of {posteriors} and does not use {named}" in said
    assert "(object, corner, sed, mass-function, age-distribution)" in said
    assert files(tmp_path) == []


@pytest.mark.filterwarnings("default::clusterpost.errors.InputWarning")
@pytest.mark.parametrize("kind", ["mass-function", "age-distribution"])
def test_kinds_that_draw_take_the_options_of_the_posterior(tmp_path, posteriors, capsys, kind, coarse_figures):
    assert run("plot", posteriors, tmp_path / "own.png", "--kind", kind) == 0
    capsys.readouterr()
    options = ("--kind", kind, "--noise", "normal", "--mass-slope", "-3")
    assert run("plot", posteriors, tmp_path / "other.png", *options) == 0
    said = capsys.readouterr().err
    assert "noise (lognormal; now normal)" in said
    assert "now another" in said
    assert (tmp_path / "own.png").read_bytes() != (tmp_path / "other.png").read_bytes()
