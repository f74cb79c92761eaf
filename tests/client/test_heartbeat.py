from tidings.client.heartbeat import HeartbeatMonitor


def test_before_the_first_greeting_nothing_is_expected() -> None:
    heartbeat = HeartbeatMonitor()
    assert heartbeat.deadline(connected=True) is None
    assert not heartbeat.is_stale(1e9)


def test_a_question_moves_the_deadline_by_a_heartbeat_where_there_is_a_connection() -> None:
    heartbeat = HeartbeatMonitor()
    heartbeat.heartbeat_s = 5.0
    heartbeat.received(100.0)
    assert heartbeat.deadline(connected=True) == 110.0
    heartbeat.pinged = True
    assert heartbeat.deadline(connected=True) == 115.0
    assert heartbeat.deadline(connected=False) is None
    heartbeat.received(112.0)
    assert heartbeat.deadline(connected=True) == 122.0
    assert heartbeat.silence_s(115.0) == 3.0
