"""Writes a designed loop as a method preset, which a campaign can use unchanged."""

from __future__ import annotations

import re
from typing import Any

from controllers.base import Filter, Reference
from controllers.design import Design, Robustness
from controllers.parts.filters import Hold
from controllers.parts.references import Constant, InitialAnchored
from orchestrator.configuration.loops import LoopConfig
from orchestrator.configuration.method_file import MethodConfig
from orchestrator.configuration.part_schema import to_plain
from orchestrator.configuration.resolve import parse
from orchestrator.engineering.plant_file import PlantFile, yaml_text
from orchestrator.errors import ConfigError

HEADER = """\
# A method preset, written by `entrostat design`.  In a campaign:
#
#   arms:
#     - {{name: {name}, method: {file}}}
"""


def preset(
    file: PlantFile,
    found: Design,
    region: Robustness,
    *,
    name: str,
    reference: Reference,
    limits: tuple[float, float],
    filter: Filter | None,
) -> dict[str, Any]:
    """The preset as a mapping: the loop with the designed law, and the plant it was designed for.

    Raises:
        ConfigError: the name cannot be that of a method, or the parts make no loop.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", name):
        raise ConfigError(f"--name: must be letters, digits and any of _ . -, got {name!r}")
    channel = file.channel
    loop: dict[str, Any] = {"domain": channel.domain} if channel.domain else {}
    loop |= {
        "sensor": channel.sensor,
        "filter": to_plain(filter or Hold()),
        "reference": to_plain(reference),
        "law": to_plain(found.law),
        "actuator": to_plain(channel.actuator),
        "limits": list(limits),
        "plant": to_plain(file.plant),
    }
    content = {
        "method": name,
        "summary": f"A {found.structure.upper()} on {channel.actuator.kind}, designed for an identified plant.",
        "source": f"entrostat design; plant of {file.origin.campaign}, arm {file.origin.arm}",
        "notes": _notes(file, found, region),
        "loops": {file.origin.loop: loop},
    }
    parse(MethodConfig, content, name)
    built = parse(LoopConfig, loop, f"{name}: loops.{file.origin.loop}")
    try:
        built.build()
    except ValueError as error:
        raise ConfigError(f"{name}: loops.{file.origin.loop}: {error}") from error
    return content


def preset_text(content: dict[str, Any], file_name: str) -> str:
    """The preset as the text of its file."""
    return f"{HEADER.format(name=content['method'], file=file_name)}\n{yaml_text(content)}"


def reference_for(file: PlantFile, setpoint: float | None, fraction: float | None) -> tuple[Reference, float]:
    """The reference asked for, and the level that it is going to be at [nats/token].

    Without either it is the level that the plant was identified at.

    Raises:
        ConfigError: both are given, a value is out of range, or the file does not say where runs start.
    """
    if setpoint is not None and fraction is not None:
        raise ConfigError("give one of --setpoint and --fraction, not both")
    try:
        if fraction is None:
            level = file.plant.level_nats if setpoint is None else setpoint
            reference: Reference = Constant(value_nats=round(level, 4) if setpoint is None else level)
            if not level > 0:
                raise ConfigError(f"--setpoint: must be > 0 nats/token, got {level:g}")
            return reference, level
        initial = file.channel.initial_nats
        if initial is None:
            raise ConfigError("channel.initial_nats: is missing, and --fraction is a share of it; add it")
        reference = InitialAnchored(fraction=fraction)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{'--setpoint' if fraction is None else '--fraction'}: {error}") from error
    return reference, fraction * initial


def _notes(file: PlantFile, found: Design, region: Robustness) -> str:
    margins, promise, spec = found.margins, found.promise, found.specification
    asked = ", ".join(f"{key} {value:g}" for key, value in to_plain(spec).items() if _is_number(value))
    return (
        f"Asked for: {spec.kind} ({asked}). Ms {margins.ms:.2f}, gain margin {margins.gain_margin:.2f}, phase "
        f"margin {margins.phase_margin_degrees:.0f} degrees, delay margin {margins.delay_margin:.1f} iterations; "
        f"Ms {region.ms:.2f} for {region.share:.0%} of the plants of the confidence region. Predicted: "
        f"{promise.output_std_nats:.3g} nats/token of noise about the setpoint, Harris index "
        f"{promise.harris_index:.2f}. The gains belong to learner.learning_rate {file.channel.learning_rate:g}, "
        f"learner.measure '{file.channel.measure}' and rollout.ahead {file.channel.ahead}."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != float("inf")
