#!/usr/bin/env bash
# The main command under SLURM. With several tasks JAX gives each of them one GPU of its node.
#
#   launch/slurm.sh [--dry-run] [SBATCH OPTIONS] -- --config=configs/clgr.py --workdir=DIR
#   launch/slurm.sh --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 -- --config=... --workdir=DIR
#
# DIR must be on a drive that the nodes share. Two minutes before the time is over, or when the job
# is preempted, the run saves and ends, and the job goes back into the queue until DIR/DONE is
# there. PYTHON (python) is that of the nodes.
set -euo pipefail

if [[ -z "${SLURM_JOB_ID:-}" ]]; then
  dry='' options=()
  while (($#)) && [[ "$1" != -- ]]; do
    [[ "$1" == --dry-run ]] && dry=1 || options+=("$1")
    shift
  done
  if (($# < 2)) || [[ " $*" != *' --workdir='* ]]; then
    echo 'error: give [SBATCH OPTIONS] -- --config=... --workdir=DIR' >&2
    exit 2
  fi
  shift
  defaults=(--job-name=skinjax --requeue --open-mode=append --signal=B:TERM@120)
  submit=(sbatch "${defaults[@]}" "${options[@]}" "$0" "$@")
  printf '%q ' "${submit[@]}"
  echo
  [[ -n "$dry" ]] || exec "${submit[@]}"
  exit 0
fi

# From here on within the job, on its first node. JAX finds the other processes by SLURM's variables.
for argument in "$@"; do
  [[ "$argument" == --workdir=* ]] && workdir="${argument#*=}"
done
run=(srun --kill-on-bad-exit=1 "${PYTHON:-python}" -m skinjax.main "$@")
((${SLURM_NTASKS:-1} > 1)) && run+=(--config.distributed)
printf '%q ' "${run[@]}"
echo
[[ -n "${DRY_RUN:-}" ]] && exit
"${run[@]}" &
steps=$!
finish() {
  local status=0
  wait "$steps" || status=$?
  # A run that was told to end has saved (0 with several processes, 143 with one), but is not done.
  if [[ ! -e "${workdir:?}/DONE" ]] && ((status == 0 || status == 143)); then
    scontrol requeue "$SLURM_JOB_ID"
  fi
  exit "$status"
}
trap 'scancel --signal=TERM "$SLURM_JOB_ID.0"; finish' TERM
finish
