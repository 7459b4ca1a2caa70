"""Formulas: what is accepted and refused, the type of the result, and the graph against numpy."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.expressions.formula import FUNCTIONS, Interval, parse_formula

OPERATIONS = {
    "Image.add": np.add, "Image.subtract": np.subtract, "Image.multiply": np.multiply, "Image.divide": np.divide,
    "Image.pow": np.power, "Image.lt": np.less, "Image.lte": np.less_equal, "Image.gt": np.greater,
    "Image.gte": np.greater_equal, "Image.eq": np.equal, "Image.neq": np.not_equal, "Image.abs": np.abs,
    "Image.sqrt": np.sqrt, "Image.exp": np.exp, "Image.log": np.log, "Image.log10": np.log10,
    "Image.min": np.minimum, "Image.max": np.maximum,
}  # fmt: skip


def evaluate(graph, bands):
    """(values, validity) of a graph of arithmetic, by numpy."""
    if "band" in graph:
        values = bands[graph["band"]]
        return values, np.ones(values.shape, bool)
    called = graph["functionInvocationValue"]
    name, arguments = called["functionName"], called["arguments"]
    if name == "Image.constant":
        return np.float64(arguments["value"]["constantValue"]), np.True_
    if name == "Image.toDouble":
        values, valid = evaluate(arguments["value"], bands)
        return values.astype("f8"), valid
    if name == "Image.updateMask":
        values, valid = evaluate(arguments["image"], bands)
        mask, known = evaluate(arguments["mask"], bands)
        return values, valid & known & (mask != 0)
    parts = [evaluate(argument, bands) for _, argument in sorted(arguments.items())]
    with np.errstate(all="ignore"):
        values = OPERATIONS[name](*[part for part, _ in parts])
    return values * 1.0, reduce(np.logical_and, [valid for _, valid in parts])


def computed(text, **bands):
    formula = parse_formula(text, "source.bands.x")
    return evaluate(formula.graph(lambda name: {"band": name}), {k: np.asarray(v) for k, v in bands.items()})


def test_an_index():
    values, valid = computed("(B8 - B4) / (B8 + B4)", B8=[3000, 0, 5], B4=[1000, 0, 10])
    assert valid.tolist() == [True, False, True]
    np.testing.assert_array_equal(values[valid], [0.5, -1 / 3])


@st.composite
def formulas(draw, depth=3):
    """Texts of formulas that Python evaluates as well."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["a", "b", "2", "0.5", "3"]))
    kind = draw(st.sampled_from(["binary", "binary", "compare", "call", "minus"]))
    one, other = draw(formulas(depth=depth - 1)), draw(formulas(depth=depth - 1))
    match kind:
        case "binary":
            return f"({one} {draw(st.sampled_from(['+', '-', '*', '/']))} {other})"
        case "compare":
            # numpy negates and adds no booleans
            return f"(({one} {draw(st.sampled_from(['<', '<=', '>', '>=', '==', '!=']))} {other}) * 1)"
        case "minus":
            return f"(-{one})"
    name = draw(st.sampled_from(sorted(FUNCTIONS)))
    return f"{name}({one}, {other})" if FUNCTIONS[name][1] == 2 else f"{name}({one})"


PYTHON = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "min": np.minimum,
    "max": np.maximum,
}


@given(text=formulas().filter(lambda t: "a" in t.replace("max", "").replace("abs", "")), data=st.data())
def test_the_graph_computes_what_python_computes(text, data):
    numbers = st.lists(st.integers(0, 10_000), min_size=4, max_size=4)
    bands = {"a": np.array(data.draw(numbers), "u2"), "b": np.array(data.draw(numbers), "u2")}
    values, valid = computed(text, **bands)
    with np.errstate(all="ignore"):
        wanted = eval(text, {"__builtins__": {}}, {**PYTHON, **{k: v.astype("f8") for k, v in bands.items()}})
    wanted = np.broadcast_to(np.asarray(wanted, "f8"), (4,))
    values, valid = np.broadcast_to(values, (4,)), np.broadcast_to(valid, (4,))
    finite = valid & np.isfinite(wanted)
    np.testing.assert_array_equal(values[finite], wanted[finite])


@given(text=formulas().filter(lambda t: "a" in t.replace("max", "").replace("abs", "")), data=st.data())
def test_the_interval_holds_every_value(text, data):
    numbers = st.lists(st.integers(0, 65_535), min_size=4, max_size=4)
    bands = {"a": np.array(data.draw(numbers), "u2"), "b": np.array(data.draw(numbers), "u2")}
    values, valid = computed(text, **bands)
    interval = parse_formula(text, "k").interval({name: Interval.of(np.dtype("u2")) for name in ("a", "b")})
    kept = np.broadcast_to(values, (4,))[np.broadcast_to(valid, (4,))]
    if interval.is_integer:
        assert ((interval.low <= kept) & (kept <= interval.high) & (kept == np.round(kept))).all()
        dtype = interval.smallest_dtype()
        if dtype.kind in "iu":
            np.testing.assert_array_equal(kept.astype(dtype), kept)


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("B8 - B4", "i4"), ("B8 + 1", "u4"), ("B8 > 3000", "u1"), ("(B8 > 1) * 2", "u1"), ("B8 / B4", "f4"), ("B8 * 0.5", "f4"),
        ("abs(B8 - B4)", "u2"), ("min(B8, 200)", "u1"), ("B8", "u2"), ("B8 ** 2", "f4"), ("sqrt(B8)", "f4"), ("B8 * B8 * 4", "f8"),
    ],
)  # fmt: skip
def test_the_smallest_type_that_holds_it(text, dtype):
    u2 = Interval.of(np.dtype("u2"))
    assert parse_formula(text, "k").interval({"B8": u2, "B4": u2}).smallest_dtype() == np.dtype(dtype)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"), ("B8 -", "cannot be read"), ("1 + 2", "names no band"), ("B8 < B4 < B3", "only one comparison"),
        ("__import__('os')", "not a function"), ("B8.real", "not allowed"), ("B8[0]", "not allowed"), ("lambda: B8", "not allowed"),
        ("'x' + B8", "not a number"), ("True + B8", "not a number"), ("B8 and B4", "not allowed"), ("B8 % 2", "not allowed"),
        ("sqrt", "needs arguments"), ("sqrt(B8, B4)", "one argument"), ("min(B8)", "two or more"), ("tan(B8)", "known are abs"),
        ("abs(x=B8)", "not a function"), ("1e999 * B8", "not a number"), ("(" * 500 + "B8" + ")" * 500, "cannot be read"),
        ("B8 +" * 1000 + "B8", "more than 2,000"), ("-" * 1500 + "B8", "nested deeper|cannot be read"), ("B8 + " * 90 + "B8", "nested deeper than 80"), ("B8\x00", "cannot be read"),
        ("[B8 for B8 in B4]", "not allowed"), ("B8 if B4 else B3", "not allowed"), ("f(*B8)", "not a function"),
    ],
)  # fmt: skip
def test_what_is_refused(text, says):
    with pytest.raises(JobError, match=says) as caught:
        parse_formula(text, "source.bands.ndvi")
    assert len(str(caught.value)) < 500
