#!/usr/bin/env bash
# Regenerate the outputs and figures that the documentation quotes, in docs/results, and the certificates.
#     docs/make_results.sh LEGUS_CATALOG.tab
# LEGUS_CATALOG is described in docs/real_catalog.rst.  Takes about an hour on two cores.  docs/models.rst has the
# commands for the architecture searches (docs/results/search) and the training.
set -euo pipefail
legus=$(realpath "$1")
cd "$(dirname "$0")/.."
results=docs/results
mkdir -p "$results"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export OMP_NUM_THREADS=1  # two jobs run side by side

validate() {  # model, options
    local folder="$scratch/$1"
    python -m benchmarks.papers "$@" -o "$folder" --certify --quiet > "$scratch/$1.txt"
    mkdir -p "$results/$1"
    cp "$scratch/$1.txt" "$results/$1/checks.txt"
    cp "$folder"/*.ecsv "$folder"/{training,sbc_network}.png "$results/$1"
}

on_real_photometry() {
    python examples/legus_comparison.py "$legus" "$scratch/legus" > "$scratch/legus.txt"
    sed "s|$scratch/||" "$scratch/legus.txt" > "$results/legus.txt"
    for figure in comparison deviation overview; do
        cp "$scratch/legus/$figure.png" "$results/legus_$figure.png"
    done
    python -m benchmarks.papers.gallery "$legus" -o "$results/gallery"
}

{
    # Refinement takes a second per object.
    validate walter2025 --refined 5000 --catalog "$legus" --distance-source legus --clusters 100
    on_real_photometry
} &
validate any_bands --exact 500 --controls --catalog "$legus" --distance-source legus
python examples/first_catalog.py "$scratch/first_catalog" > "$scratch/first_catalog.txt"
sed "s|$scratch/||" "$scratch/first_catalog.txt" > "$results/first_catalog.txt"
cp "$scratch"/first_catalog/overview.png "$scratch"/first_catalog/corner_young.png "$results"
wait %1

python benchmarks/run.py -o "$results/benchmarks"  # run alone, so that timings are reliable
python -m clusterpost.scale.plan "$results/benchmarks/rates.ecsv" -o "$results/benchmarks/plan.txt"
