from mock_server.core.draining import Draining


def test_a_replaced_worker_can_be_told_to_stop_but_a_stopping_one_not_to_be_replaced() -> None:
    draining = Draining()
    seen = [(bool(draining), draining.phase)]
    for phase in ("replace", "stop", "replace"):
        draining.begin(phase)
        seen.append((bool(draining), draining.phase))
    assert seen == [(False, "no"), (True, "replace"), (True, "stop"), (True, "stop")]
