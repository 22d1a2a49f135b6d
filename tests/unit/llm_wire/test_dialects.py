"""Every provider's way of saying no, and what we understand."""

import json

import pytest

from rlmd.llm.dialects import refusal

NOW = 1_800_000_000.0

REFUSALS = [
    # status, body, kind, window
    (401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}, "auth", None),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                    "details": [{"reason": "API_KEY_INVALID"}],
                }
            }
        ],
        "auth",
        None,
    ),
    (403, {"error": {"message": "Country not supported", "type": "request_forbidden"}}, "auth", None),
    (
        403,
        {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["x"]}}},
        "filtered",
        None,
    ),
    (402, {"error": {"code": 402, "message": "Insufficient credits"}}, "quota", None),
    (
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan and billing details",
                "type": "insufficient_quota",
                "code": "insufficient_quota",
            }
        },
        "quota",
        None,
    ),
    (
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"},
        },
        "quota",
        None,
    ),
    (
        404,
        {"error": {"message": "The model `gpt-9` does not exist", "code": "model_not_found"}},
        "not_found",
        None,
    ),
    (400, {"error": {"code": 400, "message": "x/y is not a valid model ID"}}, "not_found", None),
    (404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}, "not_found", None),
    (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 128000 tokens. However, your messages "
                "resulted in 130000 tokens.",
                "code": "context_length_exceeded",
            }
        },
        "overflow",
        128_000,
    ),
    (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you "
            "requested 5000 tokens",
            "type": "BadRequestError",
        },
        "overflow",
        4_096,
    ),
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9000,
                "n_ctx": 4096,
            }
        },
        "overflow",
        4_096,
    ),
    (
        400,
        {
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 210000 tokens > 200000 maximum",
            }
        },
        "overflow",
        200_000,
    ),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "status": "INVALID_ARGUMENT",
                    "message": "The input token count (1200000) exceeds the maximum number of tokens allowed "
                    "(1048576).",
                }
            }
        ],
        "overflow",
        1_048_576,
    ),
    (
        400,
        {"error": "The number of tokens to keep from the initial prompt is greater than the context length"},
        "overflow",
        None,
    ),
    (
        400,
        {
            "error": "Trying to keep the first 8000 tokens when context the overflows. However, the model "
            "is loaded with context length of only 4096 tokens, which is not enough"
        },
        "overflow",
        4_096,
    ),
    (
        413,
        {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
        "overflow",
        None,
    ),
    (
        429,
        {
            "error": {
                "message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000",
                "code": "rate_limit_exceeded",
            }
        },
        "overflow",
        None,
    ),
    (
        429,
        {"error": {"message": "Rate limit reached for requests", "code": "rate_limit_exceeded"}},
        "rate_limited",
        None,
    ),
    (400, {"error": {"code": "content_filter", "message": "The response was filtered"}}, "filtered", None),
    (
        400,
        {"error": {"message": "Unknown parameter: 'safety_identifier'", "type": "invalid_request_error"}},
        "bad_request",
        None,
    ),
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, "bad_request", None),
    (408, {}, "timeout", None),
    (409, {}, "server", None),
    (500, {"error": {"message": "boom"}}, "server", None),
    (
        502,
        {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "upstream down"}}},
        "server",
        None,
    ),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, "server", None),
    (504, {}, "timeout", None),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server", None),
]


@pytest.mark.parametrize(("status", "body", "kind", "window"), REFUSALS)
def test_a_refusal_is_understood_by_its_words_and_status(status, body, kind, window):
    error = refusal(status, {}, json.dumps(body).encode(), now=NOW)

    assert (error.kind, error.window_tokens, error.status) == (kind, window, status)


def test_the_provider_s_own_words_are_kept_with_the_status():
    error = refusal(401, {}, b'{"error": {"message": "No such\\n  key"}}', now=NOW)

    assert error.message == "401: No such key"
    assert "rlmd auth set" in error.hint


def test_of_a_page_of_html_only_its_words_are_said():
    page = b"<html><style>p {x: y}</style><body><h1>502 Bad Gateway</h1><p>nginx</p></body></html>"

    assert refusal(502, {}, page, now=NOW).message == "502: 502 Bad Gateway nginx"


def test_long_words_are_cut():
    error = refusal(500, {}, b"x" * 10_000, now=NOW)

    assert len(error.message) < 600


def test_a_limit_that_comes_back_is_no_spent_quota():
    """Gemini words a rate as a quota, and says in the body when it is over."""
    body = [
        {
            "error": {
                "code": 429,
                "status": "RESOURCE_EXHAUSTED",
                "message": "You exceeded your current quota",
                "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34s"}],
            }
        }
    ]

    error = refusal(429, {}, json.dumps(body).encode(), now=NOW)

    assert (error.kind, error.retry_after_s) == ("rate_limited", 34)


def test_a_wait_asked_for_in_words_is_kept():
    words = b'{"error": {"message": "Rate limit reached. Please try again in 1m2.5s."}}'

    assert refusal(429, {}, words, now=NOW).retry_after_s == 62.5


def test_headers_say_better_than_words_how_long_to_wait():
    error = refusal(429, {"retry-after": "7"}, b'{"error": {"message": "try again in 20s"}}', now=NOW)

    assert error.retry_after_s == 7


def test_what_will_not_be_retried_carries_no_wait():
    assert refusal(401, {"retry-after": "7"}, b"{}", now=NOW).retry_after_s is None


def test_a_redirect_is_named_and_not_followed():
    error = refusal(308, {"location": "https://elsewhere/v1"}, b"", now=NOW)

    assert (error.kind, error.retryable) == ("bad_request", False)
    assert "https://elsewhere/v1" in error.message


@pytest.mark.parametrize(
    ("status", "retryable", "is_fault", "is_congestion"),
    [
        (400, False, False, False),
        (401, False, False, False),
        (402, False, False, False),
        (403, False, False, False),
        (404, False, False, False),
        (408, True, False, True),
        (409, True, False, False),
        (413, False, False, False),
        (429, True, False, True),
        (500, True, True, False),
        (502, True, True, False),
        (503, True, True, True),
        (504, True, True, True),
        (529, True, True, True),
    ],
)
def test_who_is_at_fault_and_what_may_be_tried_again(status, retryable, is_fault, is_congestion):
    error = refusal(status, {}, b"", now=NOW)

    assert (error.retryable, error.is_fault, error.is_congestion) == (retryable, is_fault, is_congestion)
