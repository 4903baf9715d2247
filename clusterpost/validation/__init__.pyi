from .catalog import check_catalog as check_catalog
from .certificate import certify as certify
from .compare import (
    compare_with_catalog as compare_with_catalog,
)
from .compare import (
    flag_shares as flag_shares,
)
from .compare import (
    inlier_table as inlier_table,
)
from .compare import (
    published_residuals as published_residuals,
)
from .compare import (
    side_by_side as side_by_side,
)
from .controls import (
    CONTROLS as CONTROLS,
)
from .controls import (
    control_table as control_table,
)
from .coverage import (
    coverage_ranks as coverage_ranks,
)
from .coverage import (
    expected_coverage as expected_coverage,
)
from .coverage import (
    tarp_ranks as tarp_ranks,
)
from .ensemble import (
    Ensemble as Ensemble,
)
from .ensemble import (
    draw_ensemble as draw_ensemble,
)
from .exactness import (
    compare_with_exact as compare_with_exact,
)
from .exactness import (
    efficiency_by_bands as efficiency_by_bands,
)
from .fits import published_fits as published_fits
from .predictive import (
    map_chi2 as map_chi2,
)
from .predictive import (
    predictive_check as predictive_check,
)
from .predictive import (
    predictive_summary as predictive_summary,
)
from .predictive import (
    resimulate as resimulate,
)
from .recalibration import (
    Recalibration as Recalibration,
)
from .recalibration import (
    corrected_levels as corrected_levels,
)
from .recalibration import (
    recalibrate as recalibrate,
)
from .regions import (
    by_region as by_region,
)
from .regions import (
    entropy_check as entropy_check,
)
from .report import validate_model as validate_model
from .samplers import PosteriorSampler as PosteriorSampler
from .sbc import (
    MARGINALS as MARGINALS,
)
from .sbc import (
    STATISTICS as STATISTICS,
)
from .sbc import (
    SBCResult as SBCResult,
)
from .sbc import (
    rank_statistics as rank_statistics,
)
from .sbc import (
    sbc_ranks as sbc_ranks,
)
from .twosample import (
    classifier_accuracy as classifier_accuracy,
)
from .twosample import (
    jensen_shannon as jensen_shannon,
)
