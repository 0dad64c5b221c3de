"""Tables of the loops: how well each held its setpoint, and how it recovered from a change of its plant."""

from __future__ import annotations

from orchestrator.comparison import Estimate
from orchestrator.comparison.comparison import Comparison
from orchestrator.report.summary_cells import HARRIS, harris, number, percent
from orchestrator.report.table import NONE, Cell, Head, Table


def setpoint_quality(comparison: Comparison) -> Table:
    """How well the main loop of every arm that has a setpoint did."""
    rows = [
        (
            each.arm,
            (
                Cell(number(each.rmse), each.rmse.mean),
                Cell(percent(each.hold_error), each.hold_error.mean),
                Cell(number(each.iae, 2), each.iae.mean),
                Cell(number(each.overshoot), each.overshoot.mean),
                Cell(percent(each.offset, 1), each.offset.mean),
                Cell(_of_seeds(each.settling, "never"), each.settling.mean),
                Cell(number(each.effort, 1), each.effort.mean),
                Cell(percent(each.saturation), each.saturation.mean),
                Cell(harris(each.harris, each.dead_time), each.harris.mean),
            ),
        )
        for each in comparison.setpoint_quality
        if each.rmse.num
    ]
    heads = (
        Head("RMSE", "nats/token, unfiltered entropy against setpoint, whole run"),
        Head("hold error", "share of the setpoint, root mean square over the last quarter"),
        Head("IAE", "nats/token · iterations: sum of the absolute error"),
        Head("overshoot", "nats/token beyond the setpoint"),
        Head("offset", "share of the setpoint, mean error over the last quarter: positive is too low"),
        Head("settling", "iterations until the mean of five readings stays within 10 %"),
        Head("effort", "path length of the command, in the actuator’s unit"),
        Head("at limit", "saturation: share of iterations with the command at a limit"),
        Head("Harris index", HARRIS),
    )
    return Table(
        name="setpoint_quality",
        title="Setpoint quality",
        heads=heads,
        rows=tuple(rows),
        note="Mean ± sample standard deviation over seeds.",
        missing="No finished run has a loop with a setpoint.",
    )


def recovery(comparison: Comparison) -> Table:
    """What every change of the plant did to every loop with a setpoint."""
    rows = [
        (
            each.arm,
            (
                Cell(f"{each.at}" if each.loop == "entropy" else f"{each.at} {each.loop}", each.at),
                Cell(percent(each.before, 1), each.before.mean),
                Cell(percent(each.excursion, 1), each.excursion.mean),
                Cell(_of_seeds(each.iterations, "never"), each.iterations.mean),
                Cell(number(each.iae, 2), each.iae.mean),
                Cell(percent(each.after, 1), each.after.mean),
            ),
        )
        for each in comparison.recoveries
    ]
    heads = (
        Head("change at", "first iteration of the phase, and the loop if it is not the usual one"),
        Head("RMS before", "share of the setpoint, over the 20 iterations before"),
        Head("excursion", "share of the setpoint, largest of the mean of five readings from the change on"),
        Head(
            "recovery",
            "iterations until that mean stays within 10 % of the setpoint, or four times its own spread before",
        ),
        Head("IAE", "nats/token · iterations, from the change to the next or the end"),
        Head("RMS after", "share of the setpoint, over the last 20 iterations of the phase"),
    )
    return Table(
        name="recovery",
        title="Recovery from a change of the plant",
        heads=heads,
        rows=tuple(rows),
        note="Mean ± sample standard deviation over seeds; in brackets how many seeds recovered.",
        missing="No finished run with a setpoint has a phase that changes it.",
    )


def _of_seeds(iterations: Estimate, none: str) -> str:
    """`12 ± 3 (4 of 5)`: the mean is that of the seeds that have one."""
    if not iterations.num:
        return none if iterations.values else NONE
    text, all_of_them = number(iterations, 0), len(iterations.values)
    return text if iterations.num == all_of_them else f"{text} ({iterations.num} of {all_of_them})"
