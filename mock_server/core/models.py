"""Language models the mock answers for: which provider serves each, and what its tokens cost."""

from dataclasses import dataclass

PROVIDERS = ("openai", "anthropic", "ollama")
OTHER_MODEL = "other"
DEFAULT_MODEL = "gpt-4"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Prices are US dollars for a million tokens; made-up round figures, since nothing is billed."""

    name: str
    provider: str
    input_price: float
    output_price: float

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Returns US dollars, to a millionth."""
        return round(input_tokens * self.input_price + output_tokens * self.output_price) / 1e6


_CARDS = {
    card.name: card
    for card in (
        ModelCard("gpt-4", "openai", 30.0, 60.0),
        ModelCard("gpt-4o", "openai", 5.0, 15.0),
        ModelCard("gpt-3.5-turbo", "openai", 0.5, 1.5),
        ModelCard("claude", "anthropic", 3.0, 15.0),
        ModelCard("ollama", "ollama", 0.0, 0.0),
    )
}
_OTHERS = {
    "openai": ModelCard(OTHER_MODEL, "openai", 5.0, 15.0),
    "anthropic": ModelCard(OTHER_MODEL, "anthropic", 3.0, 15.0),
    "ollama": ModelCard(OTHER_MODEL, "ollama", 0.0, 0.0),
}
CARDS = tuple(_CARDS.values())


def find_card(model: str) -> ModelCard:
    """Returns the card of `model`; a model without one gets its provider's card named `other`, so labels stay few."""
    return _CARDS.get(model) or _OTHERS[_provider_of(model)]


def _provider_of(model: str) -> str:
    if model.startswith(("gpt-", "o1", "o3", "o4", "chatgpt")):
        return "openai"
    return "anthropic" if model.startswith("claude") else "ollama"
