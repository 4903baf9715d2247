import pytest

from clusterpost.bands import BANDS
from clusterpost.training.stars import __main__ as command


def run(*options):
    return command.main(["--isochrones", "a", "--spectra", "b", "--atmospheres", "c", "--wheels", "d", *options])


def test_bands_that_the_table_needs_are_asked_for(capsys):
    with pytest.raises(SystemExit):
        run("--bands", "F336W", "F438W", "F814W", "F160W_IR")
    assert "also needs F275W, F555W, V_JC:" in capsys.readouterr().err


def test_the_packaged_table_has_the_bands_of_hst_and_johnson():
    instruments = {"WFC3/UVIS", "ACS/WFC", "WFC3/IR", "Johnson-Cousins"}
    assert set(command.STAR_BANDS) == {name for name, band in BANDS.items() if band.instrument in instruments}
