"""``python -m benchmarks.gpu_vllm [--budget-seconds 900] [--json FILE]``: what needs vLLM, several GPUs, or kills.

A check that needs what this machine lacks says so and is skipped; the exit status is 1 if one failed.  Killing a
rank and stopping a run work on a CPU too, with ``--device cpu``.
"""

from __future__ import annotations

import sys

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.checks import VLLM_CHECKS

if __name__ == "__main__":
    sys.exit(main(VLLM_CHECKS, (__doc__ or "").splitlines()[0], 900.0))
