#!/usr/bin/env bash
# The main command on all workers of a TPU VM or pod slice, through gcloud.
#
#   TPU=NAME ZONE=ZONE launch/tpu_pod.sh [--dry-run] setup
#   TPU=NAME ZONE=ZONE launch/tpu_pod.sh [--dry-run] run --config=configs/clgr.py --workdir=DIR
#   TPU=NAME ZONE=ZONE launch/tpu_pod.sh [--dry-run] stop
#
# `setup` copies this checkout to every worker and installs it. `run` starts or continues a run and
# shows its output; DIR must be one place for all workers (a mounted bucket or network drive). The
# same command again continues after a preemption. `stop` lets the run save and end. The project is
# the one that gcloud is set to. PYTHON (python3) is that of the workers, FOLDER (skinjax) where
# the checkout lies in their home.
set -euo pipefail
cd "$(dirname "$0")/.."

dry=''
if [[ "${1:-}" == --dry-run ]]; then
  dry=1
  shift
fi
: "${TPU:?set TPU to the name of the TPU VM}" "${ZONE:?set ZONE to its zone}"
folder="${FOLDER:-skinjax}" python="${PYTHON:-python3}"
python_there="$folder/.venv/bin/python"
here=(--zone="$ZONE" --worker=all)

call() {
  printf '%q ' "$@"
  echo
  if [[ -z "$dry" ]]; then "$@"; fi
}

on_workers() {
  call gcloud compute tpus tpu-vm ssh "$TPU" "${here[@]}" --command="$1"
}

action="${1:-}"
case "$action" in
  setup)
    archive="$(mktemp -d)/skinjax.tar.gz"
    trap 'rm -rf "$(dirname "$archive")"' EXIT
    call git archive --format=tar.gz --output="$archive" HEAD
    call gcloud compute tpus tpu-vm scp "$archive" "$TPU:skinjax.tar.gz" "${here[@]}"
    on_workers "mkdir -p $folder && tar -xzf skinjax.tar.gz -C $folder &&
      $python -m venv $folder/.venv && $python_there -m pip install -q -e '${folder}[tpu]'"
    ;;
  run)
    shift
    if [[ " $*" != *' --workdir='* ]]; then
      echo 'error: give --workdir=DIR, a place that all workers share' >&2
      exit 2
    fi
    arguments="$(printf ' %q' "$@")"
    # The number that `stop` sends its signal to stands in skinjax.pid.
    on_workers "cd $folder && echo \$\$ > skinjax.pid &&
      exec .venv/bin/python -m skinjax.main$arguments --config.distributed"
    ;;
  stop)
    on_workers "kill -TERM \"\$(cat $folder/skinjax.pid)\""
    ;;
  *)
    echo "error: expected setup, run or stop, found '$action'" >&2
    exit 2
    ;;
esac
