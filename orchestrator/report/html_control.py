"""The section of the page about loops that name their plant."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.report import control
from orchestrator.report.plot_style import Figure
from orchestrator.report.rendering import Arms, rendered
from orchestrator.report.sections import Section
from orchestrator.storage.run_data import CampaignRecords

PREDICTED = (
    "Grey: median and 5 to 95 % band of the prediction. It uses the plant in the configuration with its "
    "uncertainty, the loop and the first reading, and nothing later. Coloured: readings of every seed. "
    "Normalised RMSE: RMSE of the readings against the predicted median, divided by their standard deviation."
)
MEASURED = (
    "Mean ± sample standard deviation over seeds; in brackets the median of the prediction. Margins hold for "
    "the loop on its plant with a command at every iteration. With a delay margin of 2 the loop stays stable on "
    "responses that are two updates old. A Harris index of 1 is the least error that noise and delay allow."
)


def control_section(
    campaign: CampaignRecords,
    designed: Sequence[control.Designed],
    predicted: Sequence[Figure],
    linear: Sequence[Figure],
) -> Section | None:
    """The section of the loops that know their plant; None where there is none."""
    if not designed:
        return None
    body = rendered(
        "control.html",
        arms=Arms.of(campaign),
        designed=designed,
        rows=control.table(designed),
        predicted=predicted,
        linear=linear,
        prediction_note=PREDICTED,
        measurement_note=MEASURED,
    )
    return Section(id="control", title="Control engineering", body=body, figures=[*predicted, *linear])
