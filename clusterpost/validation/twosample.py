"""Tests of whether two sets of draws follow the same distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..utils import require

__all__ = ["N_BINS", "classifier_accuracy", "jensen_shannon"]

#: Number of bins of `jensen_shannon`, equally populated by both sets together.
N_BINS = 20


def classifier_accuracy(a: Any, b: Any, scale: Any = 1.0, *, seed: int = 0) -> float:
    """Measure the accuracy of a classifier that distinguishes two sets of draws, on held-out draws.

    Parameters
    ----------
    a, b : array (n, d), (m, d)
        Draws; the larger set is thinned to the size of the other.
    scale : float or array (d,)
        Scale of the parameters, such as their half-widths.
    seed : int

    Returns
    -------
    float
        Accuracy: 0.5 for indistinguishable sets, with a scatter of about 0.5 / sqrt(n); 1 for separate sets.

    Notes
    -----
    This is the classifier two-sample test of Lopez-Paz & Oquab (2017), arXiv:1610.06545, with gradient-boosted trees
    and three-fold cross-validation.  Repeated draws count once because the classifier could memorize them.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.validation import classifier_accuracy
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(0, 1, (500, 3)), rng.normal(1, 1, (500, 3))
    >>> classifier_accuracy(a, b) > 0.7
    True
    """
    ensemble = require("sklearn.ensemble", "validation")
    selection = require("sklearn.model_selection", "validation")
    rng = np.random.default_rng(seed)
    a, b = (np.unique(x, axis=0) for x in (a, b))
    size = min(len(a), len(b))
    x = np.concatenate([rng.permutation(part)[:size] for part in (a, b)]) / scale
    y = np.repeat([0, 1], size)
    model = ensemble.HistGradientBoostingClassifier(max_iter=60, random_state=seed)
    folds = selection.StratifiedKFold(3, shuffle=True, random_state=seed)
    return float(selection.cross_val_score(model, x, y, cv=folds).mean())


def jensen_shannon(a: Any, b: Any, bins: int = N_BINS) -> float:
    """Return the Jensen-Shannon divergence of each parameter's marginal.

    Parameters
    ----------
    a, b : array (n, d), (m, d)
    bins : int
        Number of bins, equally populated by the two sets together, which needs no choice of range or scale.

    Returns
    -------
    ndarray (d,)
        Divergence in bit, from 0 to 1.  Two sets of n draws each of the same distribution have about
        (bins - 1) / (4 n ln 2): 0.007 for the default bins and n = 1000.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.validation import jensen_shannon
    >>> x = np.linspace(0, 1, 1000)[:, None]
    >>> jensen_shannon(x, x), jensen_shannon(x, x + 2), jensen_shannon(x, x + 0.5)
    (array([0.]), array([1.]), array([0.5]))
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    result = []
    for one, two in zip(a.T, b.T, strict=True):
        together = np.quantile(np.concatenate([one, two]), np.linspace(0, 1, bins + 1)[1:-1])
        p, q = (np.bincount(np.searchsorted(together, x), minlength=bins) / len(x) for x in (one, two))
        middle = (p + q) / 2
        result.append(sum((x * np.log2(np.where(x > 0, x / np.where(middle > 0, middle, 1), 1))).sum()
                          for x in (p, q)) / 2)
    return np.array(result)
