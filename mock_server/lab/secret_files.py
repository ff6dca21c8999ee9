"""Secrets the lab makes for itself: one random token a file, for its owner's eyes only, kept from start to start."""

import os
from pathlib import Path

from mock_server.lab.errors import LabError


def make_secret_file(path: Path, token: str, owner_id: int | None = None) -> None:
    """Writes `token` to `path` with mode 0600, unless an earlier start did; then only its mode and owner are set.

    `owner_id` is the user that reads it, where that is another one: only root may give it away. Raises LabError for a
    link.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LabError(
            f"{path}: this secret cannot be written ({error.strerror}). Remove it and run this again."
        ) from error
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, 0o600)
        if owner_id is not None:
            os.fchown(handle, owner_id, -1)
        # A start that was killed before it wrote has left an empty one.
        if os.fstat(handle).st_size == 0:
            file.write(token)
