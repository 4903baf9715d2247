from .catalogs import (
    plot_catalog as plot_catalog,
)
from .catalogs import (
    plot_comparison as plot_comparison,
)
from .catalogs import (
    plot_deviation as plot_deviation,
)
from .colors import (
    plot_color_color as plot_color_color,
)
from .colors import (
    plot_color_magnitude as plot_color_magnitude,
)
from .photometry import (
    plot_chi2 as plot_chi2,
)
from .photometry import (
    plot_flux_errors as plot_flux_errors,
)
from .photometry import (
    plot_predictive as plot_predictive,
)
from .photometry import (
    plot_seds as plot_seds,
)
from .populations import (
    plot_age_distribution as plot_age_distribution,
)
from .populations import (
    plot_age_mass as plot_age_mass,
)
from .populations import (
    plot_mass_function as plot_mass_function,
)
from .posterior import plot_posterior as plot_posterior
from .sed import plot_sed as plot_sed
from .sky import plot_sky as plot_sky
from .support import plot_support as plot_support
from .training import (
    plot_search as plot_search,
)
from .training import (
    plot_training as plot_training,
)
from .validation import (
    plot_coverage as plot_coverage,
)
from .validation import (
    plot_pp as plot_pp,
)
from .validation import (
    plot_regions as plot_regions,
)
from .validation import (
    plot_sbc as plot_sbc,
)
