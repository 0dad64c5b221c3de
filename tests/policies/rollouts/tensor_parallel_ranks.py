"""A rank of several that hold engines together, two to an engine; run by a test, and prints what its part was asked.

In the place of vLLM is a stand-in that answers each prompt with its last token, so that it shows whose answer it is.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from types import ModuleType, SimpleNamespace

import torch
from torch import distributed as dist

from orchestrator.training.experience import Explorer
from policies.model.loading import LoadedPolicy
from policies.rollouts import vllm_engine
from policies.rollouts.base import Sampling
from policies.rollouts.episodes import EpisodeLimits
from policies.rollouts.settings import Vllm
from policies.rollouts.vllm_engine import VllmEngine
from tasks import Problem, Task

PATIENCE = timedelta(seconds=60)
SIZE = 2
NUM_TURNS = (3, 1, 1, 2)
"""Turns of each rank's episodes."""
NUM_PROMPTS = (2, 1, 0, 1)
"""Prompts of each rank."""


class LLM:
    """Notes each call: the prompts, and the seed of each."""

    def __init__(self, **arguments):
        self.arguments = arguments
        self.calls = []
        self.llm_engine = SimpleNamespace(set_weight_version=lambda _: None)

    def collective_rpc(self, name, args):
        pass

    def reset_prefix_cache(self):
        pass

    def generate(self, prompts, asked, use_tqdm):
        ids = [prompt["prompt_token_ids"] for prompt in prompts]
        self.calls.append([[*each, one["seed"] % 1000] for each, one in zip(ids, asked, strict=True)])
        return [SimpleNamespace(outputs=[sample(each[-1])] * one["n"]) for each, one in zip(ids, asked)]


def sample(token):
    return SimpleNamespace(
        token_ids=[token],
        logprobs=[{token: SimpleNamespace(logprob=-1.0)}],
        weight_versions=[SimpleNamespace(version="0", start=0, end=1)],
        finish_reason="stop",
    )


class Words:
    """As much of a policy as the engine and episodes need; token ids tell ranks apart."""

    masked_ids, stop_ids, context = (), (), 64
    text_config = SimpleNamespace(max_position_embeddings=64, head_dim=32)
    model = SimpleNamespace(
        device=torch.device("cpu"), config=SimpleNamespace(get_text_config=lambda: Words.text_config)
    )
    decode = staticmethod(lambda rows: ["word" for _ in rows])

    def __init__(self, rank):
        self.encode_reply = lambda text, spoken: torch.tensor([10 * rank + 5])


class Talk:
    """A task that answers back in each turn but the last."""

    answers_back = True

    def __init__(self, num_turns):
        self.num_turns = num_turns

    def reply(self, problem, turns):
        return "go on" if len(turns) < self.num_turns else None


def main(rank: int, world_size: int, file: str) -> None:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, dict  # type: ignore[attr-defined]
    sys.modules["vllm"] = module
    vllm_engine.why_no_vllm = lambda: None  # type: ignore[attr-defined]
    vllm_engine.save_configuration = lambda policy, folder: None  # type: ignore[attr-defined]
    vllm_engine.whole_weights = lambda policy: iter(())  # type: ignore[attr-defined]
    dist.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=world_size, timeout=PATIENCE
    )
    policy: LoadedPolicy = Words(rank)  # type: ignore[assignment]
    engine = VllmEngine(policy, Vllm(tensor_parallel_size=SIZE), max_batch_size=8)
    task: Task = Talk(NUM_TURNS[rank])  # type: ignore[assignment]
    explorer = Explorer(task=task, policy=policy, engine=engine, limits=EpisodeLimits())
    first = sum(NUM_PROMPTS[:rank])
    problems: list[Problem] = [None] * NUM_PROMPTS[rank]  # type: ignore[list-item]
    prompts = [torch.tensor([10 * rank + number]) for number in range(NUM_PROMPTS[rank])]
    sampling = Sampling(temperature=1.0, max_tokens=1, seed=0, first_prompt=first)
    said = [one.tokens.tolist() for one in explorer.sample(problems, prompts, 1, sampling)]
    llm = engine._llm
    print(json.dumps({"arguments": llm.arguments, "calls": llm.calls, "said": said}, default=str))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
