"""Run by test_grading.py: a pool with a hanging grader, in a process that is about to be killed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))


def main():
    from hostile_graders import PROBLEM, Obedient

    from tasks.grading.pool import GradingPool

    pool = GradingPool(Obedient(), num_workers=2, timeout_seconds=600)
    print(*(worker._process.pid for worker in pool._workers), flush=True)
    how = sys.argv[1]
    if how == "raise":
        raise SystemExit("as any error would")
    if how == "return":
        return
    pool.grade([PROBLEM] * 2, ["right", how])  # one worker idle, one that never comes back


if __name__ == "__main__":
    main()
