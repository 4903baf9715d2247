"""A small network of clusters drawn star by star, trained within seconds."""

from small_samples import small_samples

FIVE = ("F275W", "F336W", "F438W", "F555W", "F814W")
TINY = {"bands": (*FIVE, "F657N"), "token": 16, "context": 16, "width": (16,) * 6, "depth": (1,) * 6, "bins": (8,) * 6,
        "knots": 16, "batch_size": 64, "batches_at_once": 40, "mocks_per_epoch": 3840, "epochs": 2,
        "n_validation": 500, "average": 0.95, "learning_rate": 5e-3, "checkpoint_every": 50}


def train_tiny(folder):
    """Train it; return the model file's path."""
    from clusterpost.training.recipes import stochastic, train_model

    with small_samples():
        train_model(stochastic(**TINY), folder, progress=False)
    return folder / "stochastic"
