"""A task whose grader does what its response says; importable in spawned workers."""

import ctypes
import os
import random
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import shared_memory
from pathlib import Path
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


@dataclass(frozen=True, kw_only=True)
class Intruder(Task):
    """Does what a response that had taken over its grader might; a score of 1 is a success of the intruder.

    ``facts`` of the problem name the folder outside, and what else there is.
    """

    kind: ClassVar[str] = "test_intruder"

    grading_needs: tuple[str, ...] = ()
    broken: str = ""
    """A file: while it is there the task cannot be prepared, once."""

    def prepare(self):
        if self.broken and Path(self.broken).exists():
            Path(self.broken).unlink()
            raise OSError("no dictionary")

    def problem(self, split, seed, index):
        return PROBLEM

    def grade(self, problem, response):
        name, _, rest = response.partition(" ")
        return float(getattr(self, name)(problem.facts, rest))

    def demonstrate(self, problem, rng, error_rate):
        return problem.answer

    def alphabet(self):
        return "?right"

    # Network.

    def socket(self, facts, kind):
        family = getattr(socket, kind)
        socket.socket(family, socket.SOCK_DGRAM if "DGRAM" in kind else socket.SOCK_STREAM)
        return True

    def udp(self, facts, _):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        return True

    def connect(self, facts, _):
        socket.create_connection(("127.0.0.1", facts["port"]), timeout=5)
        return True

    # Files.

    def write(self, facts, _):
        (Path(facts["outside"]) / "new").write_text("mine")
        return True

    def write_home(self, facts, _):
        (Path.home() / facts["name"]).write_text("mine")
        return True

    def write_here(self, facts, _):
        Path(facts["name"]).write_text("mine")
        return True

    def overwrite(self, facts, _):
        (Path(facts["outside"]) / "old").write_text("mine")
        return True

    def truncate(self, facts, _):
        os.truncate(Path(facts["outside"]) / "old", 0)
        return True

    def remove(self, facts, _):
        (Path(facts["outside"]) / "old").unlink()
        return True

    def rename(self, facts, _):
        (Path(facts["outside"]) / "old").rename(Path(tempfile.gettempdir()) / "old")
        return True

    def link(self, facts, _):
        os.link(Path(facts["outside"]) / "old", Path(tempfile.gettempdir()) / "old")
        return True

    def symlink(self, facts, _):
        """Through a link that lies in the scratch folder."""
        link = Path(tempfile.gettempdir()) / "link"
        link.symlink_to(Path(facts["outside"]) / "old")
        link.write_text("mine")
        return True

    def mkdir(self, facts, _):
        (Path(facts["outside"]) / "folder").mkdir()
        return True

    def chmod(self, facts, _):
        (Path(facts["outside"]) / "old").chmod(0)
        return True

    def chown(self, facts, _):
        os.chown(Path(facts["outside"]) / "old", os.getuid(), os.getgid())
        return True

    def read(self, facts, _):
        return (Path(facts["outside"]) / "old").read_text() == "old"

    def import_late(self, facts, _):
        import colorsys

        return colorsys.rgb_to_hsv(1, 0, 0)[2]

    def scratch(self, facts, _):
        """A file, a folder and a temporary file, and nothing of an earlier response."""
        folder = Path(tempfile.gettempdir())
        if list(folder.iterdir()) or str(folder) != os.environ["TMPDIR"]:
            return False
        (folder / "folder").mkdir()
        (folder / "folder" / "file").write_text("mine")
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"mine")
        Path(os.devnull).write_text("mine")
        return (folder / "folder" / "file").read_text() == "mine"

    def scratch_name(self, facts, _):
        raise LookupError(tempfile.gettempdir())

    def huge_file(self, facts, _):
        with tempfile.TemporaryFile() as file:
            file.truncate(2**40)
        return True

    def many_files(self, facts, _):
        return len([os.open(os.devnull, os.O_RDONLY) for _ in range(10_000)]) > 0

    def half_of_the_files(self, facts, _):
        return len([os.open(os.devnull, os.O_RDONLY) for _ in range(150)]) > 0

    # Processes, memory, signals.

    def fork(self, facts, _):
        if os.fork() == 0:
            os._exit(0)
        return True

    def bomb(self, facts, _):
        for _ in range(500):
            if os.fork() == 0:
                time.sleep(5)
                os._exit(0)
        return True

    def vfork(self, facts, _):
        """What C libraries start programs with."""
        os.posix_spawn("/bin/true", ["true"], {})
        return True

    def shell(self, facts, command):
        return os.system(command) == 0

    def subprocess(self, facts, _):
        subprocess.run(["true"], check=True)
        return True

    def thread(self, facts, _):
        found = []
        thread = threading.Thread(target=lambda: found.append(1.0))
        thread.start()
        thread.join()
        return found[0]

    def socket_in_a_thread(self, facts, _):
        found = []

        def intrude():
            with suppress(OSError):
                found.append(socket.socket())

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        return len(found)

    def memory(self, facts, _):
        return len(bytearray(8 * 2**30)) > 0

    def kill_parent(self, facts, _):
        os.kill(os.getppid(), 0)
        return True

    def read_parent(self, facts, _):
        """The environment of the parent may hold passwords."""
        return len(Path(f"/proc/{os.getppid()}/environ").read_bytes()) > 0

    def raise_limits(self, facts, _):
        resource.setrlimit(resource.RLIMIT_CORE, (2**20, 2**20))
        return True

    def mount(self, facts, _):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"none", str(facts["outside"]).encode(), b"tmpfs", 0, None) != 0:
            raise OSError(ctypes.get_errno(), "mount")
        return True

    def memfd(self, facts, _):
        return os.memfd_create("hidden") > 0

    def shared_memory(self, facts, _):
        return shared_memory.SharedMemory(create=True, size=1000).size > 0

    # Clocks and signals of the worker itself.

    def burn(self, facts, seconds):
        end = time.process_time() + float(seconds)
        while time.process_time() < end:
            pass
        return True

    def burn_in_child(self, facts, seconds):
        code = f"import time\nwhile time.process_time() < {seconds}: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
        return True

    def leave_child(self, facts, _):
        """In a session of its own, and its parent gone."""
        code = "import os, time\nif child := os.fork(): print(child)\nelse: os.close(1), os.setsid(), time.sleep(600)"
        told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
        raise LookupError(f"child {int(told)}")

    def leave_child_and_hang(self, facts, _):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", facts["mark"]])
        time.sleep(3600)

    def leave_child_and_exit(self, facts, _):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", facts["mark"]])
        time.sleep(1.0)
        os._exit(3)

    def stop(self, facts, _):
        """As on a machine that gives the worker no time."""
        os.kill(os.getpid(), signal.SIGSTOP)
        return True

    def wait_for(self, facts, _):
        while not Path(facts["flag"]).exists():
            time.sleep(0.01)
        return True

    def kill(self, facts, name):
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(3600)

    # State that outlives a response.

    def random(self, facts, _):
        return random.random()

    def numpy_random(self, facts, _):
        import numpy as np

        return np.random.random()  # noqa: NPY002

    def hash(self, facts, text):
        return hash(text) % 1000 / 1000

    def chdir(self, facts, _):
        was = Path.cwd()
        os.chdir("/")
        return was == Path(facts["here"])

    # The pipe.

    def forge(self, facts, what):
        """Write into the pipe to the parent."""
        for descriptor in range(3, 10_000):  # it has the number that it had in the parent
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    os.write(descriptor, bytes.fromhex(what))
        time.sleep(3600)
