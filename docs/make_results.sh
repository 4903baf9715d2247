#!/usr/bin/env bash
# Regenerate the outputs and figures that the documentation quotes, in docs/results.
#     docs/make_results.sh LEGUS_CATALOG.tab
# with the catalog that docs/real_catalog.rst names.  Takes about twenty minutes on two cores.
set -euo pipefail
legus=$(realpath "$1")
cd "$(dirname "$0")/.."
results=docs/results
mkdir -p "$results"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export OMP_NUM_THREADS=1  # two jobs run side by side

python examples/legus_comparison.py "$legus" "$scratch/legus" > "$scratch/legus.txt" &
legus_job=$!

python examples/first_catalog.py "$scratch/first_catalog" > "$scratch/first_catalog.txt"
sed "s|$scratch/||" "$scratch/first_catalog.txt" > "$results/first_catalog.txt"
cp "$scratch"/first_catalog/overview.png "$scratch"/first_catalog/corner_*.png "$results"

validate() {  # model, options
    local folder="$results/$1"
    mkdir -p "$folder"
    python -m clusterpost validate "$@" -o "$folder" > "$scratch/checks.txt"
    cp "$scratch/checks.txt" "$folder"
}
validate walter2025 --network-only
validate any_bands -n 20000 --exact 200

wait "$legus_job"
sed "s|$scratch/||" "$scratch/legus.txt" > "$results/legus.txt"
cp "$scratch/legus/comparison.png" "$results/legus_comparison.png"
cp "$scratch/legus/deviation.png" "$results/legus_deviation.png"
cp "$scratch/legus/overview.png" "$results/legus_overview.png"
