from .band_table import list_bands as list_bands
from .bands import (
    add_band as add_band,
)
from .catalogs.example import example_catalog as example_catalog
from .catalogs.phangs import (
    fetch_phangs as fetch_phangs,
)
from .catalogs.phangs import (
    list_phangs as list_phangs,
)
from .catalogs.reader import read_catalog as read_catalog
from .catalogs.writer import write_catalog as write_catalog
from .citing import cite as cite
from .config import conf as conf
from .flags import (
    decode_flags as decode_flags,
)
from .flags import (
    is_good as is_good,
)
from .flow.bundled import list_models as list_models
from .flow.modelfile import load_model as load_model
from .infer import (
    exact_posterior as exact_posterior,
)
from .infer import (
    infer_table as infer_table,
)
from .infer import (
    log_prob as log_prob,
)
from .infer import (
    sample_posterior as sample_posterior,
)
from .photometry import apply_error_floor as apply_error_floor
from .plotting.posterior import plot_posterior as plot_posterior
from .report import write_report as write_report
from .training.mocks import simulate as simulate
from .validation.compare import compare_with_catalog as compare_with_catalog

__version__: str
