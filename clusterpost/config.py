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

    default_model = ConfigItem("stochastic", "Bundled model that model='default' means, or a model file.")
    device = ConfigItem("auto", "Where networks run: 'cpu', 'cuda', or 'auto' for a GPU where there is one.")
    points_per_pass = ConfigItem(262144, "Draws that a worker works on at once; bounds the working memory.")
    workers = ConfigItem(0, "Chunks of rows that are worked on at once; 0 for as many as there are cores to use.")
    archive_url = ConfigItem("https://archive.stsci.edu/hlsps/phangs-cat", "Root of the PHANGS catalogs' archive.")
    archive_method = ConfigItem(["https", "astroquery"],
                                "How files come: 'https' from archive_url, or 'astroquery' from MAST's own service.")
    archive_timeout = ConfigItem(30.0, "Seconds without an answer after which a request is given up.")
    archive_retries = ConfigItem(4, "How often a request that failed is repeated, after ever longer waits.")
    archive_hosts = ConfigItem(["archive.stsci.edu", "mast.stsci.edu"],
                               "Servers that the archive's may send on to, besides that of archive_url.",
                               cfgtype="string_list")
    archive_total_time = ConfigItem(900.0, "Seconds after which a file is given up, repetitions included.")
    archive_max_size = ConfigItem(1000.0, "Megabytes of the largest file that is taken, and of what is in it.")
    max_file_size = ConfigItem(4_000_000_000, "Bytes of a catalog file, unpacked, beyond which it is not read at once.")
    max_expansion = ConfigItem(200, "How many times its size a compressed catalog may be.")
    max_line_length = ConfigItem(200_000, "Characters of a line of a text table.")
    cache_dir = ConfigItem("", "Folder of downloaded files; by default 'clusterpost' in astropy's cache.")


conf = Conf()
