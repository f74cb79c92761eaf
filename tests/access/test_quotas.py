import pytest

from tidings.access import quotas
from tidings.access.quotas import FailureLimit, Quota, network_of
from tidings.exceptions import TooManyRequests


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_address_counts_with_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_quota_is_per_user_and_given_back() -> None:
    quota = Quota(2, "reads", hint="Read less.", retry_after_ms=500)
    with quota.taken("ada"), quota.taken("ada"):
        with pytest.raises(TooManyRequests) as caught, quota.taken("ada"):
            raise AssertionError
        assert (caught.value.retry_after_ms, caught.value.hint) == (500, "Read less.")
        assert quota.used("ada") == 2
        quota.take("eve")
    assert (quota.used("ada"), quota.used("eve"), quota.refused) == (0, 1, 1)


def test_quota_of_zero_has_no_limit() -> None:
    quota = Quota(0, "reads")
    for _ in range(1_000):
        quota.take("ada")


def test_quota_counts_no_one_without_a_name() -> None:
    quota = Quota(1, "reads")
    for _ in range(3):
        quota.take("")
    quota.release("")
    assert quota.used("") == 0


def test_failures_are_limited_per_sender_and_forgiven_with_time() -> None:
    now = [100.0]
    limit = FailureLimit(3, 0.5, lambda: now[0])
    for _ in range(3):
        assert limit.retry_after_ms("a") == 0
        limit.count("a")
    assert limit.retry_after_ms("a") == 2_000
    assert limit.retry_after_ms("b") == 0
    now[0] += 2.0
    assert limit.retry_after_ms("a") == 0
    now[0] += 60.0
    assert limit.retry_after_ms("a") == 0
    assert len(limit) == 0


def test_clock_that_is_set_back_locks_no_sender_out_for_the_jump() -> None:
    now = [1_000_000.0]
    limit = FailureLimit(3, 0.5, lambda: now[0])
    for _ in range(3):
        limit.count("a")
    now[0] -= 500_000.0
    assert limit.retry_after_ms("a") == 2_000
    now[0] += 2.0
    assert limit.retry_after_ms("a") == 0


def test_number_of_remembered_senders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "MAX_TRACKED", 10)
    limit = FailureLimit(1, 1.0, lambda: 0.0)
    for number in range(100):
        limit.count(f"sender-{number}")
    assert len(limit) == 10
    assert limit.retry_after_ms("sender-99") > 0
    assert limit.retry_after_ms("sender-0") == 0
