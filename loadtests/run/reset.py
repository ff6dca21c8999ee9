"""Clears the sessions and limits of the lab's own Redis before a run; never touches another Redis."""

import redis

from loadtests.errors import TargetError
from loadtests.run.target import LabState

DATABASES = (0, 1)
TIMEOUT_S = 5.0
BATCH = 1000


def reset_lab(lab: LabState) -> int:
    """Deletes every key below the lab's prefixes and says how many; raises TargetError when Redis is away."""
    if lab.redis_url is None:
        return 0
    deleted = 0
    for database in DATABASES:
        client = redis.Redis.from_url(f"{lab.redis_url}/{database}", socket_timeout=TIMEOUT_S)
        try:
            for prefix in lab.redis_prefixes:
                for batch in _batches(client, prefix):
                    client.unlink(*batch)
                    deleted += len(batch)
        except redis.RedisError as error:
            raise TargetError(
                f"the lab's Redis at {lab.redis_url} could not be reset ({error}); see `make status`"
            ) from error
        finally:
            client.close()
    return deleted


def _batches(client: redis.Redis, prefix: str) -> list[list[bytes]]:
    keys = list(client.scan_iter(match=f"{prefix}*", count=BATCH))
    return [keys[i : i + BATCH] for i in range(0, len(keys), BATCH)]
