#!/usr/bin/env bash
# Train on GPUs of several machines, and go on by itself after the time limit or pre-emption:
# sbatch docs/examples/slurm.sh hleg/intentonomy runs/large --set train.batch_size=256
#SBATCH --job-name=hlcli
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# One task per GPU; data.workers of the recipe and one more core for each. Five minutes before the limit, and when the
# job is pre-empted, every task gets SIGTERM: all state is saved, hlcli leaves with 130, the job waits for its turn again.
set -uo pipefail
recipe=${1:?the recipe comes first}
run=${2:?the folder of the run comes second, on a disk that all machines share}
shift 2

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export WORLD_SIZE=$SLURM_NTASKS
# export ACCELERATE_USE_FSDP=true FSDP_VERSION=2   # cut the network over the GPUs: docs/launching.md

words=(train --recipe "$recipe" --run "$run" "$@")
if [[ -f $run/recipe.yaml ]]; then
    words+=(--resume)
fi
# shellcheck disable=SC2016 # the tasks' own numbers, not those of this shell
srun --wait=120 bash -c 'export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID; exec hlcli "$@"' hlcli "${words[@]}"
code=$?
if ((code == 130)); then
    scontrol requeue "$SLURM_JOB_ID" || true
fi
exit "$code"
