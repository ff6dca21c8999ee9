"""Ports: what is taken is named with its owner, and Redis steps aside."""

from collections.abc import Callable

import pytest

from mock_server.lab.errors import PortError
from mock_server.lab.ports import PortOwner, resolve_ports
from mock_server.lab.settings import Ports, list_places

PORTS = Ports(8000, 9090, 6379, 9091, redis_fallback=16379)
PLACES = list_places(PORTS, 1)
STRANGER = PortOwner(42, "nc -l")


def owners(*taken: int) -> Callable[[int], PortOwner | None]:
    return lambda port: STRANGER if port in taken else None


def test_free_ports_stay_as_they_are() -> None:
    assert resolve_ports(PORTS, PLACES, owners()) == PORTS


def test_redis_takes_its_fallback_when_its_port_is_taken() -> None:
    resolved = resolve_ports(PORTS, PLACES, owners(6379))

    assert (resolved.redis, resolved.redis_fallback) == (16379, None)


def test_redis_is_refused_when_its_fallback_is_taken_too() -> None:
    with pytest.raises(PortError, match=r"6379 \(redis\) is held by pid 42 \(nc -l\); free it or set REDIS_PORT"):
        resolve_ports(PORTS, PLACES, owners(6379, 16379))


def test_every_taken_port_is_named_with_owner_and_variable() -> None:
    with pytest.raises(PortError) as caught:
        resolve_ports(PORTS, PLACES, owners(8000, 9090))

    text = str(caught.value)
    assert "8000 (consoul) is held by pid 42 (nc -l); free it or set CONSOUL_PORT." in text
    assert "9090 (metrics) is held by pid 42 (nc -l); free it or set CONSOUL_OBSERVABILITY_METRICS_PORT." in text
    assert "9091" not in text
    assert text.endswith("Nothing was started.")


def test_a_port_that_is_not_needed_may_be_taken() -> None:
    needed = {name: place for name, place in PLACES.items() if name != "prometheus"}

    assert resolve_ports(PORTS, needed, owners(9091)) == PORTS


def test_with_several_instances_nginx_has_the_port_and_each_instance_two_of_its_own() -> None:
    places = list_places(PORTS, 3)

    assert resolve_ports(PORTS, places, owners(9090, 8103)) == PORTS
    with pytest.raises(PortError) as caught:
        resolve_ports(PORTS, places, owners(8000, 8102, 9190))
    text = str(caught.value)
    assert "8000 (nginx) is held by pid 42 (nc -l); free it or set CONSOUL_PORT." in text
    assert "8102 (consoul-3) is held by pid 42 (nc -l); free it or set INSTANCE_PORT." in text
    assert "9190 (metrics of consoul-1) is held by pid 42 (nc -l); free it or set INSTANCE_METRICS_PORT." in text


def test_an_owner_the_system_hides_is_said_to_be_hidden() -> None:
    assert "another user" in PortOwner(None, "").describe()
