"""What calls cost, where the provider does not say: a dated table that comes with the package."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from rlmd.llm.values import Usage

_MILLION = 1_000_000
_VERSION = re.compile(r"-(?:\d{8}|\d{4}-\d\d-\d\d|latest)$")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, and the tokens that fit one prompt."""

    prompt_usd: float
    cached_usd: float
    reply_usd: float
    window_tokens: int | None


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of each provider's models as they were on `date`."""

    date: str
    _by_provider: Mapping[str, Mapping[str, Price]]

    def find(self, provider: str, model: str) -> Price | None:
        """Return the price of *model*, a dated release under the name of its line; None if unlisted."""
        listed = self._by_provider.get(provider, {})
        name = model.rpartition("/")[2]
        return listed.get(name) or listed.get(_VERSION.sub("", name))

    def usd(self, provider: str, model: str, usage: Usage) -> float | None:
        """Return what *usage* costs, or None where nobody knows: never a guess, never 0 for unknown."""
        price = self.find(provider, model)
        if price is None or not (usage.tokens_in or usage.tokens_out):
            return None
        cached = min(usage.cached_tokens, usage.tokens_in)
        fresh = usage.tokens_in - cached
        cost = fresh * price.prompt_usd + cached * price.cached_usd + usage.tokens_out * price.reply_usd
        return cost / _MILLION


def load_prices(text: str | None = None) -> Prices:
    """Read the table in *text*, by default the one that comes with the package."""
    table = tomllib.loads(text or resources.files("rlmd.llm").joinpath("prices.toml").read_text("utf-8"))
    providers = {name: models for name, models in table.items() if isinstance(models, dict)}
    return Prices(
        str(table["date"]),
        {name: {model: _price(each) for model, each in models.items()} for name, models in providers.items()},
    )


def _price(entry: Mapping[str, float]) -> Price:
    window = entry.get("window_tokens")
    return Price(entry["in"], entry.get("cached", entry["in"]), entry["out"], int(window) if window else None)
