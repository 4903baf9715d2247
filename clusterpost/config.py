"""Settings of clusterpost, based on `astropy.config`; the instance is `clusterpost.conf`."""

from __future__ import annotations

from astropy import config as astropy_config

__all__ = ["Conf", "conf"]


class ConfigItem(astropy_config.ConfigItem):
    """A setting in clusterpost's own configuration folder."""

    rootname = "clusterpost"


class Conf(astropy_config.ConfigNamespace):
    """Settings of clusterpost, from the user's ``clusterpost.cfg`` or set at run time."""

    rootname = "clusterpost"

    default_model = ConfigItem("stochastic", "Bundled model or model file used for model='default'.")
    device = ConfigItem("auto", "Device of the networks: 'cpu', 'cuda', or 'auto' for a GPU if available.")
    points_per_pass = ConfigItem(131072, "Draws that a worker processes at a time; limits the memory.")
    workers = ConfigItem(0, "Chunks of rows processed in parallel; 0 for all available cores.")
    archive_url = ConfigItem("https://archive.stsci.edu/hlsps/phangs-cat", "Root URL of the PHANGS catalog archive.")
    archive_method = ConfigItem(["https", "astroquery"],
                                "Download methods: 'https' from archive_url, or 'astroquery' from the MAST service.")
    archive_timeout = ConfigItem(30.0, "Seconds without a response before a request is abandoned.")
    archive_retries = ConfigItem(4, "Number of retries of a failed request, after increasing delays.")
    archive_hosts = ConfigItem(["archive.stsci.edu", "mast.stsci.edu"],
                               "Servers to which the archive may redirect, besides that of archive_url.",
                               cfgtype="string_list")
    archive_total_time = ConfigItem(900.0, "Seconds before a file is abandoned, including retries.")
    archive_max_size = ConfigItem(1000.0, "Maximum size of a download, and of its unpacked content, in megabytes.")
    max_file_size = ConfigItem(4_000_000_000, "Maximum unpacked size of a catalog file that is read at once, in bytes.")
    max_expansion = ConfigItem(200, "Maximum expansion factor of a compressed catalog.")
    max_line_length = ConfigItem(200_000, "Maximum number of characters in a line of a text table.")
    cache_dir = ConfigItem("", "Folder for downloaded files; by default 'clusterpost' in astropy's cache.")


conf = Conf()
