"""The filter language: what is taken, what is sent, and what a mistake is told."""

import operator
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.model.filter import Filter, quoted
from downloader.model.time import timestamp
from earthengine_emulator.catalogue import filters as served
from earthengine_emulator.catalogue.model import PUBLIC, Image


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("CLOUDY_PIXEL_PERCENTAGE < 10", "properties.CLOUDY_PIXEL_PERCENTAGE < 10"),
        ("a<10", "properties.a < 10"),
        ("a<-1.5e3", "properties.a < -1.5e3"),
        ("a >= +.5", "properties.a >= .5"),
        ("properties.a != 1", "properties.a != 1"),
        ('system:index = "2017"', 'properties.system:index = "2017"'),
        ("tile = '10\"SEG'", 'properties.tile = "10\\"SEG"'),
        (r'a = "b\\c"', r'properties.a = "b\\c"'),
        ("((a = 1))", "properties.a = 1"),
        ("a=1 AND b=2 AND c=3", "properties.a = 1 AND properties.b = 2 AND properties.c = 3"),
        ("a=1 AND b=2 OR c=3", "properties.a = 1 AND (properties.b = 2 OR properties.c = 3)"),
        ("a=1 OR b=2 AND c=3", "(properties.a = 1 OR properties.b = 2) AND properties.c = 3"),
        ("(a=1 AND b=2) OR c=3", "(properties.a = 1 AND properties.b = 2) OR properties.c = 3"),
        ("tile IN (10SEG, 10SFG)", 'properties.tile = "10SEG" OR properties.tile = "10SFG"'),
        ("a IN (1, 'x,y') AND b=2", '(properties.a = 1 OR properties.a = "x,y") AND properties.b = 2'),
        ("NOT a IN (1)", "NOT properties.a = 1"),
        ("NOT a=1", "NOT properties.a = 1"),
        ("NOT (a=1 OR b=2)", "NOT (properties.a = 1 OR properties.b = 2)"),
        ("NOT a=1 AND b=2", "(NOT properties.a = 1) AND properties.b = 2"),
        ('startTime >= "2017-04-01"', 'startTime >= "2017-04-01T00:00:00.000Z"'),
        ("endTime<'2017-04-01T02:00:00+02:00'", 'endTime < "2017-04-01T00:00:00.000Z"'),
        ('intersects("POINT(1 2)")', 'intersects("POINT(1 2)")'),
        ("VH IN pols", ""),
        ("VH IN pols AND a=1 AND 'V V' IN properties.b.c AND c=1", "properties.a = 1 AND properties.c = 1"),
        ("(VH IN pols OR a=1) AND (b=2 OR c=3)", "properties.b = 2 OR properties.c = 3"),
        ("IN IN IN AND a IN (IN)", 'properties.a = "IN"'),
    ],
)  # fmt: skip
def test_what_is_sent(text, sent):
    assert Filter.parse(text).sent() == sent


def test_names_are_those_of_properties_in_order():
    text = 'system:index = "x" AND (b < 1 OR properties.a < 2) AND NOT b > 3 AND startTime > "2017-01-01"'
    assert Filter.parse(text).names == ("system:index", "b", "a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the filter is empty; write a condition such as CLOUDY_PIXEL_PERCENTAGE < 10"),
        ("  ", "the filter is empty"),
        ("a", "character 2 of the filter 'a': one of = != < <= > >= after a expected, it ends there"),
        ("a IN", r"character 5 .*\( and values, such as a IN \(A, B\), or a property that is a list, expected, it ends there"),
        ("VH IN (", "character 8 .*a number or a text expected"),
        ("10 IN (1)", "character 1 .*the name of a property expected, there is 10"),
        ("a IN AND b=1", "character 6 .*and values.*there is AND"),
        ("a <", "character 4 of the filter 'a <': a number, or a text in double quotes, after a < expected, it ends there"),
        ("a == 1", "character 3 .* there is == .write =."),
        ("a <> 1", "character 3 .* there is <> .write !=."),
        ("a < 1 and b < 2", "character 7 .*AND, OR or the end expected, there is and .write AND."),
        ("a < 1 && b < 2", "character 7 .*there is && .write AND."),
        ("a < 1 || b < 2", "character 7 .*there is .*write OR."),
        ("! a < 1", "character 1 .*the name of a property expected, there is ! .write NOT."),
        ("tile = 10SEG", 'character 8 .*there is 10SEG .write "10SEG".'),
        ("tile = SEG", 'character 8 .*there is SEG .write "SEG".'),
        ('tile = "SEG', 'character 8 .*there is " .which nothing closes.'),
        ("(a < 1", "character 7 .*AND, OR or . expected, it ends there"),
        ("a < 1)", "character 6 .*AND, OR or the end expected"),
        ("a < 1 b < 2", "character 7 .*there is b"),
        ("AND", "character 1 .*the name of a property expected, there is AND"),
        ("a < 1 AND", "character 10 .*the name of a property expected, it ends there"),
        ("10 > a", "character 1 .*the name of a property expected, there is 10"),
        ("startTime > 5", "character 13 .*a time in quotes after startTime"),
        ('startTime > "soon"', "character 13 .*a time in quotes after startTime"),
        ("intersects(5)", "character 12 .*a geometry in quotes"),
        ('intersects("POINT(1 2)"', "character 24 .*it ends there"),
        ("(" * 60 + "a = 1" + ")" * 60, "more than 50 parentheses"),
        ("NOT " * 60 + "a = 1", "more than 50 parentheses and NOTs"),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_and_what(text, said):
    with pytest.raises(JobError, match=said):
        Filter.parse(text)


# The same filter, as its writer means it and as the emulator, which knows nothing of this parser, reads what is sent.

NAMES = st.sampled_from(["a", "b", "system:index"])
SIGNS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LITERALS = st.integers(-2, 2) | st.sampled_from(["", "x", 'q"\\', "AND"])
COMPARISONS = st.tuples(st.just("is"), NAMES, st.sampled_from(sorted(SIGNS)), LITERALS)
TREES = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.tuples(st.just("NOT"), inner) | st.tuples(st.sampled_from(["AND", "OR"]), inner, inner, inner)
    ),
    max_leaves=8,
)
PROPERTIES = st.dictionaries(NAMES, LITERALS)


def written(tree):
    """A tree as a user might write it, all parentheses written out."""
    kind, *parts = tree
    if kind == "is":
        name, sign, literal = parts
        return f"{name}{sign}{quoted(literal) if isinstance(literal, str) else literal}"
    if kind == "in":
        value, name = parts
        return f"{quoted(value) if isinstance(value, str) else value} IN {name}"
    if kind == "NOT":
        return f"NOT ({written(parts[0])})"
    return f" {kind} ".join(f"({written(part)})" for part in parts)


def meant(tree, properties):
    """What a tree says of an image."""
    kind, *parts = tree
    if kind == "is":
        name, sign, literal = parts
        own = properties.get(name)
        return (
            own is not None and isinstance(own, str) == isinstance(literal, str) and SIGNS[sign](own, literal)
        )
    if kind == "in":
        own = properties.get(parts[1])
        return isinstance(own, list) and parts[0] in own
    if kind == "NOT":
        return not meant(parts[0], properties)
    return {"AND": all, "OR": any}[kind](meant(part, properties) for part in parts)


MEMBERS = st.tuples(
    st.just("in"), st.integers(-2, 2) | st.sampled_from(["x", 'q"\\']), st.sampled_from(["l", "m", "a"])
)
LISTED = st.recursive(
    COMPARISONS | MEMBERS,
    lambda inner: (
        st.tuples(st.just("NOT"), inner) | st.tuples(st.sampled_from(["AND", "OR"]), inner, inner, inner)
    ),
    max_leaves=8,
)
LISTS = st.dictionaries(
    st.sampled_from(["l", "m"]), st.lists(st.integers(-2, 2) | st.sampled_from(["x", 'q"\\']))
)


@given(LISTED, PROPERTIES, LISTS)
def test_what_is_sent_and_what_is_not_mean_together_what_was_written(tree, properties, lists):
    made, own = Filter.parse(written(tree)), {**properties, **lists}
    image = Image(f"{PUBLIC}A/B", (), None, "", properties=own)
    sent = made.sent()
    found = (not sent or served.parse(sent)(image)) and made.holds({"properties": own})
    assert found == meant(tree, own)


def test_times_within_a_condition_on_a_list():
    made = Filter.parse("x IN l OR endTime < '2017-04-01T02:00:00+02:00'")
    assert made.holds({"startTime": "2017-03-31T23:59:59Z"})
    assert not made.holds({"startTime": "2017-04-01T00:00:00Z"})
    assert not made.holds({})
    assert made.lists == {"l"}
    with pytest.raises(
        JobError, match="intersects by OR or NOT with a condition on a list; join them by AND"
    ):
        Filter.parse("x IN l OR intersects('POINT(1 2)')")


@given(TREES, PROPERTIES)
def test_what_is_sent_means_what_was_written(tree, properties):
    made = Filter.parse(written(tree))
    image = Image(f"{PUBLIC}A/B", (), None, "", properties=properties)
    for sent in (made.sent(), made.sent(alone=False)):
        assert served.parse(sent)(image) == meant(tree, properties)


@given(TREES)
def test_what_is_sent_reads_as_itself(tree):
    made = Filter.parse(written(tree))
    for sent in (made.sent(), made.sent(alone=False)):
        assert Filter.parse(sent) == made


@given(st.text(alphabet="ab1.5<>=!&|()\"\\' ANDORT:-+e", max_size=30) | st.text(max_size=20))
def test_any_text_is_a_filter_or_a_jobs_error(text):
    try:
        Filter.parse(text)
    except JobError as error:
        assert re.match(r"character \d+ of the filter|the filter (is empty|has)", str(error))  # noqa: PT017  # either way is fine


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_491_004_800_000_000, "2017-04-01T00:00:00.000Z"),
        (1_491_004_800_120_000, "2017-04-01T00:00:00.120Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_written_in_utc(time_us, text):
    assert timestamp(time_us) == text
