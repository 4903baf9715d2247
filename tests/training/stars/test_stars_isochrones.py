import numpy as np
import pytest

from clusterpost.errors import InputError
from clusterpost.training.stars.isochrones import (
    ISOCHRONE_FILES,
    chabrier_number,
    read_isochrones,
    remnant_mass,
    resample,
)

#: initial mass, present mass, log L, log Teff, log g, composition, phase
ROWS = np.array([
    [0.08, 0.08, -3.6, 3.364, 5.3, 0.48, 0],
    [1.0, 1.0, 0.0, 3.76, 4.4, 0.48, 0],
    [2.0, 1.98, 1.2, 3.9, 4.2, 0.48, 0],
    [2.1, 2.0, 3.0, 3.55, 1.0, 0.48, 5],
    [2.11, 0.7, 3.9, 3.45, 0.0, 0.48, 5],
])


def test_the_imf_holds_one_solar_mass():
    assert chabrier_number(0.1, 100) == pytest.approx(1.487, abs=5e-4)
    edges = np.geomspace(0.1, 100, 4001)
    number, mass = chabrier_number(edges[:-1], edges[1:]), np.sqrt(edges[:-1] * edges[1:])
    assert np.sum(number * mass) == pytest.approx(1, abs=1e-4)
    # what the realized mass of a cluster scatters by
    assert np.sum(number * mass**2) == pytest.approx(8.4, abs=0.05)
    assert chabrier_number(0.01, 0.1) == 0


def test_pieces_are_narrow_and_count_every_star():
    stars = resample(ROWS, 9.0)
    below = stars.phase != 5
    assert stars.number[below].sum() == pytest.approx(chabrier_number(0.1, 2.05), rel=1e-3)
    assert (np.diff(stars.initial) > 0).all()
    assert np.abs(np.diff(stars.log_l[below])).max() < 0.045
    assert np.abs(np.diff(stars.log_t[below])).max() < 0.016
    # log g from mass, luminosity and temperature: the Sun's
    sun = np.argmin(np.abs(stars.initial - 1))
    assert stars.log_g[sun] == pytest.approx(4.43, abs=0.03)


@pytest.mark.parametrize(("log_age", "weight"), [(8.0, 0.1), (9.0, 10**-0.6), (10.0, 10**-0.2)])
def test_tp_agb_stars_count_for_less(log_age, weight):
    stars = resample(ROWS, log_age)
    giants = stars.phase == 5
    assert stars.number[giants].sum() == pytest.approx(weight * chabrier_number(2.05, 2.11), rel=0.05)


def test_remnants():
    assert remnant_mass(100) == 0
    heavy = chabrier_number(np.geomspace(40, 100, 2001)[:-1], np.geomspace(40, 100, 2001)[1:])
    middle = np.sqrt(np.geomspace(40, 100, 2001)[:-1] * np.geomspace(40, 100, 2001)[1:])
    assert remnant_mass(40) == pytest.approx(np.sum(0.5 * heavy * middle), rel=1e-2)
    assert remnant_mass(8.5) - remnant_mass(40) == pytest.approx(1.4 * chabrier_number(8.5, 40), rel=1e-2)


def test_readers_layout(tmp_path):
    path = tmp_path / f"isoc_z{ISOCHRONE_FILES[0.02]}.dat"
    lines = [f"  {age:.2f} " + " ".join(f"{value:.4f}" for value in row) for age in (6.0, 6.05) for row in ROWS]
    path.write_text("# log(age)    Mini       Mact  logl  logt  logg  Composition  Phase\n" + "\n".join(lines) + "\n")
    found = read_isochrones(tmp_path, 0.02)
    assert list(found) == [6.0, 6.05]
    np.testing.assert_allclose(found[6.05], ROWS, atol=1e-4)


def test_what_is_no_isochrone_is_named(tmp_path):
    with pytest.raises(InputError, match=r"isoc_z0\.0190\.dat"):
        read_isochrones(tmp_path, 0.02)
    (tmp_path / "isoc_z0.0190.dat").write_text("1 2 3\n4 5 6\n")
    with pytest.raises(InputError, match="eight columns"):
        read_isochrones(tmp_path, 0.02)
