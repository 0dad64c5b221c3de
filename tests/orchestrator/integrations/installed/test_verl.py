"""The recipe for verl in verl's own trainer, with its own store of tensors, on a CPU and without workers.

`make test-trainers` has the package; elsewhere this is skipped.
"""

from __future__ import annotations

import pytest
import torch

from tests.orchestrator.integrations.page import block, loop_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # Ray's processes import verl each
    pytest.mark.filterwarnings("ignore"),  # of libraries about one another
]


def nested(*rows):
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


@pytest.fixture
def store():
    """verl's transfer queue, of one small unit where its own default is eight large ones."""
    pytest.importorskip("verl", reason="verl is not installed; `make test-trainers` has it")
    import ray
    import transfer_queue
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(
            "ppo_trainer",
            overrides=[
                "trainer.v1.trainer_mode=controlled",
                "algorithm.adv_estimator=grpo",
                "algorithm.norm_adv_by_std_in_grpo=false",
                "actor_rollout_ref.rollout.n=2",
                "critic.enable=false",
            ],
        )
    config.transfer_queue.backend.SimpleStorage.update(
        {"num_data_storage_units": 1, "total_storage_size": 16}
    )
    # A cluster of its own, whatever runs here, with as many processors as its actors ask for.
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    try:
        transfer_queue.init(config.transfer_queue)
        yield transfer_queue, config
    finally:
        transfer_queue.close()
        ray.shutdown()


def test_the_recipe_moves_the_advantages_that_verl_has_computed(store):
    queue, config = store
    from tensordict import TensorDict
    from tensordict.tensorclass import NonTensorStack
    from verl.trainer.ppo.v1 import get_trainer_cls
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    exec(block("python", "ControlledTrainer"), {})
    controlled = get_trainer_cls("controlled")
    controlled.loop = loop_of("entropy_advantage")
    trainer = controlled(config)
    # Its own name in the configuration would bring the replay buffer of the asynchronous trainers.
    assert type(trainer.replay_buffer) is ReplayBuffer
    trainer.global_steps = 1
    keys = ["prompt_0_0", "prompt_1_0"]
    batch = queue.kv_batch_put(
        keys=keys,
        partition_id="train",
        tags=[{}, {}],
        fields=TensorDict(
            {
                "uid": NonTensorStack("prompt", "prompt"),
                "rm_scores": nested([0.0, 1.0], [0.0]),  # at the last token of a response
                "response_mask": nested([1, 1], [1]),
                "old_log_probs": nested([-1.0, -1.0], [-1.0]),
                "rollout_log_probs": nested([-1.0, -1.0], [-1.0]),
                "entropy": nested([0.2, 0.6], [0.4]),
            },
            batch_size=2,
        ),
    )
    metrics: dict[str, float] = {}
    batch = trainer._compute_advantage(batch, metrics)
    # y = (0.2 + 0.6 + 0.4) / 3 and u = 0.5 · (1 − 0.4); GRPO without its deviation gives 1 − 0.5 and 0 − 0.5.
    assert {name: metrics[name] for name in ("loop/y", "loop/r", "loop/u")} == pytest.approx(
        {"loop/y": 0.4, "loop/r": 1.0, "loop/u": 0.3}
    )
    got = queue.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["advantages", "returns"])
    first, second = (row.tolist() for row in got["advantages"].unbind())
    assert first == pytest.approx([0.5 + 0.3 * 0.2, 0.5 + 0.3 * 0.6])
    assert second == pytest.approx([-0.5 + 0.3 * 0.4])
    assert got["returns"].unbind()[0].tolist() == pytest.approx([0.5, 0.5])  # verl's own, as it was


def test_verl_takes_a_trainer_by_name_once():
    pytest.importorskip("verl", reason="verl is not installed; `make test-trainers` has it")
    from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer

    with pytest.raises(ValueError, match="already registered"):
        register_trainer("sync")(
            type("Other", (PPOTrainerSync,), {})
        )  # so the recipe needs a name of its own
