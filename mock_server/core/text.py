"""Text of simulated answers, and how many tokens a text counts for."""

import functools

_WORDS = [
    "the",
    "load",
    "holds",
    "steady",
    "while",
    "each",
    "request",
    "takes",
    "its",
    "turn",
    "and",
    "every",
    "answer",
    "is",
    "counted",
    "once",
    "so",
    "the",
    "figures",
    "stay",
    "honest",
    "and",
    "the",
    "service",
    "under",
    "test",
    "keeps",
    "its",
    "pace",
]
# A long run of words, so that an answer of any allowed length is one slice.
_LONGEST = 4096
_RUN = [_WORDS[index % len(_WORDS)] for index in range(_LONGEST + len(_WORDS))]
_SPACED = [word + " " for word in _RUN]

CHARACTERS_PER_TOKEN = 4


@functools.lru_cache(maxsize=256)
def build_answer(tokens: int, start: int) -> str:
    """Returns a text of `tokens` words (at most 4096), beginning at word `start` of the stock text."""
    first = start % len(_WORDS)
    return " ".join(_RUN[first : first + min(tokens, _LONGEST)])


@functools.lru_cache(maxsize=256)
def build_tokens(tokens: int, start: int) -> tuple[str, ...]:
    """Returns the pieces of that answer: each word with the space after it, so that joined they are the answer."""
    first = start % len(_WORDS)
    last = first + min(tokens, _LONGEST) - 1
    return (*_SPACED[first:last], _RUN[last])


def count_tokens(text: str) -> int:
    """Returns the usual estimate of one token for each four characters, at least one."""
    return max(1, (len(text) + CHARACTERS_PER_TOKEN - 1) // CHARACTERS_PER_TOKEN)
