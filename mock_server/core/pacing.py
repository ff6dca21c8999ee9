"""When the tokens of a stream are due: moments fixed at its start, so that no delay is ever carried on."""

from mock_server.core.latency import Draw


def due_s(plan: Draw, index: int) -> float:
    """Returns how many seconds after the start of a stream its token `index` (from 0) is due."""
    return plan.first_token_s + index * plan.between_tokens_s


def count_due(plan: Draw, elapsed_s: float) -> int:
    """Returns how many tokens are due `elapsed_s` after the start of a stream.

    Agrees with `due_s`: at the very moment a token is due it counts, whichever way the arithmetic was rounded.
    """
    since_first_s = elapsed_s - plan.first_token_s
    if since_first_s < 0:
        return 0
    between_s = plan.between_tokens_s
    if between_s == 0:
        return plan.tokens
    count = int(since_first_s / between_s) + 1
    if due_s(plan, count) <= elapsed_s:
        count += 1
    return min(count, plan.tokens)
