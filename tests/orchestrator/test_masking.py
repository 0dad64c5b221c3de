"""No credential is shown, whatever it is made of and wherever in a URI or a text it stands."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.configuration.resolve import read_campaign
from orchestrator.errors import ConfigError, one_line
from orchestrator.masking import MaskedStream, credentials, mask, mask_uri, masked, scrub

HARD = st.text(alphabet=st.sampled_from("sS3/@:#?%&=.-_+~!$;"), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:pw@host:5000/x", "http://***@host:5000/x"),
        ("https://hf_abcdefgh@host", "https://***@host"),
        ("https://ghp_1:x-oauth-basic@host/a", "https://***@host/a"),
        ("https://to/ken@host", "https://***@host"),
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql+psycopg2://u:a/b@c:d#e?f%20g@db:1/x?sslpassword=q&sslmode=r",
         "postgresql+psycopg2://u:***@db:1/x?sslpassword=***&sslmode=r"),
        ("postgresql://me@h/d", "postgresql://me@h/d"),
        ("mysql://me:s@h", "mysql://me:***@h"),
        ("s3://AKIA:se/cret@bucket/key", "s3://***@bucket/key"),
        ("http://h/p?password=a&x=1&access_key=b&api-key=c", "http://h/p?password=***&x=1&access_key=***&api-key=***"),
        ("http://h/#access_token=a", "http://h/#access_token=***"),
        ("https://h/x?sv=1&sig=a%3D&se=2", "https://h/x?sv=1&sig=***&se=2"),
        ("https://b/k?X-Amz-Signature=a&X-Amz-Credential=b&X-Amz-Security-Token=c&X-Amz-Date=d",
         "https://b/k?X-Amz-Signature=***&X-Amz-Credential=***&X-Amz-Security-Token=***&X-Amz-Date=d"),
        ("sqlite:////a/m.db?key=k&timeout=3", "sqlite:////a/m.db?key=***&timeout=3"),
        ("mssql+pyodbc://?odbc_connect=DRIVER%3Dx%3BPWD%3Dq", "mssql+pyodbc://?odbc_connect=***"),
        ("http://user:123/4@h/x", "http://***@h/x"),
        ("postgresql://user:cut-off...", "postgresql://***@"),
        ("https:/user:pw@h/x", "https:/***@h/x"),  # as a path makes it
    ],
)  # fmt: skip
def test_what_is_confidential_is_masked_and_the_rest_is_not(uri, shown):
    assert mask_uri(uri) == shown
    assert mask(uri) == shown
    assert mask_uri(shown) == shown
    assert mask(f"cannot open '{uri}', sorry") == f"cannot open '{shown}', sorry"


@pytest.mark.parametrize(
    "text",
    [
        "http://host:8000", "http://[::1]:8000/x", "write it as http://host:port", "sqlite:////a/b@c.db?timeout=3",
        "sqlite:///a@b.db", "hf://datasets/org/name@main/file", "databricks://profile", "auto", "10.0.0.1:6379",
        "C:/x@y", "max_tokens=5", "answer_key: 'answer'", "eos token: <eos>", "a key 'kind' is missing",
        "mail me@example.org", "Qwen/Qwen2.5-7B", "s3://bucket/key?versionId=3",
    ],
)  # fmt: skip
def test_what_is_no_credential_stays(text):
    assert mask(text) == text
    assert masked({"a": [text]}) == {"a": [text]}


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "mysql+pymysql", "s3", "ray", "mssql"])
@given(password=HARD)
def test_no_password_shows_whatever_it_is_made_of(scheme, password):
    shown = mask_uri(f"{scheme}://user:Zz{password}zZ@host.org/db")
    assert "Zz" not in shown
    assert "zZ" not in shown
    assert shown.endswith("@host.org/db")


@given(value=st.text(alphabet=st.sampled_from("sS3/@:#?%=.-_+~"), min_size=1, max_size=12))
def test_no_confidential_parameter_shows(value):
    for name in ("password", "token", "sslpassword", "sig", "AWSAccessKeyId", "x-api-key"):
        assert "Zz" not in mask_uri(f"https://host.org/p?a=b&{name}=Zz{value}Zz&c=d")


def test_texts_of_other_programs_lose_headers_assignments_and_pieces():
    assert mask("Authorization: Basic dTpw, then") == "Authorization: Basic ***, then"
    assert mask("{'Authorization': 'Bearer abc.def'}") == "{'Authorization': 'Bearer ***'}"
    assert mask("host=h password=hunter2 user=me") == "host=h password=*** user=me"
    assert mask("DefaultEndpoints=https;AccountKey=abc==;x=y") == "DefaultEndpoints=https;AccountKey=***"
    assert scrub("Port could not be cast as 'pa'", "http://u:pa/ss@h") == "Port could not be cast as '***'"
    assert scrub("access denied for p@ss w", "mysql://me:p%40ss+w@h") == "access denied for ***"
    assert credentials("http://host:80/x?page=3") == set()


def test_settings_are_masked_at_every_depth():
    settings = {"a": [{"b": "http://u:p@h"}, 3, None, True], "c": ("x", "http://h?token=t")}
    assert masked(settings) == {"a": [{"b": "http://***@h"}, 3, None, True], "c": ["x", "http://h?token=***"]}


def test_the_value_of_a_confidential_variable_is_masked_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("MY_SERVER_TOKEN", "abcd-efgh-1")
    monkeypatch.setenv("MY_SERVER_NAME", "quickstart")
    assert mask("http://h/abcd-efgh-1/v1 of quickstart") == "http://h/***/v1 of quickstart"


def test_a_stream_writes_no_credential():
    below = io.StringIO()
    stream = MaskedStream(below, ["http://u:p%40ss-word@h"])
    print("to", "http://x:y@h:1/z", "with p@ss-word", file=stream, flush=True)
    assert below.getvalue() == "to http://***@h:1/z with ***\n"


def test_errors_of_the_user_and_of_others_are_masked(write_campaign):
    secret = "s3cr3t-" + "x" * 60
    assert secret not in one_line(RuntimeError("y" * 280 + f" http://u:{secret}@host"))
    for changes in (
        {"tracking.urn": "x"},
        {"task.path": f"https://u:{secret}@host/file"},
        {"seeds": f"http://u:{secret}@h"},
    ):
        with pytest.raises(ConfigError) as caught:
            read_campaign(write_campaign({"tracking.uri": f"http://u:{secret}@host", **changes}))
        assert "s3cr3t" not in str(caught.value)


def test_the_shells_working_directory_is_no_password(monkeypatch):
    """Files below it are named as they are."""
    monkeypatch.setenv("PWD", "/home/me/project")
    monkeypatch.setenv("DB_PWD", "correct-horse")
    assert mask_uri("/home/me/project/runs/journal.log") == "/home/me/project/runs/journal.log"
    assert mask("saved in /home/me/project/runs") == "saved in /home/me/project/runs"
    assert mask("it is correct-horse") == "it is ***"


def test_keys_are_masked_as_values_are():
    assert masked({"https://u:pw@host": {"a": 1}, 2: "b"}) == {"https://***@host": {"a": 1}, 2: "b"}
