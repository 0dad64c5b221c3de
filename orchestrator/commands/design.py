"""The command `entrostat design`: from a plant file and a goal to a method preset, its margins and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from controllers.design import (
    SIMC,
    Design,
    DesignError,
    MinimumVariance,
    Robustness,
    SensitivityPeak,
    Settling,
    Specification,
    able,
    design,
    require_authority,
    robust_design,
    robustness,
)
from controllers.design.authority import NUM_SIGMA
from controllers.design.gain_search import Structure
from orchestrator.commands.outputs import beside, figure, print_rows, rows_text, say, write_all
from orchestrator.configuration.learner import Measure
from orchestrator.engineering.curves import Analysis
from orchestrator.engineering.pictures import design_pictures
from orchestrator.engineering.plant_file import PlantFile, read_plant, retimed
from orchestrator.engineering.preset import preset, preset_text, reference_for
from orchestrator.engineering.sources import tracking_of
from orchestrator.engineering.tracking import log_run
from orchestrator.errors import ConfigError, named, refusing
from orchestrator.storage.outputs import require_name

GOALS = "--settling N, --ms X, --time-constant T or --minimum-variance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the options ask for."""

    structure: Structure = "pi"
    settling: int | None = None
    ms: float | None = None
    time_constant: float | None = None
    minimum_variance: bool = False
    setpoint: float | None = None
    fraction: float | None = None
    limits: tuple[float, float] | None = None
    robust: bool = False
    ahead: int | None = None
    measure: Measure | None = None
    name: str | None = None
    output: Path | None = None

    @property
    def specification(self) -> Specification:
        """The one goal; ``ms`` beside another is its bound.

        Raises:
            ConfigError: no goal, several, or a value that none can have.
        """
        goals = [self.settling is not None, self.time_constant is not None, self.minimum_variance]
        if sum(goals) > 1 or not (any(goals) or self.ms is not None):
            raise ConfigError(f"choose one goal of {GOALS}; --ms beside another goal is an upper bound")
        if self.time_constant is not None and self.ms is not None:
            raise ConfigError("--time-constant follows a rule that takes no bound on Ms; leave --ms out")
        try:
            if self.time_constant is not None:
                return SIMC(time_constant=self.time_constant)
            spec: Settling | MinimumVariance | SensitivityPeak = SensitivityPeak()
            if self.settling is not None:
                spec = Settling(iterations=self.settling)
            if self.minimum_variance:
                spec = MinimumVariance()
            return spec if self.ms is None else replace(spec, ms=self.ms)
        except ValueError as error:
            raise ConfigError(
                f"--{str(error).replace('iterations', 'settling', 1).replace('time_constant', 'time-constant')}"
            ) from error


def run_design(path: Path, wish: Wish, *, folder: Path, uri: str | None, console: Console) -> None:
    """Design, print, write the preset and its pictures, track.

    Raises:
        ConfigError: anything that keeps the design from being made; nothing has been written then.
    """
    if wish.output is not None:
        require_name(wish.output, "--output")
    specification = wish.specification
    file = read_plant(path)
    for key, value in (("ahead", wish.ahead), ("measure", wish.measure)):
        if value is not None:
            with refusing(f"--{key} {value}", f"the plant's delay does not have its runs' own {key} in it"):
                file = retimed(file, **{key: value})
    try:
        reference, level = reference_for(file, wish.setpoint, wish.fraction)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    limits = _limits(file, wish.limits, path)
    with refusing(named(path), "no loop can be designed for these numbers; change them"):
        found, region = _found(path, file, specification, wish, level, limits)
    name = wish.name or f"designed_{wish.structure}_{file.channel.actuator.kind}"
    output = wish.output or Path(f"{name}.yaml")
    if output.resolve() == path.resolve():
        raise ConfigError(f"--output: {output} is the plant file itself; choose another")
    content = preset(file, found, region, name=name, reference=reference, limits=limits, filter=None)
    analysis = Analysis(plant=file.plant, law=found.law, at_nats=level)
    rows = table(found, region, level, limits)
    title = f"{name}: {wish.structure.upper()} on {file.channel.actuator.kind} for {level:.4g} nats/token"
    files = {output: preset_text(content, output.name).encode()}
    files[beside(output, "margins.txt")] = rows_text(title, rows).encode()
    files |= {beside(output, f"{picture}.png"): png for picture, png in design_pictures(analysis).items()}
    written = write_all(files)
    print_rows(console, title, rows)
    say(console, f"preset    {output} (and {len(written) - 1} files beside it)")
    tracked = log_run(
        tracking_of(folder, file.origin.campaign, uri, file.origin.tracking),
        file.origin.campaign,
        kind="design",
        name=name,
        runs_root=folder,
        params={"design": content["loops"], "plant_file": str(path), "runs": list(file.origin.runs)},
        metrics=metrics(found, region),
        files=[*written, path],
    )
    say(console, tracked)


def table(
    found: Design, region: Robustness, level: float, limits: tuple[float, float]
) -> list[tuple[str, str]]:
    """The figures of a design in the order in which they are asked for."""
    law, margins, promise = found.law, found.margins, found.promise
    drawn = f"{region.share:.0%} of {region.num_draws} plants of the confidence region"
    command = f"{found.holding_command:.3g} ± {figure(promise.command_std)} in [{limits[0]:g}, {limits[1]:g}]"
    return [
        ("gains", f"kp {law.kp:.4g}, ki {law.ki:.4g}, kd {law.kd:.4g} per unit of {law.error} error"),
        ("start and anti-windup", f"bias {law.bias:.4g}, anti_windup {law.anti_windup:.3g}"),
        ("gain margin", figure(margins.gain_margin)),
        ("phase margin", figure(margins.phase_margin_degrees, "degrees")),
        (
            "delay margin",
            f"{figure(margins.delay_margin, 'iterations')}; survives {margins.extra_iterations} whole iterations",
        ),
        ("Ms, Mt", f"{margins.ms:.3g}, {margins.mt:.3g}"),
        ("settling after a step of the setpoint", figure(promise.settling_iterations, "iterations")),
        ("recovery from a step of the drift", figure(promise.recovery_iterations, "iterations")),
        ("overshoot", f"{100 * promise.overshoot_fraction:.1f} % of the step"),
        (
            "noise of entropy about the setpoint",
            f"± {figure(promise.output_std_nats, 'nats/token')} "
            f"({100 * promise.output_std_nats / level:.1f} % of {level:.4g})",
        ),
        ("command that holds the setpoint, with its noise", command),
        ("Harris index", figure(promise.harris_index)),
        (f"Ms for {drawn}", f"{figure(region.ms)}; worst {figure(region.worst_ms)}"),
        (
            f"delay margin for {drawn}",
            f"{figure(region.delay_margin, 'iterations')}; worst {figure(region.worst_delay_margin)}",
        ),
        ("plants that it leaves unstable", f"{100 * region.unstable_share:.1f} %"),
    ]


def metrics(found: Design, region: Robustness) -> dict[str, float]:
    """The same as numbers, for MLflow."""
    margins, promise, law = found.margins, found.promise, found.law
    return {
        **{f"gain/{gain}": getattr(law, gain) for gain in ("kp", "ki", "kd", "bias")},
        "margin/gain": margins.gain_margin,
        "margin/phase_degrees": margins.phase_margin_degrees,
        "margin/delay_iterations": margins.delay_margin,
        "margin/ms": margins.ms,
        "margin/mt": margins.mt,
        "promise/settling_iterations": promise.settling_iterations,
        "promise/recovery_iterations": promise.recovery_iterations,
        "promise/output_std_nats": promise.output_std_nats,
        "promise/command_std": promise.command_std,
        "promise/harris_index": promise.harris_index,
        "robust/ms": region.ms,
        "robust/worst_ms": region.worst_ms,
        "robust/delay_iterations": region.delay_margin,
        "robust/unstable_share": region.unstable_share,
    }


def _found(
    path: Path,
    file: PlantFile,
    specification: Specification,
    wish: Wish,
    level: float,
    limits: tuple[float, float],
) -> tuple[Design, Robustness]:
    low, high = limits
    try:
        # First without noise: a target beyond the limits is refused with who else could hold it.
        there = require_authority(file.plant, level, low, high, others=_others(path, level))
        if isinstance(specification, MinimumVariance) and there.room > 0:
            # Least variance commands without regard; what the limits cut off would not be linear any more.
            specification = replace(specification, command_std=there.room / NUM_SIGMA)
        if wish.robust:
            return robust_design(
                file.plant, specification, structure=wish.structure, r_nats=level, low=low, high=high
            )
        found = design(file.plant, specification, structure=wish.structure, r_nats=level, low=low, high=high)
        return found, robustness(file.plant, found.law, None, level)
    except DesignError as error:
        raise ConfigError(f"{path}: {error}") from error


def _others(path: Path, level: float) -> tuple[str, ...]:
    """Actuators of the plant files beside this one that could hold the level, by file name."""
    files: dict[str, PlantFile] = {}
    for other in sorted(path.resolve().parent.glob("*.yaml")):
        if other.name == path.name:
            continue
        try:
            file = read_plant(other)
        except ConfigError:
            continue  # any other YAML file
        files[f"{file.channel.actuator.kind} ({other.name})"] = file
    plants = {name: file.plant for name, file in files.items()}
    return able(plants, {name: file.channel.limits for name, file in files.items()}, level)


def _limits(file: PlantFile, wanted: Sequence[float] | None, path: Path) -> tuple[float, float]:
    """The limits asked for, or those of the identification; they must be ones that the actuator has."""
    low, high = wanted or file.channel.limits
    command = file.channel.actuator.command
    where = "--limits" if wanted else f"{path}: channel.limits"
    if not command.low <= low < high <= command.high:
        raise ConfigError(
            f"{where}: must be low < high inside the range [{command.low:g}, {command.high:g}] of "
            f"{file.channel.actuator.kind!r}, got {low:g} {high:g}; narrow them"
        )
    if not low <= command.neutral <= high:
        raise ConfigError(
            f"{where}: must contain the neutral command {command.neutral:g} of "
            f"{file.channel.actuator.kind!r}, got {low:g} {high:g}; widen them"
        )
    return float(low), float(high)
