from tidings.client.heartbeat import HeartbeatMonitor


def test_before_the_first_greeting_nothing_is_expected() -> None:
    liveness = HeartbeatMonitor()
    assert liveness.deadline(connected=True) is None
    assert not liveness.is_stale(1e9)


def test_a_question_moves_the_deadline_by_a_heartbeat_where_there_is_a_connection() -> None:
    liveness = HeartbeatMonitor()
    liveness.heartbeat_s = 5.0
    liveness.heard(100.0)
    assert liveness.deadline(connected=True) == 110.0
    liveness.asked = True
    assert liveness.deadline(connected=True) == 115.0
    assert liveness.deadline(connected=False) is None
    liveness.heard(112.0)
    assert liveness.deadline(connected=True) == 122.0
    assert liveness.silence_s(115.0) == 3.0
