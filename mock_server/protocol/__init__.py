"""Subclasses of uvicorn's protocols, for what must be decided before ASGI; they touch internals: keep them small."""
