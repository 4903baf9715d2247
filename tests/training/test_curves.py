import os

import numpy as np
import pytest

from clusterpost.bands import BANDS, pivot_wavelength
from clusterpost.errors import InputError
from clusterpost.training import curves
from clusterpost.training.curves import ab_minus_vega, open_sources, read_curve, read_vega

LAYOUTS = {
    "two columns": "4000 0.0\n4500 1.0\n5000 0\n",
    "a.par": "# a comment\n\nword\n4000.0  0\n4500.0  1\n5000.0  0\n",
    "a.csv": "# NAME\tX\nWAVELENGTH,THROUGHPUT\n4000.0,0.0\n4500.0,1.0\n5000.0,0.0\n",
    "many#second": " 2 first\n1 1 1\n2 2 2\n 3 second lambda_c= 1\n1 4.0e+03 0\n2 4.5e+03 1\n3 5.0e+03 0\n",
}


@pytest.mark.parametrize("member", LAYOUTS)
def test_layouts(tmp_path, member):
    (tmp_path / member.partition("#")[0]).write_text(LAYOUTS[member])
    wave, throughput = read_curve(open_sources(tmp_path), member)
    np.testing.assert_array_equal(wave, [4000, 4500, 5000])
    np.testing.assert_array_equal(throughput, [0, 1, 0])


def test_what_no_wheel_holds_is_named(tmp_path):
    with pytest.raises(InputError, match="holds pymgal/filters/x"):
        open_sources(tmp_path)("pymgal/filters/x")


def test_ab_magnitude_of_a_known_source():
    wave = np.linspace(3000, 9000, 60001)
    flux = 3.6307805477e-20 * 2.99792458e18 / wave**2  # zero everywhere in AB
    curve = (np.linspace(4000, 5000, 7), np.array([0, 0.2, 0.9, 1, 0.4, 0.1, 0]))
    assert ab_minus_vega(curve, (wave, flux)) == pytest.approx(0, abs=1e-6)
    assert ab_minus_vega(curve, (wave, 10**-0.4 * flux)) == pytest.approx(1, abs=1e-6)


@pytest.fixture(scope="module")
def wheels():
    source = os.environ.get("CLUSTERPOST_CURVES")
    if not source or not os.path.exists(source):
        pytest.skip("set CLUSTERPOST_CURVES to the folder of wheels that clusterpost.training.curves describes")
    return source


def test_registry_holds_what_the_curves_give(wheels):
    read = open_sources(wheels)
    vega = read_vega(read)
    for name, band in BANDS.items():
        curve = read_curve(read, band.curve)
        assert pivot_wavelength(curve) == pytest.approx(band.pivot, abs=0.06), name
        assert ab_minus_vega(curve, vega) == pytest.approx(band.ab_minus_vega, abs=6e-4), name


def test_command(wheels, capsys):
    assert curves.main([str(wheels)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == list(BANDS)
