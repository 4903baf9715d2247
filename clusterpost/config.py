"""Settings, kept by `astropy.config`; `clusterpost.conf` holds them."""

from __future__ import annotations

from astropy import config as astropy_config

__all__ = ["Conf", "conf"]


class ConfigItem(astropy_config.ConfigItem):
    """A setting in clusterpost's own folder of settings."""

    rootname = "clusterpost"


class Conf(astropy_config.ConfigNamespace):
    """Settings of clusterpost, from the user's ``clusterpost.cfg`` or set at run time."""

    rootname = "clusterpost"

    default_model = ConfigItem("any_bands", "Bundled model that model='default' means.")
    device = ConfigItem("auto", "Where networks run: 'cpu', 'cuda', or 'auto' for a GPU where there is one.")
    points_per_pass = ConfigItem(524288, "Draws that are worked on at once; bounds the working memory.")
    archive_url = ConfigItem("https://archive.stsci.edu/hlsps/phangs-cat", "Root of the PHANGS catalogs' archive.")
    archive_method = ConfigItem(["https", "astroquery"],
                                "How files come: 'https' from archive_url, or 'astroquery' from MAST's own service.")
    archive_timeout = ConfigItem(30.0, "Seconds without an answer after which a request is given up.")
    archive_retries = ConfigItem(4, "How often a request that failed is repeated, after ever longer waits.")
    cache_dir = ConfigItem("", "Folder of downloaded files; by default 'clusterpost' in astropy's cache.")


conf = Conf()
