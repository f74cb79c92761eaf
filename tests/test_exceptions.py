import inspect
import re
from typing import Any

import pytest

from tidings import exceptions
from tidings.exceptions import ContractError, MissingExtra, TidingsError

CLASSES = {
    name: value
    for name, value in vars(exceptions).items()
    if inspect.isclass(value) and issubclass(value, TidingsError)
}
BRANCH = re.compile(r"^    (?P<stem>(?:[│ ]   )*)(?:[├└]── )?(?P<name>[A-Za-z0-9]+)(?: {2,}.*)?$")
FACTS: dict[Any, Any] = {
    str: "a fact",
    int: 4003,
    float: 1.5,
    bool: False,
    str | None: "perhaps",
    tuple[str, ...]: ("read data",),
}


def drawn_tree() -> list[tuple[str, str]]:
    """Return (name, parent's name) of each line of the docstring's tree."""
    assert exceptions.__doc__ is not None
    drawing = exceptions.__doc__.split("::\n\n")[1].split("\n\n")[0]
    parents: list[str] = []
    tree = []
    for line in drawing.splitlines():
        match = BRANCH.match(line)
        assert match, line
        level = 0 if "──" not in line else len(match["stem"]) // 4 + 1
        parents[level:] = [match["name"]]
        tree.append((match["name"], parents[level - 1] if level else "Exception"))
    return tree


def test_tree_in_the_docstring_is_the_class_tree() -> None:
    real = [(name, error.__bases__[0].__name__) for name, error in CLASSES.items()]
    assert sorted(drawn_tree()) == sorted(real)


def test_each_class_has_one_parent_and_its_own_code() -> None:
    assert all(len(error.__bases__) == 1 for error in CLASSES.values())
    codes = [error.code for error in CLASSES.values() if error is not TidingsError]
    assert len(set(codes)) == len(codes)


def facts_of(error: type[TidingsError]) -> dict[str, Any]:
    """Return a value for each attribute that only this class requires."""
    own = {
        name: parameter
        for name, parameter in inspect.signature(error).parameters.items()
        if name not in ("message", "hint", "details")
    }
    return {name: FACTS[parameter.annotation] for name, parameter in own.items()}


@pytest.mark.parametrize("error", CLASSES.values(), ids=CLASSES)
def test_message_is_the_text_and_facts_are_attributes(error: type[TidingsError]) -> None:
    facts = facts_of(error)
    caught = error("what happened", **facts)
    assert str(caught) == caught.message == "what happened"
    assert {name: getattr(caught, name) for name in facts} == facts
    assert error.__doc__


@pytest.mark.parametrize("error", CLASSES.values(), ids=CLASSES)
def test_every_option_is_keyword_only(error: type[TidingsError]) -> None:
    with pytest.raises(TypeError):
        error("what happened", "a hint")  # type: ignore[call-arg]


def test_contract_error_has_a_default_path() -> None:
    assert exceptions.InvalidTimestamp("no").path == "$.timestamp"
    assert exceptions.InvalidPayload("no", path="$.data.progress").path == "$.data.progress"
    assert exceptions.InvalidPath("no").path == ""
    assert ContractError("no").path == ""


def test_missing_extra_hints_at_the_install_command() -> None:
    error = MissingExtra("serving needs more", extra="hub")
    assert (error.extra, error.hint) == ("hub", "pip install 'tidings[all]'")
