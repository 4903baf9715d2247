"""The errors of mock galaxies."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from clusterpost.errors import InputError
from clusterpost.families.galaxies.errors import NSA_FLOORS, FlooredErrors, PaperErrors, nsa_errors
from clusterpost.families.galaxies.forward import NANOMAGGY_MJY
from clusterpost.training.observing import read_errors, to_dict

MAG = 2.5 / np.log(10)


@pytest.fixture(scope="module")
def atlas(shared_data):
    """Fluxes and errors of clean galaxies, mJy."""
    from astropy.table import Table

    tbl = Table.read(shared_data / "galaxies" / "nsa.ecsv")
    tbl = tbl[np.asarray(tbl["clean"], bool)]
    return [np.column_stack([np.asarray(tbl[f"nmgy_{kind}{b}"], float) for b in "ugriz"]) * NANOMAGGY_MJY
            for kind in ("", "err_")]


@pytest.fixture(scope="module")
def bright():
    """ln of the fluxes of galaxies of magnitude 14 to 18."""
    magnitude = torch.rand(20_000, 5, generator=torch.Generator().manual_seed(5)) * 4 + 14
    return (np.log(3.631e6) - magnitude / MAG).float()


def test_no_error_lies_below_the_floor(bright):
    sigma = MAG * nsa_errors().draw(bright, torch.Generator().manual_seed(1))
    assert (sigma >= torch.tensor(NSA_FLOORS) - 1e-6).all()
    paper = MAG * nsa_errors("paper").draw(bright, torch.Generator().manual_seed(1))
    assert (paper < torch.tensor(NSA_FLOORS)).float().mean() > 0.005  # where no galaxy is


def test_errors_of_one_galaxy_go_together(bright):
    errors = nsa_errors()
    sigma = MAG * errors.draw(bright[:1].expand(20_000, 5), torch.Generator().manual_seed(2))
    ln_s = torch.log(sigma.square() - torch.tensor(NSA_FLOORS).square()).numpy() / 2
    off = np.corrcoef(ln_s[:, 1:].T) - np.array(errors.correlation)[1:, 1:]
    assert np.abs(off).max() < 0.1


def test_measured_again_from_its_own_draws(bright):
    errors = nsa_errors()
    relative = errors.draw(bright, torch.Generator().manual_seed(3)).double().numpy()
    flux = np.exp(bright.double().numpy())
    again = FlooredErrors.from_catalog(flux, relative * flux)
    assert np.abs(np.array(again.scatter) / errors.scatter - 1).max() < 0.1
    at = torch.full((1, 5), float(np.log(3.631e6) - 16 / MAG))
    middle = [torch.quantile(form.draw(at.expand(4000, 5), torch.Generator().manual_seed(4)), 0.5, dim=0)
              for form in (errors, again)]
    assert (middle[1] / middle[0] - 1).abs().max() < 0.02


def test_packaged_numbers_are_those_of_the_atlas(atlas):
    assert FlooredErrors.from_catalog(*atlas) == nsa_errors()
    assert PaperErrors.from_catalog(*atlas) == nsa_errors("paper")


def test_drawn_errors_look_like_those_of_the_atlas(atlas):
    flux, error = atlas
    drawn = nsa_errors().draw(torch.tensor(np.log(flux)), torch.Generator().manual_seed(6)).numpy()
    for level in (0.05, 0.5, 0.84):  # beyond, the atlas has more outliers than a normal density
        np.testing.assert_allclose(np.quantile(drawn, level, axis=0), np.quantile(error / flux, level, axis=0),
                                   rtol=0.06)


def test_unusable():
    with pytest.raises(InputError, match="floored, paper"):
        nsa_errors("gaussian")
    with pytest.raises(InputError, match="detected in every band"):
        FlooredErrors.from_catalog(np.ones((10, 5)), np.ones((10, 5)))
    with pytest.raises(InputError, match="5 bands"):
        nsa_errors().draw(torch.zeros(3, 4), torch.Generator())


def test_errors_of_a_range_of_brightness(bright):
    """However bright galaxies are, their errors are those of the range, and colors keep their say."""
    errors = replace(nsa_errors(), magnitude=(19.0, 19.5))
    faint = MAG * errors.draw(bright, torch.Generator().manual_seed(7))
    fainter = MAG * errors.draw(bright - 5, torch.Generator().manual_seed(7))
    torch.testing.assert_close(faint, fainter, rtol=1e-3, atol=0)
    as_bright = MAG * nsa_errors().draw(bright, torch.Generator().manual_seed(7))
    assert (faint.median(0).values > 1.02 * as_bright.median(0).values).all()
    assert faint[:, 0].median() > 1.1 * as_bright[:, 0].median()  # most of all in u


@pytest.mark.parametrize("errors", [nsa_errors(), nsa_errors("paper"), replace(nsa_errors(), magnitude=(12.0, 20.0))])
def test_in_a_model_file(errors):
    assert read_errors(json.loads(json.dumps(to_dict(errors)))) == errors
