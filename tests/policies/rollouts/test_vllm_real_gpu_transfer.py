"""vLLM's own NCCL transfer, its trainer and its server, over gloo on a CPU; and what vLLM says of our requests."""

from __future__ import annotations

import pytest
import torch

from policies.rollouts import gpu_transfer
from policies.rollouts.base import Sampling
from policies.rollouts.open_engine import open_engine
from policies.rollouts.replica_group import in_json
from policies.rollouts.settings import VllmServer
from policies.rollouts.transformers_engine import TransformersEngine
from policies.rollouts.vllm_launch import serve_command, serve_environment
from policies.rollouts.weights import HalfWeights
from tests.policies.real_server import serving

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

GREEDY = Sampling(temperature=0.0, max_tokens=6, seed=5)


@pytest.mark.parametrize("transfer", ["nccl", "ipc"])
def test_vllm_takes_the_arguments_that_a_server_is_started_with(transfer):
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    command = serve_command("model", port=8000, transfer=transfer)
    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(command[3:])
    assert AsyncEngineArgs.from_cli_args(parsed).weight_transfer_config.backend == transfer
    assert parsed.port == 8000


def test_vllm_reads_the_handles_of_ipc_as_they_were_written(monkeypatch):
    from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferUpdateInfo

    handles = {"GPU-1": ("rebuild", (2, 3), torch.bfloat16, 0)}
    info = {"names": ["a"], "dtype_names": ["bfloat16"], "shapes": [[2, 3]], "tensor_sizes": [12]}
    for name, value in serve_environment("ipc").items():
        monkeypatch.setenv(name, value)
    read = IPCWeightTransferUpdateInfo(
        **in_json(info | {"ipc_handles": handles, "ipc_handles_pickled": None})
    )
    assert read.ipc_handles == handles
    assert read.tensor_sizes == [12]


@pytest.fixture(scope="module")
def gloo():
    """The learner's end of vLLM, without a GPU."""
    from tests.policies.gloo_vllm import learners_end

    with pytest.MonkeyPatch.context() as patch:
        learners_end(patch.setattr)
        patch.setattr(gpu_transfer, "check_gpu", lambda _: None)
        yield


@pytest.mark.slow
def test_a_real_server_samples_with_what_vllms_trainer_sent_it_in_several_buckets(
    gloo, make_policy, tmp_path
):
    from tests.policies.gloo_vllm import SMALL_BUFFER_BYTES
    from tests.policies.gloo_worker import EXTENSION

    policy = make_policy()
    assert sum(2 * weight.numel() for _, weight in HalfWeights(policy)) > 2 * SMALL_BUFFER_BYTES
    with serving(policy, tmp_path / "served", "--worker-extension-cls", EXTENSION, transfer="nccl") as (
        _,
        url,
    ):
        assert_that_pushes_arrive(policy, url, "nccl", tmp_path, close=1e-3)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize(("transfer", "num_gpus"), [("nccl", 2), ("ipc", 1)])
def test_on_gpus(make_policy, tmp_path, transfer, num_gpus):
    """The server is on the second GPU by NCCL, and on the learner's by IPC.  Not run by its authors, who had none."""
    if torch.cuda.device_count() < num_gpus:
        pytest.skip(f"needs {num_gpus} CUDA device{'s' * (num_gpus > 1)}")
    policy = make_policy()
    with serving(policy, tmp_path / "served", transfer=transfer, gpu=num_gpus - 1) as (_, url):
        policy.model.to("cuda")
        assert_that_pushes_arrive(policy, url, transfer, tmp_path, close=2e-2)


def assert_that_pushes_arrive(policy, url, transfer, tmp_path, close):
    """Push twice, and compare what the server samples with what the policy itself does."""
    prompts = [policy.encode(text) for text in ("1+2=", "3", "4+5=", "7+")]
    own = TransformersEngine(policy.model, pad_id=policy.pad_id, stop_ids=policy.stop_ids)
    settings = VllmServer(urls=(url,), transfer=transfer, timeout_seconds=300.0)
    engine = open_engine(settings, policy, max_batch_size=64, scratch=tmp_path)
    answers = []
    for version in (0, 1):
        move(policy, size=0.3 * version)
        engine.push(version)
        groups = engine.generate(prompts, 1, GREEDY)
        expected = own.generate(prompts, 1, GREEDY)
        answers.append([group[0].tokens.tolist() for group in groups])
        assert answers[-1] == [group[0].tokens.tolist() for group in expected]
        for (one,), (other,) in zip(groups, expected, strict=True):
            torch.testing.assert_close(one.logprobs, other.logprobs, atol=close, rtol=0)
        assert groups[0][0].versions.unique().tolist() == [version]
    assert answers[0] != answers[1]
    engine.close()


def move(policy, size):
    """To weights that bfloat16 has, so that rounding changes none."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.copy_((weight + size * torch.randn_like(weight)).bfloat16())
