from tidings.client.heartbeat import HeartbeatMonitor


def test_heartbeat_has_no_deadline_before_the_greeting() -> None:
    heartbeat = HeartbeatMonitor()
    assert heartbeat.deadline(connected=True) is None
    assert not heartbeat.is_stale(1e9)


def test_ping_moves_the_deadline_of_a_connected_hub_by_one_beat() -> None:
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
