"""Checks of the inference: calibration on mocks, and against published fits.

`clusterpost.validation.sbc` asks whether posteriors of mocks mean what they say;
`clusterpost.validation.compare` sets an inferred catalog beside the catalog's own fits.
"""

from ..utils import lazy_names

_HOMES = {"PosteriorSampler": "samplers", "compare_with_exact": "exactness", "efficiency_by_bands": "exactness",
          "Ensemble": "ensemble", "draw_ensemble": "ensemble",
          "coverage_ranks": "coverage", "expected_coverage": "coverage", "tarp_ranks": "coverage",
          "by_region": "regions", "entropy_check": "regions",
          "classifier_accuracy": "twosample", "jensen_shannon": "twosample",
          "STATISTICS": "sbc", "SBCResult": "sbc", "sbc_ranks": "sbc", "rank_statistics": "sbc",
          "MARGINALS": "sbc", "compare_with_catalog": "compare", "published_residuals": "compare",
          "inlier_table": "compare", "side_by_side": "compare", "flag_shares": "compare",
          "map_shortfall": "maps", "published_fits": "fits",
          "predictive_check": "predictive", "predictive_summary": "predictive", "map_chi2": "predictive",
          "resimulate": "predictive", "compare_noise": "noise_models", "noisy_rows": "noise_models",
          "gridded_density": "densities", "mcmc_draws": "densities",
          "CONTROLS": "controls", "control_table": "controls", "Recalibration": "recalibration",
          "recalibrate": "recalibration", "corrected_levels": "recalibration",
          "certify": "certificate", "check_catalog": "onsky", "walter2025_claims": "papers",
          "sedflow_claims": "papers", "validate_model": "report"}
__all__ = [*_HOMES]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
