"""Findings: what is an error for all rows and a warning for some, whatever the chunks."""

import warnings

import pytest
from astropy.table import Table

import clusterpost
from clusterpost.catalogs.messages import Fault
from clusterpost.errors import DistanceError, InputError
from clusterpost.findings import Findings

FAR = Findings(2, columns=("F275W",), faults={"far": Fault(2, 1, 1, "5000 Mpc in row {row}", "Check the unit")})
NEAR = Findings(3, columns=("F275W",), faults={"far": Fault(3)})
EMPTY = Findings(rows=2, empty=2, columns=("F275W",))


def test_chunks_add_up():
    total = NEAR + FAR.moved(3) + EMPTY
    assert (total.rows, total.empty) == (7, 2)
    assert total.faults == {"far": Fault(5, 1, 4, "5000 Mpc in row {row}", "Check the unit")}
    with pytest.warns(UserWarning, match="5000 Mpc in row 4. 1 such rows are flagged"):
        total.raise_or_warn()


def test_an_error_only_if_all_rows_have_the_fault():
    with pytest.raises(InputError, match="all 2 rows are missing in every band"):
        EMPTY.raise_or_warn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (EMPTY + NEAR).raise_or_warn()
    far = FAR + FAR.moved(2)
    fault = Fault(2, 2, 0, "5000 Mpc in row {row}", "Check the unit")
    all_far = Findings(2, faults={"far": fault}).moved(7, "b.parquet: ")
    with pytest.warns(UserWarning, match="row 1. 2 such rows"):
        far.raise_or_warn()
    with pytest.raises(DistanceError, match=r"b.parquet: 5000 Mpc in row 7\. Check the unit"):
        all_far.raise_or_warn()


@pytest.mark.parametrize("call", [
    lambda tbl: clusterpost.infer_table(tbl, model="walter2025", n_samples=20, refine=False),
    lambda tbl: clusterpost.sample_posterior(tbl, model="walter2025", n_samples=20, refine=False),
    lambda tbl: clusterpost.log_prob(tbl, [[1, 4, 0.1]] * len(tbl), model="walter2025", refine=False),
])
def test_every_call_judges_its_table(clusters, call):
    tbl = Table(clusters[:3])
    tbl["distance"][1] = 5000
    with pytest.warns(UserWarning, match="5000 Mpc in row 1;") as caught:
        call(tbl)
    assert caught[0].filename == __file__
    tbl["distance"] = 5000
    with pytest.raises(DistanceError, match="5000 Mpc in row 0;"):
        call(tbl)
    tbl["distance"] = 9
    for name in tbl.colnames:
        if name.startswith("F"):
            tbl[name] = tbl[name] * float("nan")
    with pytest.raises(InputError, match="all 3 rows are missing in every band"):
        call(tbl)
