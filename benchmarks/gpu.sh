#!/usr/bin/env bash
# Everything that needs a GPU, in at most eight minutes: tests, training, speed.
#
#   benchmarks/gpu.sh OUT                                 on a machine with a GPU
#   benchmarks/gpu.sh OUT --device cpu --minutes 3        a dry run of every step, at small size
#
# OUT gets results.json and the model files, each below 16 MB, as soon as they exist; checkpoints are kept in WORK (by
# default a folder for temporary files), from which another run goes on. It needs torch, numpy, FrEIA, safetensors and
# astropy. Where there is no network, WHEELS names a folder of wheels of what is missing (FrEIA safetensors astropy
# astropy-iers-data pyerfa PyYAML msgspec pooch pytest-astropy and its plugins).
set -euo pipefail
export WORK="${WORK:-${TMPDIR:-/tmp}/clusterpost-gpu}"
out=$(mkdir -p "${1:?usage: benchmarks/gpu.sh OUT [options]}" && cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$WORK/site" \
        "$WHEELS"/*.whl
    export PYTHONPATH="$WORK/site"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$python" benchmarks/gpu.py "$out" "$@"
