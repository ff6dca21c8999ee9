"""What the contract tests ask of a PromQL expression: its parts and the metrics it reads."""

from collections.abc import Iterator
from typing import Any

import promql_parser

# Grafana's value for a scrape interval of 2 s and a short time range; the parser knows no variable.
RATE_INTERVAL = "8s"


def parse(expression: str) -> Any:
    """The parsed expression, Grafana's variable replaced. Raises ValueError for what Prometheus would refuse."""
    return promql_parser.parse(expression.replace("$__rate_interval", RATE_INTERVAL))


def parts_of(node: Any) -> Iterator[Any]:
    """Every node of a parsed expression, from the outermost in."""
    yield node
    for name in ("lhs", "rhs", "expr", "args", "vector_selector"):
        child = getattr(node, name, None)
        for item in child if isinstance(child, list) else [child]:
            if item is not None:
                yield from parts_of(item)


def metrics_of(expression: str) -> set[str]:
    """Names of all metrics an expression reads."""
    selectors = (part for part in parts_of(parse(expression)) if isinstance(part, promql_parser.VectorSelector))
    return {str(selector.name) for selector in selectors}
