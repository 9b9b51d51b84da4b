"""What counts as a target, and that its secrets stay inside it."""

from __future__ import annotations

import pytest

from verifier.errors import CannotRunError, TargetRefusedError, TruenameError, UsageError
from verifier.target import Target

CANARY = "sk-canary-0123456789abcdef"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("https://api.example.com/v1/chat/completions", "https://api.example.com/v1"),
        ("https://api.example.com/v1/chat/completions/", "https://api.example.com/v1"),
        ("https://api.example.com/chat/completions", "https://api.example.com"),
        ("https://api.example.com", "https://api.example.com/v1"),
        ("https://api.example.com/", "https://api.example.com/v1"),
        ("https://api.example.com/openai", "https://api.example.com/openai"),
        ("HTTPS://API.Example.COM:443/v1", "https://api.example.com/v1"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://[0:0:0:0:0:0:0:1]/v1", "http://[::1]/v1"),
        ("https://bücher.example/v1", "https://xn--bcher-kva.example/v1"),
        ("  https://api.example.com/v1\n", "https://api.example.com/v1"),
    ],
)
def test_a_base_url_is_kept_as_given_but_for_its_accidents(given: str, kept: str) -> None:
    assert Target.parse(given, "m").base_url == kept


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "empty"),
        ("api.example.com/v1", "no scheme"),
        ("localhost:8080/v1", "no scheme"),
        ("//api.example.com/v1", "no scheme"),
        ("ftp://api.example.com/v1", "not http or https"),
        ("file:///etc/passwd", "not http or https"),
        ("https://user:hunter2@api.example.com/v1", "user name or password"),
        ("https://trusted.example@127.0.0.1/v1", "user name or password"),
        ("https://api.example.com/v1#x", "fragment"),
        ("https://api.example.com/v1?key=hunter2", "query string"),
        ("https:///v1", "no usable host"),
        ("https://api.example.com:0/v1", "port"),
        ("https://api.example.com:/v1", "port"),
        ("https://api.example.com:99999/v1", "port"),
        ("https://api.example.com:http/v1", "port"),
        ("https://[::1/v1", "malformed"),
        ("https://[hello]/v1", "malformed"),
        ("https://[fe80::1%25eth0]/v1", "no usable host"),
        ("https://api.exam ple.com/v1", "spaces"),
        ("https://api.example.com\t/v1", "spaces"),
        ("https://api.example.com/v1\r\nHost: evil", "spaces"),
        ("https:\\\\api.example.com", "backslashes"),
        ("https://api.example.com/모델", "path"),
        ("https://\u2603\u200d\u202e.example/v1", "internationalised"),
    ],
)
def test_what_cannot_be_a_target_is_refused_with_one_line_that_quotes_no_secret(given: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Target.parse(given, "m")
    line = str(caught.value)
    assert said in line
    assert "; " in line and "\n" not in line
    assert "hunter2" not in line


@pytest.mark.parametrize("model", ["", "  ", "gpt\n4o", "gpt\x004o"])
def test_a_model_name_must_be_a_name(model: str) -> None:
    with pytest.raises(UsageError, match="model name"):
        Target.parse("https://api.example.com/v1", model)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (("X Y", "v"), "malformed name"),
        (("X:Y", "v"), "malformed name"),
        (("", "v"), "malformed name"),
        (("X-Y\r\nEvil", "v"), "malformed name"),
        (("X-Y", CANARY + "\r\nEvil: 1"), "X-Y holds control"),
        (("X-Y", CANARY + "\u00e9"), "X-Y holds control"),
        (("Host", "evil.example"), "set by Truename"),
        (("Accept-Encoding", "gzip"), "set by Truename"),
        (("Transfer-Encoding", "chunked"), "set by Truename"),
    ],
)
def test_a_header_that_could_split_or_reframe_the_request_is_refused(header: tuple[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Target.parse("https://api.example.com/v1", "m", headers=[header])
    assert CANARY not in str(caught.value)


def test_a_key_is_trimmed_and_a_malformed_one_is_refused_unseen() -> None:
    target = Target.parse("https://api.example.com/v1", "m", api_key=f" {CANARY}\n")
    assert target.api_key is not None and target.api_key.get_secret_value() == CANARY
    assert Target.parse("https://api.example.com/v1", "m", api_key=" ").api_key is None
    for broken in (f"{CANARY}\x00", f"{CANARY} x", f"{CANARY}\u200b"):
        with pytest.raises(UsageError, match="API key") as caught:
            Target.parse("https://api.example.com/v1", "m", api_key=broken)
        assert CANARY not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("body", [{"messages": []}, {"model": "x"}, {"stream": True}, {"x": float("nan")}, {"x": {1, 2}}])
def test_extra_body_fields_must_be_json_and_leave_the_audits_own_alone(body: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="extra body fields"):
        Target.parse("https://api.example.com/v1", "m", body=body)


def test_a_query_parameter_needs_a_name() -> None:
    with pytest.raises(UsageError, match="query parameter"):
        Target.parse("https://api.example.com/v1", "m", query=[("", "x")])


def test_no_secret_shows_in_a_repr_or_in_the_origin() -> None:
    target = Target.parse(
        "https://api.example.com:8443/v1",
        "m",
        api_key=CANARY,
        headers=[("x-key", CANARY)],
        query=[("sig", CANARY)],
        body={"user": CANARY},
    )
    assert CANARY not in repr(target) + str(target) + f"{target}"
    assert target.origin == "https://api.example.com:8443"
    assert isinstance(hash(target), int)


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://a.example/v1", "https://a.example"),
        ("http://[::1]:80/x", "http://[::1]"),
        ("http://a.example:443/", "http://a.example:443"),
    ],
)
def test_the_origin_has_no_path_and_no_default_port(base_url: str, origin: str) -> None:
    assert Target.parse(base_url, "m").origin == origin


def test_errors_read_as_one_line_and_carry_their_exit_code() -> None:
    error = UsageError("two\nlines", "do\r\n this")
    assert str(error) == "two lines; do this"
    assert (error.problem, error.remedy) == ("two lines", "do this")
    assert [kind.exit_code for kind in (TruenameError, UsageError, TargetRefusedError, CannotRunError)] == [4, 2, 4, 4]
