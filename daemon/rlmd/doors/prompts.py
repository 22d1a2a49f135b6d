"""Prompts that a person picks in a client: ask a corpus; begin with what is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcp import MCPError
from mcp_types import (
    INVALID_PARAMS,
    GetPromptResult,
    ListPromptsResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from rlmd.answers import RecallRequest, facts
from rlmd.doors import packing
from rlmd.doors.services import Services
from rlmd.errors import RequestError
from rlmd.memory.ask import Item
from rlmd.memory.scope import USER
from rlmd.values import Session

BRIEF_TOKENS = 1_500
_BRIEF_ITEMS = 50
_VALUE_CHARS = 600
_DOUBTFUL = frozenset({"edited", "stale", "missing", "ambiguous"})

PROMPTS = ListPromptsResult(
    prompts=[
        Prompt(
            name="ask-corpus",
            description="Answer a question over a tree with checked citations",
            arguments=[
                PromptArgument(name="question", description="In words or identifiers", required=True),
                PromptArgument(name="path", description="Directory or file; default: the workspace"),
            ],
        ),
        Prompt(
            name="recall-first",
            description="What is remembered of this project, before work on a task begins",
            arguments=[PromptArgument(name="task", description="What is about to be done")],
        ),
    ]
)


async def get_prompt(
    services: Services, session: Session, name: str, arguments: Mapping[str, str]
) -> GetPromptResult:
    """Write the prompt out; raises MCPError for one that does not exist or lacks an argument."""
    if name == "ask-corpus":
        return _said(_ask_corpus(arguments))
    if name == "recall-first":
        try:
            return _said(await _recall_first(services, session, arguments.get("task", "").strip()))
        except RequestError as exc:
            raise MCPError(INVALID_PARAMS, exc.message) from exc
    raise MCPError(INVALID_PARAMS, f"Unknown prompt: {name}")


def _ask_corpus(arguments: Mapping[str, str]) -> str:
    question = arguments.get("question", "").strip()
    if not question:
        raise MCPError(INVALID_PARAMS, "ask-corpus needs a question")
    path = arguments.get("path", "").strip() or "."
    return (
        f"Call rlm_analyze with paths [{path!r}] and this question: {question}\n"
        "Answer from the passages it cites, naming path and lines; say what it could not examine."
    )


async def _recall_first(services: Services, session: Session, task: str) -> str:
    """Tell what fits into BRIEF_TOKENS: of the project what has to do with *task*, then of the person."""
    project = await _packed(services, session, RecallRequest(query=task or None), BRIEF_TOKENS)
    person = await _packed(services, session, RecallRequest(project=USER), BRIEF_TOKENS // 3)
    known = "\n".join(map(_line, [*project, *(item for item in person if item not in project)]))
    begin = f"The task: {task}\n\n" if task else ""
    told = f"What is remembered here:\n{known}" if known else "Nothing is remembered here yet."
    return (
        f"{begin}{told}\n\nBuild on it, and check what is marked. For more, rlm_memory_recall by words, tags "
        "or prefix; keep what you find out with rlm_memory_store, with the lines that show it as evidence."
    )


async def _packed(services: Services, session: Session, request: RecallRequest, tokens: int) -> list[Item]:
    asked = replace(request, limit=_BRIEF_ITEMS, value_chars=_VALUE_CHARS)
    while True:
        recalled = await services.memory_recall(session, asked)
        smaller = await packing.smaller(services, asked, facts(recalled), tokens)
        if smaller is None:
            return list(recalled.items)
        asked = smaller


def _line(item: Item) -> str:
    doubt = f" ({item.status}: its code has changed, check it)" if item.status in _DOUBTFUL else ""
    return f"- {item.key}{doubt}: {item.value}"


def _said(text: str) -> GetPromptResult:
    content = TextContent(type="text", text=text)
    return GetPromptResult(messages=[PromptMessage(role="user", content=content)])
