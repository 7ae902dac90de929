import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import QueryError
from zoo.query import MAX_LENGTH, parse

TABLE = pd.DataFrame(
    {
        "width": [8, 16, 32, 64],
        "loss": [0.5, float("nan"), 0.1, 2.0],
        "phase": pd.array(["I", "II", None, "IV-B"], dtype="string"),
        "status": ["finished", "diverged", "finished", None],
        "tied": [True, False, True, False],
        "maybe": pd.array([True, None, False, None], dtype="boolean"),
        "count": pd.array([1, None, 3, 4], dtype="Int64"),
        "kind": pd.Categorical(["a", "b", "a", None]),
        "empty": pd.Series([None] * 4, dtype=object),
        "when": pd.date_range("2020-01-01", periods=4),
    }
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("width >= 32", "0011"),
        ("8 < width <= 32", "0110"),
        ("width == 8 or width == 64", "1001"),
        ("width > 8 and not tied", "0101"),
        ("width in [8, 64]", "1001"),
        ("width not in (8, 64)", "0110"),
        ("width in [-8, 16]", "0100"),
        ("width in []", "0000"),
        ("-width < -16", "0011"),
        ("width * 2 + 1 - 1 == 16", "1000"),
        ("width / 0 > 1e300", "1111"),
        ("(width - 8) / (width - 8) == 1", "0111"),
        ("width == 8.0", "1000"),
        ("loss < 1", "1010"),
        ("loss != 0.5", "0011"),
        ("not loss < 1", "0101"),
        ("loss == None", "0100"),
        ("None == loss", "0100"),
        ("loss is None", "0100"),
        ("loss is not None", "1011"),
        ("loss != None", "1011"),
        ("loss + 1 == None", "0100"),
        ("phase == 'IV-B'", "0001"),
        ("phase != 'I'", "0101"),
        ("phase > 'I'", "0101"),
        ("phase in ['I', None]", "1010"),
        ("phase not in ['I']", "0101"),
        ("phase not in ['I', None]", "0101"),
        ("status == 'finished'", "1010"),
        ("status not in ('finished',)", "0100"),
        ("tied", "1010"),
        ("tied == True", "1010"),
        ("maybe", "1000"),
        ("not maybe", "0111"),
        ("maybe == False", "0010"),
        ("count >= 3", "0011"),
        ("count + width > 0", "1011"),
        ("kind == 'a'", "1010"),
        ("empty == 'a' or empty < 3 or empty >= 'a' or empty in ['a']", "0000"),
        ("empty is None", "1111"),
        ("empty + 1 > 0 or -empty < 1", "0000"),
        ("  width == 8 ", "1000"),
        ("'a' in ['a'] and width == 8", "1000"),
        ("1 < 2 and width == 8", "1000"),
        ("None == None and width == 8", "1000"),
        ("not 1 < 2 and 2 > 1 or 1 != None and width == 8", "1000"),
    ],
)
def test_expression_selects_the_rows(expression, expected):
    mask = parse(expression).evaluate(TABLE)
    assert mask.dtype == bool
    assert mask.shape == (4,)
    assert "".join("01"[int(hit)] for hit in mask) == expected


def test_columns_are_the_names():
    assert parse("width > 1 and phase in ['I'] or -loss < width").columns == {"width", "phase", "loss"}


def test_an_empty_table_gives_an_empty_mask():
    assert parse("width == 8 and phase == 'I'").evaluate(TABLE.iloc[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("__import__('os').system('x')", "a function call at column 1 is not allowed"),
        ("width > abs(3)", r"a function call at column 9 .*`abs\(3\)`; expected columns, numbers.*such as"),
        ("width.real > 1", "an attribute at column 1"),
        ("width[0] > 1", "a subscript at column 1"),
        ("(lambda: 1) == 1", "a lambda at column 2"),
        ("[w for w in width] == 1", "a comprehension at column 1"),
        ("width in [w for w in width]", "this comparison"),
        ("f'{width}' == 'a'", "an f-string at column 1"),
        ("(a := 1) == 1", "an assignment at column 2"),
        ("1 if width else 2", "a conditional"),
        ("width ** 2 > 1", "the construct Pow"),
        ("width // 2 > 1", "the construct FloorDiv"),
        ("width & 2", "the construct BitAnd"),
        ("~tied", "the construct Invert"),
        ("b'x' == status", "a constant of type bytes at column 1"),
        ("1j == width", "a constant of type complex"),
        ("width == ...", "a constant of type ellipsis"),
        ("{1: 2} == width", "the construct Dict"),
        ("'I' in phase", "`in` takes a literal list"),
        ("width is 8", "`is` takes None"),
        ("width < None", "None has no order"),
        ("width == [8]", "this comparison"),
        ("[8] == [8]", "this comparison"),
        ("width in [*status]", "the construct List"),
        ("é == 1 and abs(1)", "a function call at column 12"),
    ],
)
def test_constructs_outside_of_the_allow_list_are_named(expression, message):
    with pytest.raises(QueryError, match=message):
        parse(expression)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("width =", "not valid at line 1, column 7"),
        ("width = 8", "not valid at line 1"),
        ("", "not valid at line 1"),
        ("width ==\n8", "not valid at line 1"),
        ("width == \x00", "not valid|not valid text"),
        ("width == '\ud800'", "not valid text"),
        ("x" * (MAX_LENGTH + 1), "10001 characters, expected at most 10000"),
        ("(" * 5000 + "1", "not valid|levels deep"),
        ("-" * 5000 + "1", "levels deep"),
        ("not " * 2000 + "tied", "levels deep"),
        ("+".join(["1"] * 3000), "levels deep"),
    ],
)
def test_malformed_text_is_refused(expression, message):
    with pytest.raises(QueryError, match=message):
        parse(expression)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("widht > 8", "unknown column 'widht'; did you mean 'width'.*`z.checkpoints.columns`"),
        ("zzz > 8", "unknown column 'zzz'; `z.checkpoints.columns`"),
        ("status > 8", r"compares `status`, a text, with `8`, a number; expected two values of one type"),
        ("width == 'a'", "compares `width`, a number, with `'a'`, a text"),
        ("width == True", "a number, with `True`, a boolean"),
        ("width in [1, 'a']", "compares `width`, a number, with `'a'`, a text"),
        (
            "width and tied",
            "`and`, `or` and `not` join booleans: expected a comparison, got the number `width`",
        ),
        ("not status", "got the text `status`"),
        ("status + 1 > 2", "arithmetic takes numbers: expected a number, got the text `status`"),
        ("-tied == 1", "got the boolean `tied`"),
        ("width + 1", "must give one boolean per row, got a number per row"),
        ("1 == 1", "must give one boolean per row, got one value for the whole table"),
        ("empty", "must give one boolean per row, got only missing values"),
        ("when > 3", "column 'when' holds values of type datetime64; queries compare numbers"),
        ("width < 1" + "0" * 400, "too large"),
    ],
)
def test_wrong_columns_and_types_are_explained(expression, message):
    with pytest.raises(QueryError, match=message):
        parse(expression).evaluate(TABLE)


def test_an_unknown_phase_says_that_no_label_is_stored():
    with pytest.raises(QueryError, match="phase labels are stored by a measurement that this zoo lacks"):
        parse("phase == 'I'").evaluate(TABLE[["width"]])


def _run(text):
    try:
        mask = parse(text).evaluate(TABLE)
    except QueryError:
        return
    assert mask.shape == (len(TABLE),)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_random_text_raises_nothing_but_a_query_error(text):
    _run(text)


TOKENS = [*TABLE.columns, "and", "or", "not", "in", "is", "None", "True", "'I'", "1", "2.5", "0", "1e999"]
TOKENS += [
    "(",
    ")",
    "[",
    "]",
    ",",
    "<",
    "<=",
    "==",
    "!=",
    "+",
    "-",
    "*",
    "/",
    "**",
    ".",
    ":=",
    "lambda",
    "if",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=12))
def test_random_tokens_raise_nothing_but_a_query_error(tokens):
    _run(" ".join(tokens))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=8), st.floats(allow_nan=False, allow_infinity=False))
def test_comparisons_agree_with_plain_python(values, bound):
    mask = parse(f"x < {bound!r}").evaluate(pd.DataFrame({"x": np.array(values)}))
    assert mask.tolist() == [value < bound for value in values]
