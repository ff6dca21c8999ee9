from mock_server.parent.pacing import RestartPacer


def test_early_deaths_in_a_row_wait_longer_each_time_and_a_long_life_forgives() -> None:
    pacer = RestartPacer()
    assert [pacer.delay_s(0, 0.1) for _ in range(7)] == [0, 1, 2, 4, 8, 10, 10]
    assert pacer.delay_s(1, 0.1) == 0, "each worker for itself"
    assert pacer.delay_s(0, 60) == 0
    assert pacer.delay_s(0, 0.1) == 1
