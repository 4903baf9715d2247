"""Settings, kept by `astropy.config`; `clusterpost.conf` holds them."""

from __future__ import annotations

from astropy.config import ConfigItem, ConfigNamespace

__all__ = ["Conf", "conf"]


class Conf(ConfigNamespace):
    """Settings of clusterpost, from the user's ``clusterpost.cfg`` or set at run time."""

    rootname = "clusterpost"

    default_model = ConfigItem("walter2025", "Bundled model that model='default' means.")
    device = ConfigItem("auto", "Where networks run: 'cpu', 'cuda', or 'auto' for a GPU where there is one.")
    points_per_pass = ConfigItem(8192, "Points that pass through a network at once; bounds the working memory.")


conf = Conf()
