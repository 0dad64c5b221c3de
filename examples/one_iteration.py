"""GRPO with a loop on its entropy bonus, from top to bottom in one file: policy, rollouts, measure, loop, loss.

    python examples/one_iteration.py [ITERATIONS]

Everything that `entrostat run` adds is left out: checkpoints, evaluations, several processes, grading in workers
of its own, a record.  The parts are the ones that it uses.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from random import Random

import torch

from controllers import Constant, FeedbackLoop
from controllers.laws.auto import Auto
from policies.actuators.bonus import Bonus
from policies.advantages import grpo
from policies.model.built_in import built_in
from policies.model.loading import LoadedPolicy
from policies.model.tiny import TinyModel
from policies.model.warm_start import WarmStart
from policies.objectives import ClippedSurrogate, token_weights
from policies.policy_loss import Actuation, policy_loss
from policies.rollouts.base import Sampling
from policies.rollouts.transformers_engine import TransformersEngine
from policies.statistics.batch import TokenBatch
from policies.statistics.response_statistics import View, response_statistics
from policies.statistics.sensors import measure
from policies.statistics.sequences import Sequences, pack, token_index
from tasks.demonstrations import demonstration
from tasks.kinds.arithmetic import Arithmetic

PROMPTS, GROUP, SETPOINT_NATS = 16, 8, 0.3
TASK, BONUS, OBJECTIVE = Arithmetic(num_digits=1), Bonus(), ClippedSurrogate()
LOOP = FeedbackLoop(
    sensor="entropy",
    reference=Constant(value_nats=SETPOINT_NATS),
    law=Auto(),
    actuator=BONUS.kind,
    low=BONUS.command.low,
    high=BONUS.command.high,
    neutral=BONUS.command.neutral,
)


def beginner() -> LoadedPolicy:
    """A Llama of 0.05 M parameters that has seen sums, one in ten of them wrong."""

    def demonstrations(batch: int) -> list[list[str]]:
        problems = [TASK.problem("train", 1, 32 * batch + place) for place in range(32)]
        return [[each.text, *demonstration(TASK, each, Random(each.prompt), 0.1)] for each in problems]

    architecture = TinyModel(hidden_size=32, intermediate_size=64, num_layers=2, num_heads=1)
    start = WarmStart(num_steps=300, batch_size=32, learning_rate=1e-2)
    return built_in(architecture, start, TASK.alphabet(), demonstrations)


def experience(
    policy: LoadedPolicy, engine: TransformersEngine, iteration: int, view: View
) -> tuple[Sequences, TokenBatch]:
    """Sample, grade and measure: N = P · G responses as one flat batch of tokens."""
    problems = [TASK.problem("train", 0, iteration * PROMPTS + place) for place in range(PROMPTS)]
    prompts = [policy.encode(problem.prompt) for problem in problems]
    sampling = Sampling(temperature=view.temperature, max_tokens=8, seed=iteration)
    responses = [each for group in engine.generate(prompts, GROUP, sampling) for each in group]
    texts = policy.decode([each.tokens for each in responses])
    rewards = torch.tensor([TASK.grade(problems[n // GROUP], text) for n, text in enumerate(texts)])
    group = torch.repeat_interleave(torch.arange(PROMPTS), GROUP)

    repeated = [prompt for prompt in prompts for _ in range(GROUP)]
    sequences = pack(
        repeated, [each.tokens for each in responses], policy.pad_id, [each.spoken for each in responses]
    )
    with torch.no_grad():
        seen = response_statistics(policy.model, sequences, view)
    response, position = token_index(sequences)
    batch = TokenBatch(
        response=response,
        position=position,
        logprobs=seen.logprobs,
        old_logprobs=seen.logprobs,
        entropy=seen.entropy,
        advantages=grpo(rewards, group)[response],
        weights=token_weights(response, len(rewards), "token_mean"),
        rewards=rewards,
        group=group,
    )
    return sequences, batch


def main(iterations: int) -> None:
    """Train, and print what the loop saw and did."""
    policy = beginner()
    engine = TransformersEngine(
        policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids, max_batch_size=256
    )
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-3, weight_decay=0.0)
    view = View(temperature=1.0, masked_ids=policy.masked_ids, entropy_gradient=True)
    state = LOOP.init()
    for iteration in range(iterations):
        sequences, batch = experience(policy, engine, iteration, view)
        telemetry = measure(batch, vocabulary_size=policy.vocabulary_size)
        state, trace = LOOP.step(state, telemetry, iteration)

        actuation = Actuation.of([BONUS], {BONUS.kind: trace.u})
        plans = actuation.plans(batch)
        now = response_statistics(policy.model, sequences, view)  # with gradient
        tokens = replace(batch, logprobs=now.logprobs, entropy=now.entropy, old_entropy=batch.entropy)
        loss, _, _ = policy_loss(tokens, OBJECTIVE, actuation, plans)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        print(
            f"iteration {iteration:3d}  reward {telemetry['reward']:.3f}  entropy {trace.y:.3f} of {trace.r:.3f} "
            f"nats  bonus {trace.u:+.3f}"
        )


if __name__ == "__main__":
    torch.manual_seed(0)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
