"""The configuration of nginx as text: what fits the mock's variables, and what must never stand in it."""

import re

from mock_server.lab.nginx import MOST_CONNECTIONS, Proxy, build_proxy, render_config

UPSTREAMS = ["127.0.0.1:8100", "127.0.0.1:8101"]


def proxy(user: str | None = None, processors: int = 2, open_files: int = 1024, **variables: str) -> Proxy:
    return build_proxy(
        "127.0.0.1:8000", UPSTREAMS, variables, processors=processors, open_files=open_files, user=user
    )


def test_every_instance_is_a_server_of_the_one_upstream() -> None:
    config = render_config(proxy())

    assert re.findall(r"server (127\S+)", config) == UPSTREAMS
    assert "listen 127.0.0.1:8000 " in config
    assert config.count("{") == config.count("}")


def test_bodies_a_little_over_the_limit_of_the_mock_reach_it() -> None:
    assert "client_max_body_size 1114112;" in render_config(proxy())
    assert "client_max_body_size 67584;" in render_config(proxy(CONSOUL_MAX_BODY_SIZE="2048"))


def test_nginx_closes_idle_connections_before_the_instances_do() -> None:
    assert "keepalive_timeout 24000ms;" in render_config(proxy())
    assert "keepalive_timeout 800ms;" in render_config(proxy(CONSOUL_TIMEOUT_KEEP_ALIVE="1"))


def test_what_the_mock_will_refuse_is_left_to_it() -> None:
    assert proxy(CONSOUL_TIMEOUT_KEEP_ALIVE="soon", CONSOUL_MAX_BODY_SIZE=" ") == proxy()


def test_processes_and_connections_stay_within_the_machine() -> None:
    assert (proxy().processes, proxy().connections) == (2, 1024)
    assert (proxy(processors=64, open_files=10**6).processes, proxy(open_files=10**6).connections) == (
        4,
        MOST_CONNECTIONS,
    )


def test_a_user_is_named_for_root_only() -> None:
    assert "user " not in render_config(proxy()).replace("$http_user", "")
    assert "user root;\n" in render_config(proxy(user="root"))


def test_every_path_is_relative_to_its_own_folder() -> None:
    config = render_config(proxy())
    paths = re.findall(r"(?:pid|_temp_path) (\S+);", config)

    assert len(paths) == 6
    assert not any("/" in path for path in paths)
    assert not re.search(r"/(?:etc|var|run|tmp)/", config)


def test_a_post_is_not_sent_twice_and_no_address_of_a_client_is_handed_on() -> None:
    directives = [line.strip() for line in render_config(proxy()).splitlines() if not line.strip().startswith("#")]

    assert "proxy_next_upstream error timeout;" in directives
    assert not any("non_idempotent" in line or "x-forwarded-for" in line.lower() for line in directives)


def test_time_outs_are_those_of_the_guide_in_both_directions() -> None:
    config = render_config(proxy())

    assert "proxy_read_timeout 300s;" in config
    assert "proxy_send_timeout 300s;" in config
