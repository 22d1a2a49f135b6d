"""What an engine must encode exactly as tiktoken does before its counts are believed."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable

Encode = Callable[[str], Collection[int]]
"""Text to token ids, as tiktoken's `encode_ordinary`: text that spells a special token is plain."""

SAMPLES = (
    "",
    " ",
    "hello world",
    "tiktoken is great!",
    "def main(argv: list[str] | None) -> int:\n    return 0 if argv else 1\n\n\nclass A(B):\n\tx = 1\n",
    "static int foo(struct bar *b)\n{\n\tif (!b || b->len <= 0)\n\t\treturn -EINVAL; /* no */\n}\n",
    '{"key": [1, 22, 333, 4444, 55555, 1e-9, -0.5], "s": "a\\n\\u00e9", "n": null}',
    "<!DOCTYPE html><p class='x'>a &amp; b</p>\n// https://example.org/a/b?c=d#e\n",
    "IT'S they'll We'VE don't I'd 'tis rock'n'roll it\u2019s CamelCaseWord snake_case SHOUTING HttpRequest",
    "It was the best of times, it was the worst of times; “quoted” — dashed… and naïve façade.",
    "こんにちは世界。今日は良い天気ですね、お誕生日おめでとう。中文测试:人工智能。한국어 문장입니다.",
    "Привет, мир! Γειά σου Κόσμε. مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดีชาวโลก",  # noqa: RUF001  # Greek is meant
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽 e\u0301e\u0301 n\u0303 ﷽ Z͑ͫ̓ͪ̂ͫ̽ ﬁ Ⅷ ½ ² ǅ ʰ",
    "line one\r\nline two\r\n\r\n\r\n  indented\r\n\ttab\rold mac\r\r\n\n \n  \n",
    "trailing   \n\n\n   \n\t\t\n x  \u00a0\u00a0y\u2003z\u3000w\u2028v\x85u\x0b\x0c\x1c\x1d ",
    "<|endoftext|> <|fim_prefix|>a<|fim_suffix|>b<|fim_middle|> <|endofprompt|><|endoftext|",
    "\x00\x01\x7f\x1b[31mred\x1b[0m \ufeffbom \ufffd\ufffd replaced \u200b\u200d \U0010ffff \ue000",
    "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODkrLw==" * 4,
    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d 0xDEADBEEF 1234567890" * 3,
    "a" * 5000,
    " " * 5000,
    " " * 3001 + "x",
    "\n" * 5000,
    "=" * 5000,
    "-" * 79 + "\n" + "#" * 79 + "\n" + "/" * 300 + "\n///\n//\n/",
    "ab" * 3000,
    "\t" * 500 + "}" * 500 + "中" * 500 + "é" * 500,
)
_ALPHABET = (
    "aaeinorst AZ09 \n\t\r.,;:'\"/\\(){}[]<>=-_+*&%$#@!|~`"
    "éßñøПри日本中文ひカ한글ع👍🏽²Ⅷ\u0301\u200d\u00a0\u3000"
)


def scrambled(count: int = 200, length: int = 80) -> list[str]:
    """Return texts that nobody would write, the same ones every time."""
    dice = random.Random(count)  # noqa: S311  # reproducible variety, nothing secret
    return ["".join(dice.choices(_ALPHABET, k=length)) for _ in range(count)]


def first_difference(encode: Encode, reference: Encode, samples: Iterable[str]) -> str | None:
    """Return the first sample whose ids differ, None when all are the same."""
    for sample in samples:
        if list(encode(sample)) != list(reference(sample)):
            return sample
    return None
