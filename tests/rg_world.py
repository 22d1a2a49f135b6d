"""What ripgrep says, and random patterns and texts to ask it about."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

WORDS = [
    *(
        "foo",
        "bar",
        "Lock",
        "mutex_lock",
        "STRASSE",
        "\u017fpin",
        "K9",
        "été",
        "ÉTÉ",
        "\u03c3\u03c2",
        "x",
        "ab12",
    ),
    *(
        "0xff",
        "if (",
        "){",
        "\t",
        "  ",
        "",
        "漢字",
        "\r",
        "İ",
        "\u0131",
        "²",
        "-",
        "]",
        "Ⅷ",
        "\u200d",
        "\x0b",
        "\x1c",
    ),
    *("\udc80bad", "\udced\udca0\udc80"),  # bytes that are no UTF-8
]
ATOMS = [
    *(
        "foo",
        "ba",
        "lock",
        "LOCK",
        "s",
        "k",
        "été",
        "\u03c3",
        "漢",
        "ab",
        "_",
        "12",
        "if",
        r"\(",
        ".",
        "$",
    ),
    *(r"\w", r"\d", r"\s", r"\S", r"\W", r"\D", r"\b", r"\B", r"\z", r"\pL", r"\p{Greek}", r"\P{L}"),
    *(
        "[a-c]",
        "[^a]",
        "[^x ]",
        r"[\w.]",
        "[[:alpha:]]",
        "[[:^digit:]]",
        r"[^\W\d]",
        r"[^\s\w]",
        "[]a]",
        "[é-ö]",
    ),
    *(
        r"[\w--[a-f]]",
        "[a-z&&[^aeiou]]",
        "[a~~b]",
        "(?:foo|ba?r)",
        "(mutex|spin)",
        "(a|(b|é)x)",
        "(?:)",
        "(?P<n>o|b)",
    ),
    *(
        "(?i)",
        "(?-i)",
        "(?i:foo)",
        "(?s:.)",
        "(?U)",
        "(?x: f o # c\n )",
        r"(?-u:\b)",
        r"(?-u:\w)",
        r"\x{e9}",
        r"\u0061",
    ),
]
REPEATS = ["*", "+", "?", "{2}", "{1,3}", "+?", "{0,2}", "**", "+*"]


def random_pattern(choose: random.Random) -> str:
    # Only at the start: ripgrep 13 misses lines for "\\b^" that it finds for "^\\b".
    parts = [choose.choice(["", "", "", "", "^", r"\A", "(?:^|x)"])]
    for _ in range(choose.randint(1, 5)):
        atom = choose.choice(ATOMS)
        if not atom.startswith(("(?i)", "(?-i)", "(?U)")) and choose.random() < 0.25:
            atom = f"(?:{atom})" + choose.choice(REPEATS)
        parts.append(atom)
    if choose.random() < 0.2:
        parts.insert(choose.randrange(len(parts) + 1), "|")
    return "".join(parts)


def random_text(choose: random.Random) -> bytes:
    words = WORDS if choose.random() < 0.7 else [word for word in WORDS if word.isascii()]
    lines = [
        "".join(choose.choice(words) + choose.choice(["", " ", "_"]) for _ in range(choose.randint(0, 7)))
        for _ in range(choose.randint(0, 25))
    ]
    text = "\n".join(lines) + "\n" * (choose.random() < 0.7)
    return text.encode("utf-8", "surrogateescape")


def ripgrep(*arguments: str, cwd: Path) -> list[tuple[str, int, str]] | None:
    """The lines that ripgrep prints, as (path, line, text) sorted; None where it refuses the pattern."""
    run = subprocess.run(
        ["rg", "--no-config", "-nH", "--no-heading", *arguments], cwd=cwd, capture_output=True, check=False
    )
    if run.returncode > 1 or run.stderr:
        return None
    found = [
        re.fullmatch(r"(.*?):(\d+):(.*)", line.decode("utf-8", "replace"), re.DOTALL)
        for line in run.stdout.split(b"\n")
    ]
    return sorted((match[1], int(match[2]), match[3][:500]) for match in found if match)
