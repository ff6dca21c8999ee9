"""`GET /docs`: the OpenAPI description as one page that loads nothing, so that it opens without the internet."""

import json
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:.7rem;overflow:auto;font-size:13px}summary{cursor:pointer}"
)


def build_page(description: dict[str, Any]) -> str:
    """Returns the page of an OpenAPI description; every text in it is escaped."""
    title = escape(f"{description['info']['title']} {description['info']['version']}")
    operations = [
        _build_operation(method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    models = [_build_details(name, model) for name, model in description["components"]["schemas"].items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<h1>{title}</h1><p><a href="openapi.json">openapi.json</a></p>'
        f"{''.join(operations)}<h2>Models</h2>{''.join(models)}</html>"
    )


def _build_operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = escape(operation.get("description", operation.get("summary", "")))
    answers = "".join(
        f"<li>{escape(status)} {escape(answer['description'])}</li>"
        for status, answer in operation["responses"].items()
    )
    details = _build_details("details", operation)
    return f"<h2>{escape(method.upper())} {escape(path)}</h2><p>{text}</p><ul>{answers}</ul>{details}"


def _build_details(name: str, value: Any) -> str:
    return f"<details><summary>{escape(name)}</summary><pre>{escape(json.dumps(value, indent=2))}</pre></details>"
