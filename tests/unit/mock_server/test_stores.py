"""Which stores and clients settings ask for."""

import pytest

from mock_server.environment import load_settings
from mock_server.stores import Stores, create_stores


def create(sessions: str, limits: str) -> Stores:
    settings = load_settings({"CONSOUL_SESSION_REDIS_URL": sessions, "CONSOUL_RATE_LIMIT_REDIS_URL": limits})
    return create_stores(settings, lambda: 0.0, lambda: None)


def test_one_url_is_one_client() -> None:
    assert len(create("redis://127.0.0.1/0", "redis://127.0.0.1/0").clients()) == 1


def test_two_databases_of_one_server_are_away_together() -> None:
    stores = create("redis://:secret@127.0.0.1/0", "redis://:secret@127.0.0.1/1")
    assert len(stores.clients()) == 2
    assert stores.session_client is not None
    assert stores.limit_client is not None
    stores.limit_client.outage.begin()
    assert stores.session_client.outage.is_away


@pytest.mark.parametrize("limits", ["redis://127.0.0.1:6380/0", "redis://:secret@127.0.0.1/1", "redis://localhost/1"])
def test_other_servers_and_other_names_are_away_each_for_itself(limits: str) -> None:
    one, other = create("redis://127.0.0.1/0", limits).clients()
    one.outage.begin()
    assert not other.outage.is_away
