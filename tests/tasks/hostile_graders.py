"""A task whose grader does what its response says; importable in spawned workers."""

import os
import signal
import time
from dataclasses import dataclass
from typing import ClassVar

from tasks.base import Problem, Task

PROBLEM = Problem(prompt="?", answer="right", domain="test", difficulty=0.0)


@dataclass(frozen=True, kw_only=True)
class Obedient(Task):
    kind: ClassVar[str] = "test_obedient"

    fails_to_prepare: bool = False

    def prepare(self):
        if self.fails_to_prepare:
            raise OSError("no dictionary")

    def problem(self, split, seed, index):
        return PROBLEM

    def grade(self, problem, response):
        if response == problem.answer:
            return 1.0
        return getattr(self, response)() if hasattr(self, response) else 0.0

    def demonstrate(self, problem, rng, error_rate):
        return problem.answer

    def alphabet(self):
        return "?right"

    def hang(self):
        time.sleep(3600)

    def hang_in_c(self):
        return 9**9**9**9  # never gives the interpreter back, so no Python-level timer would fire

    def pid(self):
        return 1 / os.getpid()

    def slow(self):
        time.sleep(0.6)
        return 1.0

    def exit(self):
        os._exit(3)

    def segfault(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def system_exit(self):
        raise SystemExit(0)

    def keyboard_interrupt(self):
        raise KeyboardInterrupt

    def error(self):
        raise LookupError("no such answer")

    def recursion(self):
        return self.recursion()

    def memory(self):
        return float(len(bytearray(4 * 2**30)) > 0)

    def nan(self):
        return float("nan")

    def infinite(self):
        return float("inf")

    def negative(self):
        return -0.5

    def two(self):
        return 2.0

    def nothing(self):
        return None

    def true(self):
        return True
