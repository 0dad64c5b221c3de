"""Known vulnerabilities of the pinned packages, asked of an advisory database: ``audit.py CONSTRAINTS``.

A finding fails.  Where no database answers, or it knows none of the packages (a mirror has the files and not the
advisories), a line says that nothing was looked up and the exit status is 0: no verdict is not a bad one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

COMMAND = ("-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
PATIENCE_SECONDS = "10"
LONGEST_RUN_SECONDS = 600


def main(constraints: str) -> int:
    """Ask, print, give the exit status."""
    command = [sys.executable, *COMMAND, "--timeout", PATIENCE_SECONDS, "--requirement", constraints]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_RUN_SECONDS)
    except subprocess.TimeoutExpired:
        return skipped(f"no answer in {LONGEST_RUN_SECONDS} s")
    return verdict(done.stdout, done.stderr)


def verdict(answer: str, complaint: str) -> int:
    """The exit status for what pip-audit wrote: a JSON answer, or a complaint and none."""
    if not answer.strip():
        lines = complaint.strip().splitlines()
        if any(
            name in complaint
            for name in ("ConnectionError", "ProxyError", "SSLError", "ServiceError", "Timeout")
        ):
            return skipped(lines[-1])
        print(f"pip-audit failed: {complaint.strip()}")
        return 1
    packages = json.loads(answer)["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    findings = [finding for package in asked for finding in lines_of(package)]
    if not asked:
        return skipped(f"it knows none of the {len(packages)} packages")
    print("\n".join(findings) or f"no known vulnerability in {len(asked)} of {len(packages)} pinned packages")
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if unknown:
        print(f"not in the database: {', '.join(unknown)}")
    return 1 if findings else 0


def lines_of(package: dict[str, object]) -> Sequence[str]:
    """A line for each known vulnerability of a package."""
    found = package["vulns"]
    assert isinstance(found, list)
    return [
        f"{package['name']} {package['version']}: {each['id']}; "
        f"mended in {', '.join(each['fix_versions']) or 'no version yet'}"
        for each in found
    ]


def skipped(why: str) -> int:
    """Say that nothing was looked up."""
    print(f"SKIPPED: known vulnerabilities were not looked up: no advisory database answers here ({why})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
