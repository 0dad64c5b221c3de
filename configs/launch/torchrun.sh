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
#
# When a rank ends other than it should, torchrun starts all ranks again, RESTARTS times, and they go on from the last
# checkpoint.  After the loss of a machine the others wait ten minutes for this command to be given there again.
# A run that was stopped goes on with the same command.  PATIENCE is how long one that is told to stop has to save.
# docs/clusters.md has the variables of the network, such as GLOO_SOCKET_IFNAME.
set -eu
RUN_FOLDER=$1

export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1  # in a shared one, ranks of the second start find the addresses of the first
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${PATIENCE:-90}"
exec torchrun \
    --nnodes "$NODES" --nproc-per-node "$DEVICES" --max-restarts "${RESTARTS:-3}" \
    --rdzv-backend c10d --rdzv-endpoint "$HEAD:${PORT:-29500}" --rdzv-id "${ID:-entrostat}" \
    --module orchestrator.training.worker "$RUN_FOLDER"
