import pytest

from tidings.access.grants import MAX_GRANTS, NO_GRANTS, Grants
from tidings.exceptions import Forbidden, InvalidGrant
from tidings.protocol.paths import parse_paths

CHANNELS = ("global", "operations", "data", "system")


def grants(*texts: str) -> Grants:
    return Grants.parse(texts, CHANNELS)


def test_nothing_is_granted_by_default() -> None:
    assert not NO_GRANTS.may_read("data", None)
    assert not NO_GRANTS.may_publish("data:update", "data", "a")
    with pytest.raises(Forbidden, match="no grant to cancel operations/op-1"):
        NO_GRANTS.check_cancel("op-1")
    with pytest.raises(Forbidden, match="administer"):
        NO_GRANTS.check_admin()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("operations/acme.1", True),
        ("operations/acme.*", True),
        ("operations/acme.eu.*", True),
        ("operations/acme*", False),
        ("operations/acm", False),
        ("operations", False),
        ("data", False),
        ("global", True),
    ],
)
def test_subscription_is_covered_whole_or_refused(path: str, allowed: bool) -> None:
    subject = grants("read operations/acme.*")
    paths = parse_paths([path], CHANNELS)
    if allowed:
        subject.check_read(paths)
    else:
        with pytest.raises(Forbidden) as caught:
            subject.check_read(paths)
        assert caught.value.allowed == ("global", "operations/acme.*")
        assert "operations/acme.*" in caught.value.hint


def test_star_reads_every_channel_and_publishes_to_all_but_global() -> None:
    subject = grants("read *", "publish *")
    assert all(subject.may_read(channel, "key") for channel in CHANNELS)
    assert subject.may_publish("data:update", "data", "a")
    assert not subject.may_publish("data:update", "global", "a")
    assert grants("publish global").may_publish("system:alert", "global", "a")


def test_event_needs_a_grant_for_each_channel_it_goes_to() -> None:
    everyone = grants("publish global")
    with pytest.raises(Forbidden, match="no grant to publish operation:complete to operations/op-1"):
        everyone.check_publish("operation:complete", ("operations", "global"), "op-1")
    grants("publish global", "publish operations/op-*").check_publish(
        "operation:complete", ("operations", "global"), "op-1"
    )


@pytest.mark.parametrize(
    ("grant", "type", "declared", "allowed"),
    [
        ("publish data", "data:update", True, True),
        ("publish data", "invoice:paid", False, False),
        ("publish data invoice:*", "invoice:paid", False, True),
        ("publish data invoice:*", "data:update", True, False),
        ("publish data *", "invoice:paid", False, True),
        ("publish data *", "data:update", True, True),
        ("publish data data:update", "data:updated", True, False),
    ],
)
def test_types_narrow_a_grant_and_undeclared_ones_must_be_named(
    grant: str, type: str, declared: bool, allowed: bool
) -> None:
    assert grants(grant).may_publish(type, "data", "k", declared=declared) is allowed


def test_keys_may_contain_blanks() -> None:
    subject = grants("read data/my key", "publish data/my key data:update", "publish data/b c")
    assert subject.may_read("data", "my key")
    assert subject.may_publish("data:update", "data", "my key")
    assert not subject.may_publish("data:error", "data", "my key")
    assert subject.may_publish("data:error", "data", "b c")


def test_admin_may_do_everything() -> None:
    admin = grants("admin")
    admin.check_admin()
    admin.check_cancel("any")
    admin.check_read(parse_paths(["*"], CHANNELS))
    admin.check_publish("invoice:paid", ("data", "global"), None, declared=False)
    assert admin.details
    assert admin.names() == ["admin"]


def test_names_are_canonical_and_parse_to_the_same_grants() -> None:
    texts = ("cancel operations/b*", "publish data/d* data:*", "publish data", "read data", "read data/x", "details")
    subject = grants(*texts)
    assert subject.names() == [
        "read data",
        "read global",
        "publish data",
        "publish data/d* data:*",
        "cancel operations/b*",
        "details",
    ]
    assert grants(*subject.names()) == subject == grants(*reversed(texts))
    assert hash(grants(*texts)) == hash(subject)
    assert len({subject, NO_GRANTS}) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "read",
        "write data",
        "read data/",
        "publish",
        "admin data",
        "details data",
        "read /x",
        "read data*",
        "read 0 /*",
        "publish Data/x",
        "cancel operations/\x07",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidGrant) as caught:
        grants("read data", text)
    assert "read PATH" in caught.value.hint


def test_number_of_grants_is_bounded() -> None:
    with pytest.raises(InvalidGrant, match="more than 1,000"):
        grants(*(f"read data/{number}" for number in range(MAX_GRANTS + 1)))


def test_grant_for_an_undeclared_channel_covers_nothing_here() -> None:
    subject = grants("read invoices", "read data")
    with pytest.raises(Forbidden):
        subject.check_read(parse_paths(["*"], CHANNELS))
    assert subject.may_read("data", None)


def test_answers_are_remembered_within_a_bound() -> None:
    subject = grants("publish data *")
    for number in range(10_000):
        assert subject.may_publish(f"x:t{number}", "data", "k", declared=False)
    assert len(subject._publishable) <= 4_096
