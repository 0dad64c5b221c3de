"""What engines may be set to: the last value that is taken, and the first that is not."""

from __future__ import annotations

import pytest

from policies.rollouts.settings import Vllm, VllmServer

URL = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("memory_fraction", [1e-9, 1.0], [0.0, 1.0001, -0.5]),
        ("cache_gib", [None, 1e-9, 100.0], [0.0, -1.0]),
        ("max_model_len", [None, 2], [1, 0]),
        ("push_every", [1, 7], [0, -1]),
        ("tensor_parallel_size", [1, 8], [0, -1]),
    ],
)
def test_limits_of_an_engine_in_the_process(name, taken, refused):
    for value in taken:
        assert getattr(Vllm(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValueError, match=rf"^{name} must be .*got {value}$"):
            Vllm(**{name: value})


def test_an_engine_that_sleeps_is_given_weights_after_every_update():
    assert Vllm(sleep=True, push_every=1).sleep
    assert Vllm(sleep=False, push_every=2).push_every == 2
    with pytest.raises(ValueError, match=r"^push_every must be 1 with sleep, .* got 2$"):
        Vllm(sleep=True, push_every=2)


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("timeout_seconds", [1e-9], [0.0, -1.0]),
        ("backoff_seconds", [1e-9], [0.0, -1.0]),
        ("retries", [0, 1], [-1]),
        ("push_every", [1], [0]),
    ],
)
def test_limits_of_servers(name, taken, refused):
    for value in taken:
        assert getattr(VllmServer(urls=(URL,), **{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value}$"):
            VllmServer(urls=(URL,), **{name: value})


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ((), "urls must name at least one server"),
        ((URL, "localhost:8000"), "urls must name at least one server, each with http"),
        ((URL, "http://a:8000", URL), "urls must differ"),
        ((URL, "http://user:p/w@a:8000"), "urls must be of the form http://host:port"),
    ],
)
def test_addresses_of_servers(urls, message):
    assert VllmServer(urls=(URL, "https://a:8000")).urls == (URL, "https://a:8000")
    with pytest.raises(ValueError, match=message):
        VllmServer(urls=urls)
