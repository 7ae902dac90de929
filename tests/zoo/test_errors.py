import inspect

import pytest

from zoo import errors
from zoo.errors import ZooError, unknown_name

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == "zoo.errors"]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_derives_from_the_base_and_prints_its_message_unquoted(kind):
    assert issubclass(kind, ZooError)
    assert str(kind("what, expected, got")) == "what, expected, got"
    assert not str(kind())


def test_a_near_name_is_suggested():
    error = unknown_name("metric", "test_acuracy", ["test_accuracy", "width"], way_out="see docs")
    assert str(error) == "unknown metric 'test_acuracy'; did you mean 'test_accuracy'? see docs"
    assert isinstance(error, KeyError)


@pytest.mark.parametrize(
    ("known", "hint"),
    [
        ([], "known: none"),
        (["b", "a"], "known: a, b"),
        ([f"n{i:02d}" for i in range(13)], "known: n00, n01, n02, n03, n04, n05, ... (13 in all)"),
    ],
)
def test_without_a_near_name_the_known_ones_are_listed_up_to_a_limit(known, hint):
    assert str(unknown_name("split", "zzzzzz", known)) == f"unknown split 'zzzzzz'; {hint}"
