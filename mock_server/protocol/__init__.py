"""Subclasses of uvicorn's protocols: what must be decided before ASGI. Touches uvicorn's internals, so keep it small."""
