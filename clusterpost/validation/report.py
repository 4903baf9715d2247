"""A model's calibration on mocks, as a table and a figure in a folder."""

from __future__ import annotations

from pathlib import Path

from ..flow.modelfile import load_model
from ..training.fit import mean_nll
from ..training.simulation import Simulator, seeded_generator
from ..utils import whole_file
from .sbc import sbc_ranks

__all__ = ["validate_model"]

_MOCK_STREAM = 7


def validate_model(model, folder, *, n_mocks=100_000, n_draws=100, seed=1, progress=None):
    """Simulation-based calibration of a model on mocks of its own simulator.

    Parameters
    ----------
    model : str or path
        Bundled model or model file.
    folder : path
        Made if absent; takes ``sbc.ecsv`` (the table), ``sbc.png`` (as Fig. 3
        of Walter et al. 2025) and ``training.png``, all replaced if there.
    n_mocks, n_draws : int
        Mocks, and posterior draws for each.
    seed : int
    progress : bool, optional

    Returns
    -------
    `~astropy.table.Table`
        The summary of `~clusterpost.validation.sbc.SBCResult`; ``meta`` holds sizes, seed, model and
        the mean NLL (nat) of as many other mocks.

    Examples
    --------
    >>> import tempfile
    >>> from clusterpost.validation.report import validate_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = validate_model("walter2025", folder, n_mocks=50, n_draws=10)
    >>> len(table)
    6
    """
    from ..plotting import plot_sbc, plot_training

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model(model)
    simulator = Simulator.from_dict(model.card["simulator"])
    result = sbc_ranks(model, simulator, n_mocks=n_mocks, n_draws=n_draws, seed=seed, progress=progress)
    table = result.summary()
    held_out = simulator.to(model.device).draw(n_mocks, seeded_generator(seed, _MOCK_STREAM, model.device))
    table.meta.update({
        "model": model.name, "sha256": model.card["sha256"], "n_mocks": n_mocks, "n_draws": n_draws, "seed": seed,
        "mean_nll": mean_nll(model.flow, model.encode, held_out),
    })
    with whole_file(folder / "sbc.ecsv") as temporary:
        table.write(temporary, format="ascii.ecsv")
    for name, figure in (("sbc", plot_sbc(result)), ("training", plot_training(model.card["training"]["history"]))):
        with whole_file(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=130)
    return table
