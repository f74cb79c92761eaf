from typing import Any

import pytest
from tests.access.tokens import CHANNELS

from tidings.access.claims import GrantRules, GrantTemplate, list_values, read_templates
from tidings.access.grants import MAX_GRANTS
from tidings.exceptions import ConfigError, InvalidGrant


def granted(template: str, **claims: Any) -> list[str]:
    """Return the grants of `template`, without the `global` that every reader has."""
    names = GrantRules(CHANNELS, templates=[template]).grants_of(claims).names()
    return [name for name in names if name != "read global"]


KEYCLOAK = {
    "sub": "1f3e7c1a-6c8e-4a4a-9f0b-7b1f1c2d3e4f",
    "preferred_username": "ada",
    "realm_access": {"roles": ["offline_access", "hub-admin", "acme"]},
    "resource_access": {"tidings": {"roles": ["viewer", "publisher"]}},
    "groups": ["/acme/eu", "/globex"],
    "scope": "openid email tidings",
}
AUTH0 = {
    "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
    "https://hub.example/roles": ["operator"],
    "https://hub.example/org": {"id": "acme"},
    "permissions": ["read:operations", "publish:data"],
    "scope": "openid read:operations",
}
ENTRA = {
    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
    "oid": "00000000-0000-0000-66f3-3332eca7ea81",
    "tid": "9188040d-6c67-4c5b-b112-36a304b66dad",
    "roles": ["Hub.Admin", "Hub.Reader"],
    "groups": ["a1d5f4a4-8c4d-4ee2-9b6c-0f3bb5d3f7a1"],
    "scp": "user.read hub.read",
}
COGNITO = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "cognito:groups": ["acme", "admins"],
    "cognito:username": "ada",
    "custom:tenant": "globex",
}

PROVIDERS: list[tuple[dict[str, Any], str, list[str]]] = [
    (KEYCLOAK, "read operations/{sub}.*", [f"read operations/{KEYCLOAK['sub']}.*"]),
    (KEYCLOAK, "admin if realm_access.roles=hub-admin", ["admin"]),
    (KEYCLOAK, "admin if realm_access.roles=hub", []),
    (KEYCLOAK, "read data if resource_access.tidings.roles=viewer", ["read data"]),
    (KEYCLOAK, "details if scope=tidings", ["details"]),
    (KEYCLOAK, "details if scope=tid", []),
    (KEYCLOAK, "read data/{+groups}/*", ["read data//acme/eu/*", "read data//globex/*"]),
    (KEYCLOAK, "read data/{groups}.*", []),
    (AUTH0, "read operations/{sub}.*", [f"read operations/{AUTH0['sub']}.*"]),
    (AUTH0, "cancel operations if https://hub.example/roles=operator", ["cancel operations"]),
    (AUTH0, "read data/{https://hub.example/org.id}-*", ["read data/acme-*"]),
    (AUTH0, "read operations if permissions=read:operations", ["read operations"]),
    (AUTH0, "publish data if permissions=publish:data", ["publish data"]),
    (AUTH0, "publish data if scope=publish:data", []),
    (ENTRA, "admin if roles=Hub.Admin", ["admin"]),
    (ENTRA, "read operations/{tid}.{oid}.*", [f"read operations/{ENTRA['tid']}.{ENTRA['oid']}.*"]),
    (ENTRA, "read data/{groups}/*", [f"read data/{ENTRA['groups'][0]}/*"]),
    (ENTRA, "read data if scp=hub.read", ["read data"]),
    (COGNITO, "publish data/{cognito:groups}.* data:*", ["publish data/acme.* data:*", "publish data/admins.* data:*"]),
    (COGNITO, "publish data/{cognito:groups}", ["publish data/acme", "publish data/admins"]),
    (COGNITO, "admin if cognito:groups=admins", ["admin"]),
    (COGNITO, "read operations/{custom:tenant}.*", ["read operations/globex.*"]),
]


@pytest.mark.parametrize(("claims", "template", "expected"), PROVIDERS)
def test_template_reads_the_claims_of_identity_providers(
    claims: dict[str, Any], template: str, expected: list[str]
) -> None:
    assert granted(template, **claims) == expected


WIDENING: list[tuple[str, Any]] = [
    ("read operations/{v}.*", ""),
    ("read operations/{v}.*", "*"),
    ("read operations/{v}.*", "a*"),
    ("read operations/{v}.*", "a/b"),
    ("read operations/{v}.*", "a.b"),
    ("read operations/{v}.*", "a\x1fb"),
    ("read operations/{v}.*", "a\nb"),
    ("read operations/{v}.*", "a\u202eb"),
    ("read operations/{v}.*", "a\ud800"),
    ("read operations/{v}.*", " "),
    ("read operations/{v}", "a "),
    ("read operations/{v}", " a"),
    ("read operations/{v}", "*"),
    ("read operations/{v}", ""),
    ("read operations/{v}", "a" * 256),
    ("read operations/{v}", ["*", "", "a/b"]),
    ("read operations/{v}", None),
    ("read operations/{v}", 1.5),
    ("read operations/{v}", {"a": "b"}),
    ("read operations/{v}", [["a"]]),
    ("read operations/{missing}.*", "a"),
    ("read operations/{v.missing}.*", "a"),
    ("read operations/{v}.{missing}.*", "a"),
    ("read {v}", "*"),
    ("read {v}", "operations/a"),
    ("read {v}", "operations*"),
    ("read {+v}/a", "operations/b"),
    ("read operations/{+v}.*", "*"),
    ("read operations/{+v}", "a*"),
    ("publish data/{v}", "a *"),
    ("publish data/{v}", "a system:alert"),
    ("publish {v}", "data *"),
    ("publish {v} data:*", "data *"),
    ("publish data/{v} data:*", "a *"),
    ("admin if v=true", "yes"),
    ("admin if v=true", ["True"]),
    ("admin if v=a", "a b"),
    ("admin if v=a", {"a": True}),
    ("admin if missing=x", "x"),
]


@pytest.mark.parametrize(("template", "value"), WIDENING)
def test_value_never_widens_a_grant(template: str, value: Any) -> None:
    assert granted(template, v=value) == []
    assert GrantRules(CHANNELS, templates=[template]).explain({"v": value}), "a person finds out why"


@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("read operations/{+v}.*", "acme.eu", ["read operations/acme.eu.*"]),
        ("read operations/{v}/*", "ada@example.com", ["read operations/ada@example.com/*"]),
        ("read operations/{v}", "a.b", ["read operations/a.b"]),
        ("read operations/{v}.*", "Team A", ["read operations/Team A.*"]),
        ("read operations/{v}.*", ["b", "a", "b", "x*"], ["read operations/a.*", "read operations/b.*"]),
        ("read operations/{v}.*", 42, ["read operations/42.*"]),
        ("read {v}", ["operations", "data"], ["read data", "read operations"]),
        ("publish data/{v} *", "Team A", ["publish data/Team A *"]),
        ("details if v=true", True, ["details"]),
        ("read data if v=7", [6, 7], ["read data"]),
    ],
)
def test_usable_value_gives_its_grant(template: str, value: Any, expected: list[str]) -> None:
    assert granted(template, v=value) == expected
    assert all("`v`" in line for line in GrantRules(CHANNELS, templates=[template]).explain({"v": value}))


def test_several_lists_give_every_combination() -> None:
    names = granted("read data/{a}-{b}-*", a=["x", "y-z", "w"], b=["1", "2"])
    assert names == [f"read data/{a}-{b}-*" for a in "wx" for b in "12"]


def test_claims_with_dots_in_their_names_are_found_first() -> None:
    claims = {"a.b": {"c": "flat"}, "a": {"b": {"c": "nested"}, "b.c": "half"}}
    assert list(list_values(claims, "a.b.c")) == ["flat"]
    assert list(list_values({"a": claims["a"]}, "a.b.c")) == ["half"]
    assert list(list_values({"a": [{"b": "x"}, 7, {"b": ["y"]}]}, "a.b")) == ["x", "y"]
    deep: dict[str, Any] = {"v": "end"}
    for _ in range(100):
        deep = {"a": deep}
    assert list(list_values(deep, ".".join(["a"] * 100 + ["v"]))) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "read",
        "read ",
        "seize operations",
        "read operations/{sub",
        "read operations/sub}",
        "read operations/{}.*",
        "read operations/{sub}*",
        "read operations/{a}{b}",
        "{action} operations",
        "publish data {type:x}",
        "admin if role",
        "admin if =x",
        "admin if role=",
        "admin/{sub}",
        "details {sub}",
    ],
)
def test_invalid_template_is_an_error_at_start(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GrantTemplate(text, option="jwt_grants")
    assert caught.value.option == "jwt_grants"
    assert "read operations/{sub}.*" in caught.value.hint


def test_table_of_templates_is_read_from_configuration() -> None:
    table = {
        "read": "operations/{sub}.*",
        "publish": ["data/{tenant}.*", "operations/{tenant}.* operation:*"],
        "details": True,
        "admin": "if realm_access.roles=hub-admin",
    }
    assert read_templates(table, option="grants") == (
        "read operations/{sub}.*",
        "publish data/{tenant}.*",
        "publish operations/{tenant}.* operation:*",
        "details",
        "admin if realm_access.roles=hub-admin",
    )
    for wrong in ({"seize": "x"}, {"read": 7}, {"read": [7]}, {"read": True}, {"read": "a/{sub}*"}):
        with pytest.raises(ConfigError):
            read_templates(wrong, option="grants")


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (["read operations/acme.*", "details"], ["read operations/acme.*", "details"]),
        ("read data", ["read data"]),
        ({"read": "data", "publish": ["data/a data:*"], "details": True, "admin": False},
         ["read data", "publish data/a data:*", "details"]),
        ([], []),
        (None, []),
        ({}, []),
    ],
)  # fmt: skip
def test_claim_with_grants_is_a_list_or_an_object(claim: Any, expected: list[str]) -> None:
    names = GrantRules(CHANNELS).grants_of({"tidings": claim}).names()
    assert [name for name in names if name != "read global"] == expected


@pytest.mark.parametrize(
    "claim", [7, True, [7], {"read": 7}, {"seize": "data"}, {"admin": "yes"}, ["secret"], {"read": ["a"] * 1_001}]
)
def test_invalid_claim_with_grants_is_refused_without_its_text(claim: Any) -> None:
    with pytest.raises(InvalidGrant) as caught:
        GrantRules(CHANNELS).grants_of({"tidings": claim})
    assert "secret" not in str(caught.value)


def test_claim_with_grants_can_have_another_name_or_be_ignored() -> None:
    claims = {"tidings": ["admin"], "https://hub.example/grants": ["read data"]}
    assert GrantRules(CHANNELS, grants_claim="https://hub.example/grants").grants_of(claims).names() == [
        "read data",
        "read global",
    ]
    assert GrantRules(CHANNELS, grants_claim="").grants_of(claims).names() == []


def test_number_of_grants_from_claims_is_bounded() -> None:
    groups = [f"g{number}" for number in range(MAX_GRANTS + 1)]
    for template in ("read data/{groups}.*", "read data/{groups}-{groups}.*"):
        with pytest.raises(InvalidGrant, match="more than 1,000"):
            GrantRules(CHANNELS, templates=[template]).grants_of({"groups": groups})
