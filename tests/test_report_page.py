"""A result as one page of HTML."""

import html
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

import clusterpost
from clusterpost.citing import short_citation
from clusterpost.cli import main
from clusterpost.errors import ColumnError, InputError
from clusterpost.families import get_family
from clusterpost.families.stochastic.priors import SurveyPrior
from clusterpost.priors import BoxPrior, Exponential, FunctionPrior, Normal, PowerLaw, ProductPrior, Uniform
from clusterpost.report import _prior_words, methods_paragraph, write_report

pytest.importorskip("jinja2")
pytest.importorskip("corner")

pytestmark = pytest.mark.usefixtures("exact_by_default")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "</script><script>document.title = 'taken'</script>"


@pytest.fixture(scope="module")
def out():
    tbl = clusterpost.simulate(12, model="any_bands", seed=4, distance=10, errors=0.1)
    tbl["id"] = [f"C{i}" for i in range(11)] + [HOSTILE]
    tbl.meta["target"] = "NGC 0"
    for band in ("F275W", "F336W", "F438W", "F555W"):
        tbl[band][2] = np.nan
    out = clusterpost.infer_table(tbl, model="any_bands", n_samples=100, progress=False)
    out["flag"][5] |= 256
    return out


@pytest.fixture(scope="module")
def page(out, tmp_path_factory):
    return write_report(out, tmp_path_factory.mktemp("report") / "report.html", objects=1, progress=False)


@pytest.fixture(scope="module")
def data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def test_the_table_is_that_of_the_result(out, data):
    names = [column["name"] for column in data["columns"]]
    assert names[:4] == ["object", "age", "mass", "ebv"]
    assert [row[0] for row in data["rows"]] == list(out["id"])
    for i in (0, 7):
        expected = [float(np.asarray(out[f"mass_{end}"])[i]) for end in ("q50", "q16", "q84")]
        np.testing.assert_allclose(data["rows"][i][names.index("mass")], expected, rtol=1e-3)
    assert data["rows"][2][1] == [None, None, None]
    assert "not inferred" in data["rows"][2][names.index("flags")]
    assert data["good"] == clusterpost.is_good(out).tolist()
    x = -2.5 * np.log10(out["F555W"].value / out["F814W"].value)[0]
    magnitudes = dict(zip(data["colors"]["bands"], data["colors"]["magnitudes"][0], strict=True))
    assert magnitudes["F555W"] - magnitudes["F814W"] == pytest.approx(x, abs=2e-3)


def test_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    references = r"adsurl\s*= \{https://ui\.adsabs\.harvard\.edu/abs/[^}\s]*\}"  # text of the BibTeX, not fetched
    assert "http" not in re.sub(rf"data:image[^\"]*|{references}", "", text)
    assert HOSTILE not in text


def test_pictures_are_of_the_first_good_rows(out, page, data):
    assert list(data["pictures"]) == [str(np.flatnonzero(clusterpost.is_good(out))[0])]
    assert page.read_text().count("<img src=\"data:image/png;base64,") >= 5
    assert "Figure sky is not available: the table has no columns of right ascension" in page.read_text()


def test_methods_paragraph(out):
    text = methods_paragraph(out)
    assert "the normalizing flow any_bands (weights " in text
    assert "F275W, F336W, F438W, F555W, F814W" in text
    assert "a relative error of 5 %" in text
    assert "10 Mpc" in text
    assert f"Of 12 objects, 11 have posteriors, and {clusterpost.is_good(out).sum()} of these" in text
    assert "; Walter et al. 2026)" in text
    assert "The model is based on Bruzual & Charlot 2003, Bressan et al. 1993, " in text
    exact = clusterpost.exact_posterior(clusterpost.simulate(1, model="any_bands"), error_floor=None)
    assert "Walter" not in methods_paragraph(exact)
    assert "on a dense grid" in methods_paragraph(exact)
    assert "no systematic error" in methods_paragraph(exact)
    with pytest.raises(InputError, match="does not record how"):
        methods_paragraph(Table({"flag": [0]}))


def prior_sentence(text):
    return re.search(r"The prior is (.*?)\. (?=Draws|We adopt|Of \d)", text)[1]


def methods_with(prior, **options):
    mocks = clusterpost.simulate(1, model="any_bands", distance=10, errors=0.1)
    return methods_paragraph(clusterpost.infer_table(mocks, n_samples=50, prior=prior, progress=False, **options))


def test_methods_describe_the_recorded_prior_in_words(out):
    text = methods_paragraph(out)
    assert text.startswith("We infer age, mass and E(B-V) with clusterpost ")
    assert prior_sentence(text) == ("flat in log age (1 Myr to 13.75 Gyr), log mass (10^2 to 10^8 Msun) and E(B-V) "
                                    "(0 to 1.5 mag)")
    assert "We adopt a distance of 10 Mpc. " in text
    assert "log_age" not in text
    narrow = BoxPrior([1.0, 3.0, 0.0], [2.0, 5.5, 0.5])
    assert prior_sentence(methods_with(narrow, model="any_bands")) == (
        "flat in log age (10 Myr to 100 Myr), log mass (10^3 to 10^5.5 Msun) and E(B-V) (0 to 0.5 mag)")
    peaked = ProductPrior(log_age=Normal(1, 0.2), log_mass=PowerLaw(-2), ebv=Exponential(0.3), distance_error=0.05)
    assert prior_sentence(methods_with(peaked, model="any_bands")) == (
        "normal with a mean of 1 dex and a standard deviation of 0.2 dex in log age (1 Myr to 13.75 Gyr); a power law "
        "of index -2 in mass (10^2 to 10^8 Msun); and exponential with a scale of 0.3 mag in E(B-V) (0 to 1.5 mag). "
        "We marginalize over a relative distance error of 5 %")


def test_methods_describe_a_prior_that_is_a_function():
    def clear(theta):
        return -theta[..., 2]

    text = methods_with(FunctionPrior(clear), model="any_bands")
    assert prior_sentence(text).startswith("given by the function clear within the bounds of log age (1 Myr ")


def test_methods_describe_priors_that_depend_on_age():
    rest = ("normal with a mean of 3.1 and a standard deviation of 0.3 in R_V (2.2 to 5); exponential in E(B-V) "
            "(0 to 1.5 mag), with a scale that decreases from 0.4 mag at 10 Myr to 0.1 mag at 1 Gyr; and normal in "
            "[M/H] about -0.3 with a standard deviation of 0.2 dex below 1 Gyr and flat in [M/H] (-1.7 to 0) "
            "above 5 Gyr")
    survey = methods_with(SurveyPrior(-0.3), model="stochastic")
    assert prior_sentence(survey) == ("flat in log age (1 Myr to 13.75 Gyr), log mass (10^2 to 10^7 Msun) and nebular "
                                      f"covering fraction (0 to 1); {rest}")
    flat = prior_sentence(methods_with("flat", model="stochastic"))
    assert "E(B-V) (0 to 1.5 mag) and [M/H] (-1.699 to 0.1761)" in flat
    assert "exponential" not in flat


def test_methods_describe_a_prior_of_another_class_as_it_describes_itself():
    own = SimpleNamespace(describe=lambda: "peaked at the origin")
    family = SimpleNamespace(parameters=(), default_prior=own)
    settings = SimpleNamespace(prior=None, words=own.describe())
    assert _prior_words(settings, family) == "peaked at the origin"


def test_methods_cite_the_distances_and_keep_columns_to_themselves(out):
    several = out.copy()
    several["distance"][0] *= 2
    assert "We adopt distances of 10 to 20 Mpc. " in methods_paragraph(several)
    several.meta["CPDIST"] = "lee2022: column 'galaxy'"
    assert "We adopt distances of 10 to 20 Mpc (Lee et al. 2022). " in methods_paragraph(several)


def test_methods_cite_a_paper_with_one_year():
    text = methods_with(None, model="any_bands", noise="walter2025")
    assert set(re.findall(r"Walter et al\. (\d+)", text)) == {short_citation("walter2025")[-4:]}
    assert "The noise model is log-normal (as in Walter et al. " in text


def test_methods_of_galaxies_credit_their_own_papers():
    galaxies = clusterpost.simulate(2, model="galaxies", seed=1)
    text = methods_paragraph(clusterpost.infer_table(galaxies, model="galaxies", n_samples=50))
    assert "; Hahn & Melchior 2022)" in text
    assert "The model is based on Hahn et al. 2023, " in text
    assert all(short_citation(key) in text for key in get_family("galaxies").references)
    assert "Walter" not in text


def test_a_long_prior_has_its_own_line_in_the_summary(tmp_path):
    galaxies = clusterpost.infer_table(clusterpost.simulate(2, model="galaxies", seed=1), model="galaxies",
                                       n_samples=50)
    text = write_report(galaxies, tmp_path / "report.html", objects=0, progress=False).read_text()
    assert re.findall(r'<div class="long"><dt>(.*?)</dt>', text) == ["prior"]


def test_methods_of_many_parameters_are_short_enough_for_a_paper():
    galaxies = clusterpost.simulate(2, model="galaxies", seed=1)
    text = methods_paragraph(clusterpost.infer_table(galaxies, model="galaxies", n_samples=50))
    assert text.startswith("We infer log stellar mass formed in Msun, SFH sticks 1, 2 and 3, log metallicity "
                           "coefficients 1 and 2, birth cloud optical depth, ")
    assert prior_sentence(text) == (
        "flat in log stellar mass formed in Msun (7 to 12.5), SFH sticks 1, 2 and 3 (0 to 1), log metallicity "
        "coefficients 1 and 2 (-4.347 to -1.824), birth cloud optical depth and diffuse optical depth (0 to 3) and "
        "attenuation slope (-2 to 1)")
    narrow = ProductPrior(family="galaxies", stick2=Uniform(0.2, 0.4))
    assert "SFH sticks 1 and 3 (0 to 1), SFH stick 2 (0.2 to 0.4)," in methods_paragraph(
        clusterpost.infer_table(galaxies, model="galaxies", prior=narrow, n_samples=50))


def test_refusals(out, tmp_path):
    with pytest.raises(ColumnError, match="infer it first"):
        write_report(out["id", "F555W"], tmp_path / "a.html")
    with pytest.raises(InputError, match=r"must end in \.html"):
        write_report(out, tmp_path / "a.pdf")
    with pytest.raises(InputError, match="no row is selected"):
        write_report(out, tmp_path / "a.html", where="age_q50 < 0")
    (tmp_path / "a.html").write_text("precious")
    with pytest.raises(InputError, match="exists"):
        write_report(out, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == "precious"


@pytest.mark.slow
def test_at_the_shell(out, tmp_path, capsys):
    clusterpost.write_catalog(out, tmp_path / "out.fits")
    arguments = [str(tmp_path / name) for name in ("out.fits", "out.html")]
    assert main(["report", *arguments, "--objects", "0", "--good", "--title", "Mine", "--quiet"]) == 0
    text = (tmp_path / "out.html").read_text()
    assert "<h1>Mine</h1>" in text
    assert len(json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["rows"]) == \
        clusterpost.is_good(out).sum()
    assert main(["report", *arguments]) == 2
    assert "exists" in capsys.readouterr().err


def test_without_jinja_the_install_line_comes_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", "a.fits", str(tmp_path / "a.html")]) == 2
    assert "pip install 'clusterpost[report]'" in capsys.readouterr().err


_CLICKS = """
<script>
const said = {};
const all = selector => [...document.querySelectorAll(selector)];
const names = () => all("#table tr.row td:first-child").map(cell => cell.textContent);
const head = name => all("#table th button").find(button => button.textContent.startsWith(name));
const filter = text => {
  const box = document.getElementById("filter");
  box.value = text; box.dispatchEvent(new Event("input"));
};
said.all = names();
head("mass").click(); said.up = names();
head("mass").click(); said.down = names();
said.sorted = head("mass").parentElement.getAttribute("aria-sort");
filter("mass>1e4 age<1000"); said.filtered = names();
said.count = document.getElementById("count").textContent;
filter("C1"); said.words = names();
filter("flags:poor"); said.flagged = names();
filter(""); document.getElementById("good").click(); said.good = names().length;
document.getElementById("good").click();
document.querySelector('tr[data-row="0"]').click();
said.opened = document.querySelectorAll("tr.opened img").length;
document.querySelector('tr[data-row="4"]').click();
said.without = document.querySelector("tr.opened").textContent;
said.n_opened = document.querySelectorAll("tr.opened").length;
document.querySelectorAll("tr.chosen")[0].click(); said.closed = document.querySelectorAll("tr.opened").length;
const canvas = document.getElementById("plot"), box = canvas.getBoundingClientRect(), [x, y, i] = places[4];
const clientX = box.left + x * box.width / canvas.width, clientY = box.top + y * box.height / canvas.height;
canvas.dispatchEvent(new MouseEvent("click", {clientX, clientY}));
said.linked = document.querySelector("tr.chosen td").textContent === data.rows[i][0];
said.wide = document.documentElement.scrollWidth <= window.innerWidth;
said.width = window.innerWidth;
said.title = document.title;
</script><script>
const made = document.createElement("pre");
made.id = "said"; made.textContent = JSON.stringify(said);
document.body.replaceChildren(made);
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize("width", [1400, 420])
def test_in_a_browser(page, data, tmp_path, width):
    clicked = tmp_path / "clicked.html"
    clicked.write_text(page.read_text().replace("</body>", f"{_CLICKS}</body>"))
    done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                           f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom",
                           clicked.as_uri()], capture_output=True, text=True, check=True, timeout=300)
    assert "CONSOLE" not in done.stderr, done.stderr
    said = json.loads(html.unescape(re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)[1]))
    names, masses = [row[0] for row in data["rows"]], [row[2][0] for row in data["rows"]]
    ages = [row[1][0] for row in data["rows"]]
    there = [i for i in range(12) if masses[i] is not None]
    up = sorted(there, key=lambda i: masses[i])
    assert said["all"] == names
    assert said["up"] == [names[i] for i in (*up, 2)]  # what was not inferred comes last
    assert said["down"] == [names[i] for i in (*up[::-1], 2)]
    assert said["sorted"] == "descending"
    assert said["filtered"] == [names[i] for i in up[::-1] if masses[i] > 1e4 and ages[i] < 1000]
    assert said["count"] == f"{len(said['filtered'])} of 12 rows"
    assert set(said["words"]) == {"C1", "C10"}
    assert "C5" in said["flagged"]
    assert said["good"] == sum(data["good"])
    assert said["opened"] == 1
    assert "clusterpost plot" in said["without"]
    assert (said["n_opened"], said["closed"]) == (1, 0)
    assert said["linked"]
    assert said["wide"], said["width"]
    assert said["title"] == "Posteriors of NGC 0"
