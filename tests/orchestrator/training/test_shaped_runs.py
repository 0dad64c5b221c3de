"""Methods that look at parts of the vocabulary or shape the batch, through the whole learner; and refusals."""

from __future__ import annotations

import math

import pytest
import torch
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.clear_errors import EXIT_BAD_INPUT
from orchestrator.configuration.resolve import read_campaign
from tests.orchestrator.training.one_arm import same, trained

pytestmark = pytest.mark.trains

SHORT = {
    "learner.iterations": 3,
    "learner.epochs": 2,
    "learner.prompts_per_iteration": 8,
    "learner.micro_batch_size": 6,
    "evaluation.every": 50,
}
ARMS = {
    "lp_reg": {
        "method": "lp_reg",
        "loops": {"entropy": {"actuator": {"kind": "lp_reg", "fraction": 0.3, "threshold": 0.1}}},
    },
    "siren": {"method": "siren"},
    "aent": {
        "method": "aent",
        "loops": {"entropy": {"reference": {"kind": "constant", "value_nats": 1.0}}},
    },
    "era": {
        "method": "era",
        "loops": {"entropy": {"actuator": {"kind": "logit_activation", "low_nats": 2.0, "high_nats": 3.0}}},
    },
    "entropy_advantage": {"method": "entropy_advantage"},
    "unlikeliness": {"method": "unlikeliness"},
    "quantile": {"method": "quantile_advantage"},
    "gspo": {"method": "gspo"},
}


@pytest.fixture
def run(write_campaign):
    """Run one arm in this process; give its training records and the final weights."""
    torch.set_num_threads(1)

    def run(name, arm, changes=None):
        arms = {"arms": [{"name": name, **arm}], "tracking.folder": f"runs-{name}"}
        return trained(read_campaign(write_campaign(SHORT | arms | (changes or {}))), name)

    return run


def at_neutral(name):
    """The same arm with its command held at neutral."""
    law = {"kind": "open_loop", "value": 1.0 if name == "era" else 0.0}
    loop = {**ARMS[name].get("loops", {}).get("entropy", {}), "law": law}
    return ARMS[name] | {"loops": {"entropy": loop}}


@pytest.mark.parametrize("name", ARMS)
def test_the_learner_takes_every_step(run, name):
    records, learnt = run(name, ARMS[name])
    assert len(records) == 3
    for record in records:
        assert record["guard/skipped_steps"] == 0
        assert math.isfinite(record["loss"])
        assert record["grad_norm"] > 0
        assert record.get("loop/entropy/held", 0.0) == 0.0
        assert ("entropy/filtered/top" in record) == (name in ("lp_reg", "siren", "aent"))
    if name in ("lp_reg", "siren", "aent"):
        kind = {"lp_reg": "lp_reg", "siren": "selected_bonus", "aent": "clamped_bonus"}[name]
        assert records[-1][f"loss/{kind}"] != 0.0
        assert 0.0 <= records[0]["entropy/filtered"] <= records[0]["entropy"]
    if name == "siren":
        first, last = records[0], records[-1]
        assert first["loop/entropy/u"] == 0.0  # the anchor is the first reading
        change = last["entropy/filtered/top"] - first["entropy/filtered/top"]
        assert last["loop/entropy/u"] == pytest.approx(-0.01 * change)
    if name == "aent":
        # used and then updated: 0.0002, + 0.001 · (1 - y) after each reading
        y = [record["entropy/filtered"] for record in records]
        assert records[0]["loop/entropy/u"] == pytest.approx(0.0002)
        assert records[2]["loop/entropy/u"] == pytest.approx(0.0002 + 0.001 * (2 - y[0] - y[1]))
    if name not in ("quantile", "gspo"):
        assert not same(learnt, run(f"{name}-neutral", at_neutral(name))[1])


def test_neutral_is_bit_identical_to_no_loop_in_the_learner(run):
    loop = {"sensor": "entropy/filtered/top", "law": {"kind": "open_loop", "value": 0.0}}
    records, held = run("neutral", {"loops": {"entropy": {**loop, "actuator": {"kind": "selected_bonus"}}}})
    _, free = run("free", {"method": "grpo"})
    assert "entropy/filtered/top" in records[0]  # measured all the same
    assert same(held, free)


def test_the_cut_into_micro_batches_does_not_change_the_first_step(run):
    """In float32 the same to rounding; the selection is over the whole minibatch."""
    for name in ("lp_reg", "era"):
        whole, cut = (
            run(f"{name}-{size}", ARMS[name], {"learner.micro_batch_size": size, "learner.iterations": 1})[0][
                0
            ]
            for size in (None, 3)
        )
        for metric in ("loss", "loss/objective", "grad_norm", "ratio/approx_kl"):
            assert cut[metric] == pytest.approx(whole[metric], rel=1e-4, abs=1e-7), (name, metric)


def test_packed_rows_train_as_padded_ones(run):
    """Sampled, measured and updated: what differs is rounding."""
    for name in ("lp_reg", "era"):
        cut = {"learner.iterations": 1, "learner.micro_batch_size": None}
        padded, packed = (
            run(f"{name}-{budget}", ARMS[name], {**cut, "learner.tokens_per_micro_batch": budget})[0][0]
            for budget in (None, 40)
        )
        assert packed["entropy"] == pytest.approx(padded["entropy"], rel=1e-5)
        for metric in ("loss", "loss/objective", "grad_norm", "ratio/approx_kl"):
            assert packed[metric] == pytest.approx(padded[metric], rel=1e-4, abs=1e-7), (name, metric)


def test_under_scaled_logits_the_ratio_starts_at_one(run):
    records, _ = run("era", ARMS["era"], {"learner.epochs": 1, "learner.iterations": 1})
    assert records[0]["ratio/ratio/max"] == pytest.approx(1.0, abs=1e-5)
    assert records[0]["ratio/approx_kl"] == pytest.approx(0.0, abs=1e-8)


# Refusals ---------------------------------------------------------------------------------------------

CONSTANT = {"kind": "constant", "value_nats": 0.4}
FIXED = {"kind": "open_loop", "value": 0.1}


def refused(path):
    result = CliRunner().invoke(app, ["validate", str(path)])
    assert result.exit_code == EXIT_BAD_INPUT, result.output
    return result.stderr


@pytest.mark.parametrize("sensor", ["entropy/filtered", "entropy/filtered/top"])
def test_a_filtered_sensor_needs_an_actuator_with_a_vocabulary(write_campaign, sensor):
    message = refused(write_campaign({"arms.1.loops.entropy.sensor": sensor}))
    assert f"arms.held.loops.entropy.sensor: {sensor!r} needs an actuator that reads a part" in message
    assert "clamped_bonus, lp_reg, selected_bonus" in message
    assert "choose one, or the sensor 'entropy'" in message


def test_any_loop_of_the_run_may_provide_the_vocabulary(write_campaign):
    changes = {
        "arms.1.loops.entropy.sensor": "entropy/filtered",
        "arms.1.loops.other": {"law": FIXED, "actuator": {"kind": "clamped_bonus"}},
    }
    result = CliRunner().invoke(app, ["validate", str(write_campaign(changes))])
    assert result.exit_code == 0, result.output


def test_two_vocabularies_in_one_run_are_refused(write_campaign):
    changes = {
        "arms.1.loops.one": {"law": FIXED, "actuator": {"kind": "clamped_bonus"}},
        "arms.1.loops.two": {"law": FIXED, "actuator": {"kind": "lp_reg"}},
    }
    message = refused(write_campaign(changes))
    assert "arms.held.loops.two.actuator: 'lp_reg' reads the part MinP(threshold=0.02)" in message
    assert "the loop 'one' reads DropLowest(share=0.3)" in message
    assert "remove one of the two loops" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"arms.1.loops.entropy.actuator": {"kind": "logit_activation", "low_nats": 3, "high_nats": 1}},
            "arms.held.loops.entropy.actuator: high_nats must be above low_nats = 3.0, got 1.0",
        ),
        (
            {"arms.1.loops.entropy.actuator": {"kind": "lp_reg", "kappa": 0.02}},
            "arms.held.loops.entropy.actuator.kappa: unknown key",
        ),
        (
            {"learner.advantage": {"kind": "quantile", "quantile": 1.4}},
            "learner.advantage: quantile must be in (0, 1), got 1.4",
        ),
        (
            {"learner.advantage": {"kind": "quantil"}},
            "learner.advantage.kind: unknown kind 'quantil'; did you mean",
        ),
        ({"learner.advantage": "grpo"}, "learner.advantage: input should be a valid dictionary"),
        (
            {"learner.objective": {"kind": "gspo", "clip_low": 3.0}},
            "learner.objective: clip_low must be between 0 and 1, got 3.0",
        ),
    ],
)
def test_bad_constants_are_refused(write_campaign, changes, expected):
    assert expected in refused(write_campaign(changes))
