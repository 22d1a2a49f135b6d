#!/bin/sh
# The main job on real input, in directories of its own: ask, remember, restart, recall, status.
# `make demo` runs this with the virtual environment's commands on PATH; `make demo MODEL=scripted`
# answers by a model that replays docs/demo-script.jsonl.
set -eu

if [ "${MODEL:-}" = scripted ]; then
    RLMD_LLM__SCRIPT=$(cd "$(dirname "$0")" && pwd)/demo-script.jsonl
    export RLMD_LLM__SCRIPT
else
    # Without a model, whatever this shell knows of one.
    unset OPENAI_API_KEY OPENROUTER_API_KEY ANTHROPIC_API_KEY GEMINI_API_KEY
fi

place=$(mktemp -d)
export RLMD_SOCKET="$place/mcp.sock" RLMD_STATE_DIR="$place/state" RLMD_CACHE_DIR="$place/cache"
trap 'rlmd stop >/dev/null 2>&1 || true; rm -rf "$place"' EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
run() { say "$@"; "$@"; }

library=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
cd "$library"

run rlmd ask "where does a thread pool shut down its worker threads at interpreter exit?" . \
    --exclude 'site-packages/**' --exclude 'test/**'

run rlmd memory store pool-shutdown \
    "concurrent.futures joins its worker threads from threading._register_atexit" --tag threads --tag shutdown

say "rlmd stop   # the next command starts a new daemon"
rlmd stop

run rlmd memory recall "worker threads at exit"
run rlmd status
