"""Whom a request belongs to: digests of keys and addresses, so that neither is ever stored in clear."""

import hashlib
import hmac
from collections.abc import Iterable


def key_digest(key: str) -> str:
    """Returns the digest an API key is known by: 64 hexadecimal digits."""
    return hashlib.sha256(b"key:" + key.encode("utf-8", "surrogatepass")).hexdigest()


def address_digest(address: str) -> str:
    """Returns the digest of a client address; never equal to that of a key."""
    return hashlib.sha256(b"address:" + address.encode("utf-8", "surrogatepass")).hexdigest()


def is_known(digest: str, known: Iterable[str]) -> bool:
    """Returns whether `digest` is one of `known`; takes the same time wherever it is found."""
    found = False
    for candidate in known:
        found |= hmac.compare_digest(digest, candidate)
    return found
