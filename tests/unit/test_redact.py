"""What is taken for a secret, and what is not."""

import pytest

from rlmd.redact import MARK, redact


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "aws-key-id"),
        ("ghp_" + "a1B2" * 9, "github-token"),
        ("github_pat_" + "a1B2_" * 12, "github-token"),
        ("glpat-" + "a1B2c3D4e5" * 2, "gitlab-token"),
        ("sk-ant-api03-" + "a1B2c3D4" * 5, "anthropic-key"),
        ("sk-proj-" + "a1B2c3D4" * 5, "openai-key"),
        ("xoxb-123456789012-abcdefABCDEF", "slack-token"),
        ("sk_live_" + "a1B2c3D4" * 3, "stripe-key"),
        ("AIza" + "a1B2c3D4e5f6G7" * 2 + "h8I9j0K", "google-key"),
        ("npm_" + "a1B2" * 9, "npm-token"),
        ("pypi-" + "AgEIcHlwaS5vcmc" * 4, "pypi-token"),
        ("hf_" + "abCD12" * 6, "huggingface-token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fw", "jwt"),
        ("hvs." + "CAESIJ" * 6, "vault-token"),
        ("kP9xQ2mV7pL4sT8wR1bN6cY3dF5gH0jZ", "random"),
    ],
)
def test_a_known_format_is_replaced_wherever_it_stands(secret, kind):
    for text in (secret, f"see {secret}, really", f'x = "{secret}"'):
        found = redact(text)

        assert secret not in found.text
        assert found.count == 1
        assert f"{MARK}{kind}-" in found.text or f"{MARK}named-secret" in found.text


def test_a_private_key_goes_with_all_its_lines():
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----"

    assert redact(f"before\n{key}\nafter").text.splitlines()[::2] == ["before", "after"]
    assert "MIIE" not in redact("-----BEGIN PRIVATE KEY-----\nMIIE cut").text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgres://user:p4ssw0rd@host/db", "p4ssw0rd"),
        ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789abcdef"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalr"),
        ('"api_key": "9f86d081884c7d659a2feaa0"', "9f86d081884c7d659a2feaa0"),
        ("password = 'hunter2hunter'", "hunter2"),
        ("db_password: S3cr3t!pass", "S3cr3t"),
    ],
)
def test_what_its_place_calls_a_secret_is_replaced_and_the_place_is_kept(text, secret):
    found = redact(text)

    assert secret not in found.text
    assert found.text.startswith(text[:5])
    assert found.count == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 1bce0679f86d081884c7d659a2feaa0c55ad015a",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "token: str = None",
        "password = getpass.getpass()",
        "api_key=os.environ['X']",
        "max_tokens = 100_000_000",
        "see AbstractSingletonProxyFactoryBean2Test and daemon/rlmd/memory/test_memory_changes.py",
        "the token counter in rlmd.tokens.counter counts tokens: exactly",
        "https://example.invalid/a:b/c@d",
        "key: value, secret: none",
    ],
)
def test_code_and_hashes_are_left_alone(text):
    assert redact(text).text == text
    assert redact(text).count == 0


def test_two_mentions_of_one_secret_can_be_told_to_be_the_same():
    first, second, other = redact(
        "AKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLF"
    ).text.split()

    assert first == second != other


def test_what_is_redacted_stays_as_it_is():
    once = redact("password = 'hunter2hunter' and AKIAIOSFODNN7EXAMPLE").text

    assert redact(once).text == once
