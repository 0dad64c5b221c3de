#!/bin/sh
# One run on several machines that share a file system, without a scheduler.  On one of them:
#
#     entrostat prepare campaign.yaml        # prints the folders of the runs
#
# then on every machine, with the same HEAD (the address of one of them) and NODES = learner.num_nodes:
#
#     HEAD=10.0.0.1 NODES=2 DEVICES=8 configs/launch/torchrun.sh RUN_FOLDER
#
# and at the end, on one of them, `entrostat run campaign.yaml`, which tracks and compares what is done.
# A run that was stopped goes on with the same command.
set -eu
RUN_FOLDER=$1

exec torchrun \
    --nnodes "$NODES" --nproc-per-node "$DEVICES" \
    --rdzv-backend c10d --rdzv-endpoint "$HEAD:${PORT:-29500}" --rdzv-id "${ID:-entrostat}" \
    --module orchestrator.training.worker "$RUN_FOLDER"
