import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from wsl_tasks.result import Result, Score, schema_text
from zoo.errors import FormatError

SCHEMA = Path(__file__).parents[2] / "docs" / "result.schema.json"
REFRESH = (
    'python -c "from pathlib import Path; from wsl_tasks.result import schema_text; '
    "Path('docs/result.schema.json').write_text(schema_text())\""
)


def result_of(**changes):
    return Result.model_validate(
        {
            "task": "averaging/digits-mlp-demo/seeds@v1",
            "method": "mine",
            "scores": {
                "accuracy_gain": {"value": 0.1, "low": 0.0, "high": 0.2},
                "x": {"reason": "no ranking"},
            },
            "breakdown": {"cold": {"accuracy_gain": {"value": 0.1, "reason": "one cell only"}}},
            "n": 4,
            "n_cells": 2,
            "seeds": [0],
            "wall_seconds": 0.5,
            "versions": {"torch": "2"},
            "zoo": {"name": "z", "recipe_hash": "a", "split": "iid-v1", "split_sha256": "b"},
        }
        | changes
    )


def test_a_result_comes_back(tmp_path):
    result = result_of()
    result.save(tmp_path / "new" / "mine.json")
    assert Result.load(tmp_path / "new" / "mine.json") == result
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["mine.json"]


def test_a_saved_result_follows_the_published_schema(tmp_path):
    result_of().save(tmp_path / "mine.json")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    saved = json.loads((tmp_path / "mine.json").read_text())
    jsonschema.validate(saved, schema)
    with pytest.raises(jsonschema.ValidationError, match="'method' is a required property"):
        jsonschema.validate({k: v for k, v in saved.items() if k != "method"}, schema)


def test_the_published_schema_is_the_present_one():
    assert SCHEMA.read_text() == schema_text(), f"docs/result.schema.json is old; refresh it: {REFRESH}"


def test_file_names_tell_tasks_and_methods_apart():
    assert result_of().file_name == "averaging.digits-mlp-demo.seeds@v1.mine.json"
    assert result_of(
        method="../my soup"
    ).file_name == "averaging.digits-mlp-demo.seeds@v1..._my.soup.json".replace("_", ".")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"r\.json is not valid JSON"),
        ("[]", r"r\.json is not a result:\n  the whole: "),
        ("{}", r"task: Field required\n  method: Field required"),
        ('{"n": NaN}', "NaN is no JSON number"),
        ('{"n": 1, "n": 2}', "a key stands twice"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, text, message):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        Result.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "extra: Extra inputs are not permitted, got 1"),
        ({"n": -1}, "n: Input should be greater than or equal to 0, got -1"),
        ({"scores": {"x": {"value": 1.0}}}, r"scores\.x: .*needs its reason"),
        ({"schema_version": 2}, "schema_version: Input should be 1, got 2"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, change, message):
    raw = result_of().model_dump(mode="json") | change
    (tmp_path / "r.json").write_text(json.dumps(raw))
    with pytest.raises(FormatError, match=message):
        Result.load(tmp_path / "r.json")


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(
        FormatError, match=r"there is no result .*r\.json; write one with `phasezoo evaluate`"
    ):
        Result.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "needs its reason"),
        ({"value": 1.0, "low": 0.0}, "an interval has two ends"),
        ({"low": 0.0, "high": 1.0}, "an interval needs a value"),
        ({"value": float("nan"), "reason": "x"}, "finite number"),
    ],
)
def test_a_score_is_whole_or_explained(fields, message):
    with pytest.raises(ValidationError, match=message):
        Score(**fields)


def test_scores_as_text():
    assert Score(value=0.12345, reason="one cell only").text() == "0.123"
