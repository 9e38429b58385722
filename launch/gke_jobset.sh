#!/usr/bin/env bash
# Fills in launch/gke_jobset.yaml and hands it to kubectl.
#
#   NAME=clgr IMAGE=... TOPOLOGY=4x4 HOSTS=4 ACCELERATOR=tpu-v5-lite-podslice CHIPS=4 CLAIM=... \
#     launch/gke_jobset.sh [--dry-run] --config=configs/clgr.py
#
# IMAGE holds this package with its extra `tpu`. HOSTS is the number of VMs of the slice, CHIPS how
# many each has. CLAIM names the volume claim (ReadWriteMany) where runs are kept. --dry-run prints
# the manifest.
set -euo pipefail
cd "$(dirname "$0")"

dry=''
if [[ "${1:-}" == --dry-run ]]; then
  dry=1
  shift
fi
if [[ "$*" != *--config=* || "$*" == *--workdir=* ]]; then
  echo 'error: give --config=...; the work directory is NAME on the volume' >&2
  exit 2
fi
manifest="$(cat gke_jobset.yaml)"
for name in NAME IMAGE TOPOLOGY HOSTS ACCELERATOR CHIPS CLAIM; do
  value="${!name:?set $name: see the head of $0}"
  if ! [[ "$value" =~ ^[A-Za-z0-9._:/@-]+$ ]]; then
    echo "error: $name=$value has characters that do not belong there" >&2
    exit 2
  fi
  manifest="${manifest//\$\{$name\}/$value}"
done
arguments="$(printf '%q ' "$@")"
arguments="${arguments//\'/\'\'}" # as YAML quotes it
manifest="${manifest//\$\{ARGUMENTS\}/${arguments% }}"
if [[ -n "$dry" ]]; then
  echo "$manifest"
else
  kubectl apply -f - <<<"$manifest"
fi
