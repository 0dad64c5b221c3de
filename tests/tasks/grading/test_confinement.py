"""Each thing that a grader may not do, tried; skipped, visibly, where this system does not hold it."""

import ctypes.util
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_graders import Intruder

from tasks.base import Problem
from tasks.grading.confinement import MAX_FILE_MEGABYTES, MAX_OPEN_FILES, NOT_HELD, confine
from tasks.grading.pool import GradingPool
from tasks.grading.seccomp import ATTRIBUTES, MACHINES, NETWORK, PROCESSES, SHARED_MEMORY, filter_code
from tasks.kinds.arithmetic import Arithmetic
from tasks.kinds.mixture import Member, Mixture

ROOT = Path(__file__).parents[3]
NAME = "entrostat-intruder-was-here"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder that is no grader's business, with a file."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "old").write_text("old")
    return folder


@pytest.fixture(scope="module")
def problem(outside):
    listening = socket.create_server(("127.0.0.1", 0))
    facts = {
        "outside": str(outside),
        "name": NAME,
        "port": listening.getsockname()[1],
        "here": str(Path.cwd()),
    }
    with listening:
        yield Problem(prompt="?", answer="", domain="test", difficulty=0.0, facts=facts)


@pytest.fixture(scope="module")
def pool():
    with GradingPool(Intruder(), memory_limit_megabytes=2048) as pool:
        yield pool


def holds(pool, rule):
    if NOT_HELD in pool.confinement[rule]:
        pytest.skip(f"{rule} on this system: {pool.confinement[rule]}")


@pytest.mark.parametrize(
    ("rule", "response", "error"),
    [
        ("network", "socket AF_INET", "PermissionError"),
        ("network", "socket AF_INET6", "PermissionError"),
        ("network", "socket AF_UNIX", "PermissionError"),
        ("network", "udp", "PermissionError"),
        ("network", "connect", "PermissionError"),
        ("writing", "write", "PermissionError"),
        ("writing", "write_home", "PermissionError"),
        ("writing", "write_here", "PermissionError"),
        ("writing", "overwrite", "PermissionError"),
        ("writing", "truncate", "PermissionError"),
        ("writing", "remove", "PermissionError"),
        ("writing", "rename", "Error"),  # PermissionError, or EXDEV where a link would be needed
        ("writing", "link", "Error"),
        ("writing", "symlink", "PermissionError"),
        ("writing", "mkdir", "PermissionError"),
        ("writing", "chmod", "PermissionError"),
        ("writing", "chown", "PermissionError"),
        ("writing", "mount", "PermissionError"),
        ("writing", "memfd", "PermissionError"),
        ("writing", "shared_memory", "PermissionError"),
        ("processes", "fork", "PermissionError"),
        ("processes", "bomb", "PermissionError"),
        ("processes", "vfork", "PermissionError"),
        ("processes", "subprocess", "PermissionError"),
        ("signals", "kill_parent", "PermissionError"),
        ("signals", "read_parent", "PermissionError"),
        ("memory", "memory", "MemoryError"),
        ("file size", "huge_file", "OSError: [Errno 27] File too large"),
        ("open files", "many_files", "OSError: [Errno 24] Too many open files"),
        ("core dumps", "raise_limits", "Error"),
    ],
)
def test_a_grader_may_not(pool, problem, outside, rule, response, error):
    holds(pool, rule)
    grades = pool.grade([problem], [response])
    assert grades.scores == [0.0]
    assert (grades.num_timeouts, grades.num_errors, grades.num_crashes) == (0, 1, 0)
    assert error in grades.first_error
    assert sorted(path.name for path in outside.iterdir()) == ["old"]
    assert (outside / "old").read_text() == "old"
    assert (outside / "old").stat().st_mode & 0o777 == 0o644 & ~_umask()
    assert not (Path.home() / NAME).exists()
    assert not Path(NAME).exists()


@pytest.mark.parametrize(
    ("rule", "response"), [("network", "socket_in_a_thread"), ("processes", "shell touch {}/new")]
)
def test_a_grader_may_not_and_is_not_even_told(pool, problem, outside, rule, response):
    holds(pool, rule)
    assert pool.grade([problem], [response.format(outside)]).scores == [0.0]
    assert not (outside / "new").exists()


@pytest.mark.parametrize("response", ["read", "import_late", "scratch", "thread"])
def test_a_grader_may(pool, problem, response):
    grades = pool.grade([problem] * 2, [response] * 2)
    assert (grades.scores, grades.first_error) == ([1.0] * 2, "")


def test_an_error_of_rights_says_how_a_task_asks_for_them(pool, problem):
    holds(pool, "network")
    assert "grading_needs" in pool.grade([problem], ["udp"]).first_error


@pytest.mark.parametrize(
    ("need", "may", "may_not"),
    [
        ("network", ["connect", "udp"], ["write", "fork"]),
        ("writing", ["write", "chmod"], ["udp", "fork"]),
        ("processes", ["fork", "subprocess", "vfork"], ["udp", "write"]),
    ],
)
def test_a_task_gets_what_it_needs_and_no_more(tmp_path, problem, need, may, may_not):
    (tmp_path / "old").write_text("old")
    problem = Problem(
        prompt="?",
        answer="",
        domain="test",
        difficulty=0.0,
        facts={**problem.facts, "outside": str(tmp_path)},
    )
    with GradingPool(Intruder(grading_needs=(need,))) as pool:
        assert pool.confinement[need] == "allowed, the task needs it"
        grades = pool.grade([problem] * len(may), may)
        assert (grades.scores, grades.first_error) == ([1.0] * len(may), "")
        for response in may_not:
            rule = {"write": "writing", "fork": "processes", "udp": "network"}[response]
            if NOT_HELD not in pool.confinement[rule]:
                assert pool.grade([problem], [response]).num_errors == 1


def test_a_mixture_needs_what_its_members_need():
    sums, networked = Arithmetic(num_digits=1), Intruder(grading_needs=("network",))
    assert sums.grading_needs == ()
    both = Mixture(tasks=(Member(task=sums), Member(task=networked)))
    assert both.grading_needs == {"network"}


def test_a_need_that_there_is_not_is_refused():
    with pytest.raises(
        RuntimeError, match="grading_needs must be of network, processes, writing, got internet"
    ):
        GradingPool(Intruder(grading_needs=("internet",)))


def test_a_memory_limit_below_what_the_task_takes_is_refused_with_the_cure():
    if sys.platform != "linux":
        pytest.skip("only Linux says how much address space there is")
    with pytest.raises(
        RuntimeError, match=r"takes \d+ MiB .* limit of a grader is 8 MiB; raise .* or set it to null"
    ):
        GradingPool(Intruder(), memory_limit_megabytes=8)


def report_where(patches, tmp_path):
    """What ``confine`` says, in a process of its own, where the system refuses ``patches``."""
    code = f"""
import errno, json, sys
sys.path.insert(0, {str(ROOT)!r})
from tasks.grading import confinement as grading_confinement
from tasks.grading import landlock as grading_landlock
from tasks.grading import seccomp as grading_seccomp
def refuse(*_, **__): raise OSError(errno.ENOSYS, "not here")
{patches}
report = grading_confinement.confine((), scratch={str(tmp_path)!r}, memory_limit_megabytes=2048)
print(json.dumps(report))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_what_a_system_does_not_allow_is_said_and_the_rest_is_held(tmp_path):
    report = report_where(
        "grading_landlock.version = grading_landlock._call = grading_seccomp.refuse = refuse\n"
        "grading_confinement._drop_privileges = refuse",
        tmp_path,
    )
    for rule in ("privileges", "network", "processes", "writing", "signals"):
        assert report[rule] == f"{NOT_HELD}: not here"
    assert report["file size"] == f"{MAX_FILE_MEGABYTES} MiB a file"
    assert report["open files"] == str(MAX_OPEN_FILES)
    assert report["core dumps"] == "none"


def test_landlock_alone_holds_tcp_and_says_that_it_holds_no_more(tmp_path):
    report = report_where("grading_seccomp.refuse = refuse", tmp_path)
    if NOT_HELD in report["writing"].partition(";")[0]:
        pytest.skip(report["writing"])
    assert report["processes"] == f"{NOT_HELD}: not here"
    assert report["network"].startswith("no TCP, by Landlock")
    assert f"all else {NOT_HELD}" in report["network"]
    assert f"modes and owners {NOT_HELD}" in report["writing"]


def test_threads_from_before_are_said_not_to_be_held(tmp_path):
    if sys.platform != "linux":
        pytest.skip("threads are counted on Linux")
    early = "import threading, time\nthreading.Thread(target=time.sleep, args=(1,), daemon=True).start()"
    assert report_where(early, tmp_path)["threads"].startswith(f"{NOT_HELD}: privileges and writing, for 1 ")
    assert "threads" not in report_where("", tmp_path)


def test_an_unknown_need_gives_up_nothing(tmp_path):
    with pytest.raises(ValueError, match="got teleport"):
        confine(("teleport",), scratch=str(tmp_path))
    assert os.environ.get("TMPDIR") != str(tmp_path)


@pytest.mark.parametrize(
    ("nr", "argument", "audit", "verdict"),
    [
        (41, 0, 1, "EPERM"),  # socket
        (0, 0, 1, "allow"),
        (0, 0, 2, "EPERM"),  # another calling convention has other numbers
        (0x40000000 + 41, 0, 1, "EPERM"),  # x32
        (56, 0x00010000, 1, "allow"),  # clone of a thread
        (56, 0x00000011, 1, "EPERM"),  # clone of a process
        (435, 0, 1, "ENOSYS"),  # clone3: the C library falls back on clone
        (57, 0, 1, "EPERM"),
        (90, 0, 1, "EPERM"),
        (91, 0, 1, "allow"),  # of a call that this processor does not have
    ],
)
def test_the_filter_decides_by_call_and_argument(nr, argument, audit, verdict):
    numbers = {"socket": 41, "clone": 56, "fork": 57, "clone3": 435, "chmod": 90}
    code = filter_code(1, numbers, (*NETWORK, *PROCESSES, *ATTRIBUTES))
    assert run_filter(code, struct.pack("=iIQ6Q", nr, audit, 0, argument, 0, 0, 0, 0, 0)) == verdict


@pytest.mark.parametrize(("name", "code"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_numbers_of_calls_are_those_of_libseccomp(name, code):
    found = ctypes.util.find_library("seccomp")
    if not found:
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(found).seccomp_syscall_resolve_name_arch
    machine = MACHINES[name]
    assert machine.audit == code
    calls = {*NETWORK, *PROCESSES, *ATTRIBUTES, *SHARED_MEMORY}
    for call in (*calls, "seccomp"):
        number = resolve(code, call.encode())
        if number != -1:  # newer than this libseccomp
            ours = machine.seccomp if call == "seccomp" else machine.numbers.get(call, number)
            assert ours == number, call
            assert call in machine.numbers or call == "seccomp" or number < 0, f"{call} is not refused"


def run_filter(code, data):
    """A few lines of the kernel's interpreter of classic BPF."""
    instructions, pc, accumulator = list(struct.iter_unpack("=HBBI", code)), 0, 0
    while True:
        operation, yes, no, constant = instructions[pc]
        pc += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif operation == 0x06:
            return {0x7FFF0000: "allow", 0x00050001: "EPERM", 0x00050026: "ENOSYS"}[constant]
        else:
            jumps = {
                0x15: accumulator == constant,
                0x35: accumulator >= constant,
                0x45: bool(accumulator & constant),
            }
            pc += yes if jumps[operation] else no


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
