"""Computed images against numpy: every reducer, mask, scale, cast and formula, on small images with holes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from downloader.errors import JobError
from downloader.expressions.composite import computed_expression
from downloader.expressions.formula import parse_formula
from downloader.expressions.masks import MaskRule
from downloader.expressions.recipe import MOST_AVERAGED, ComputedBand, Recipe, SourceBand
from downloader.expressions.reducers import parse_reducer, reduced_dtype
from earthengine_emulator.catalogue.model import Lattice
from tests.inputs import input_image
from tests.unit.expressions.emulated import compute

SHAPE = (3, 4)
DOUBLE = np.dtype("f8")
PARTNER = "GOOGLE/SCORES"


def band(text, dtype="f8", name=None, **options):
    return ComputedBand(name or text, parse_formula(text, "k"), np.dtype(dtype), **options)


@st.composite
def holed(draw, dtype="u2", low=0, high=60_000, few=False):
    """An array with holes; of few values where ties matter."""
    elements = st.integers(low, min(high, low + 4)) if few else st.integers(low, high)
    values = draw(arrays(np.dtype(dtype), SHAPE, elements=elements))
    return np.ma.array(values, mask=draw(arrays(np.bool_, SHAPE)))


@st.composite
def scenes(draw, least=1, most=5, few=False):
    """Images with two bands of data and a band of quality bits, by id."""
    count = draw(st.integers(least, most))
    return {
        f"C/i{n}": {
            "a": draw(holed(few=few)),
            "b": draw(holed("i2", -500, 500, few=few)),
            "qa": np.ma.array(draw(arrays(np.dtype("u2"), SHAPE, elements=st.integers(0, 31))), mask=False),
        }
        for n in range(count)
    }


def run(images, recipe, reducer=None, **options):
    inputs = [input_image(name, **options) for name in images]
    return compute(computed_expression(inputs, [recipe], reducer, "k"), images)


def same(found, wanted, **tolerance):
    """Same mask, and same values where valid."""
    np.testing.assert_array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(wanted))
    if tolerance:
        np.testing.assert_allclose(found.compressed(), wanted.compressed(), **tolerance)
    else:
        np.testing.assert_array_equal(found.compressed(), wanted.compressed())


def stacked(images, name):
    """(image, row, column) as float64 with NaN in holes."""
    return np.stack([image[name].astype("f8").filled(np.nan) for image in images.values()])


def by_pixel(function, *stacks):
    """A function of the valid values of each pixel, in order, masked where there are none."""
    result = np.ma.masked_all(SHAPE)
    for at in np.ndindex(SHAPE):
        columns = [stack[(slice(None), *at)] for stack in stacks]
        valid = ~np.isnan(columns).any(axis=0)
        if valid.any():
            result[at] = function(*(column[valid] for column in columns))
    return result


ORDERED = {
    "first": lambda v: v[0], "last": lambda v: v[-1], "median": np.median, "mean": np.mean, "min": np.min, "max": np.max,
    "std": np.std, **{f"p{q}": (lambda v, q=q: np.percentile(v, q)) for q in (0, 10, 25, 75, 90, 100)},
}  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(images=scenes())
def test_reducers_of_each_band(images):
    for name, function in ORDERED.items():
        found = run(images, Recipe((band("a"), band("b"))), parse_reducer(name, "k"))
        for one in ("a", "b"):
            same(found[one], by_pixel(function, stacked(images, one)), rtol=1e-12, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(images=scenes())
def test_count(images):
    found = run(images, Recipe((band("a", "u2"),)), parse_reducer("count", "k"))
    assert found["a"].dtype == np.uint16
    np.testing.assert_array_equal(found["a"].data, (~np.isnan(stacked(images, "a"))).sum(axis=0))


@pytest.mark.parametrize(("name", "choose"), [("least", np.argmin), ("most", np.argmax)])
@settings(max_examples=20, deadline=None)
@given(images=scenes(few=True))
def test_least_and_most_take_a_whole_pixel_of_one_image(name, choose, images):
    found = run(
        images, Recipe((band("a"), band("b"), band("a - b", name="d"))), parse_reducer({name: "b"}, "k")
    )
    a, b = stacked(images, "a"), stacked(images, "b")
    same(found["a"], by_pixel(lambda x, y: x[choose(y)], a, b))
    same(found["b"], by_pixel(lambda x, y: y[choose(y)], a, b))
    same(found["d"], by_pixel(lambda x, y: (x - y)[choose(y)], a, b))


@settings(max_examples=20, deadline=None)
@given(images=scenes(few=True))
def test_medoid_is_the_image_nearest_to_the_median(images):
    found = run(images, Recipe((band("a"), band("b"))), parse_reducer("medoid", "k"))
    a, b = stacked(images, "a"), stacked(images, "b")
    wanted = {name: np.ma.masked_all(SHAPE) for name in "ab"}
    for at in np.ndindex(SHAPE):
        x, y = a[(slice(None), *at)], b[(slice(None), *at)]
        whole = ~np.isnan(x) & ~np.isnan(y)
        if whole.any():
            distance = (x - np.nanmedian(x)) ** 2 + (y - np.nanmedian(y)) ** 2
            nearest = np.argmin(np.where(whole, distance, np.inf))
            wanted["a"][at], wanted["b"][at] = x[nearest], y[nearest]
    same(found["a"], wanted["a"])
    same(found["b"], wanted["b"])


RULES = {
    "bits": (MaskRule("qa", pattern=0b1001), lambda q: (q & 0b1001) == 0),
    "bad values": (MaskRule("qa", values=(1, 3, 8)), lambda q: ~np.isin(q, [1, 3, 8])),
    "good values": (MaskRule("qa", values=(0, 2), is_bad=False), lambda q: np.isin(q, [0, 2])),
    "a field": (MaskRule("qa", first=1, count=2, values=(0, 3), is_bad=False), lambda q: np.isin((q >> 1) & 3, [0, 3])),
    "bad field": (MaskRule("qa", first=2, count=2, values=(1, 2)), lambda q: ~np.isin((q >> 2) & 3, [1, 2])),
    "below": (MaskRule("qa", minimum=7), lambda q: q >= 7),
    "above": (MaskRule("qa", maximum=20), lambda q: q <= 20),
    "below and above": (MaskRule("qa", minimum=7, maximum=20), lambda q: (q >= 7) & (q <= 20)),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=15, deadline=None)
@given(images=scenes(least=1, most=3))
def test_rules_on_bands_of_the_image(name, images):
    rule, kept = RULES[name]
    found = run(images, Recipe((band("a"),), mask=(rule,)), parse_reducer("last", "k"))
    stack = np.where(
        np.stack([kept(image["qa"].data) for image in images.values()]), stacked(images, "a"), np.nan
    )
    same(found["a"], by_pixel(lambda v: v[-1], stack))


@settings(max_examples=15, deadline=None)
@given(images=scenes(most=3), data=st.data())
def test_a_rule_on_the_partner_and_one_on_the_image(images, data):
    scores = {f"{PARTNER}/{n}": {"a": data.draw(holed("u1", 0, 100))} for n in range(len(images))}
    rules = (
        MaskRule("a", of=PARTNER, minimum=60),
        MaskRule("qa", pattern=2),
    )
    inputs = [
        input_image(image, partners={PARTNER: (partner, "2024-01-01T00:00:00Z")})
        for image, partner in zip(images, scores, strict=True)
    ]
    text = computed_expression(inputs, [Recipe((band("a"),), mask=rules)], parse_reducer("mean", "k"), "k")
    found = compute(text, {**images, **scores})
    clear = stacked(scores, "a") >= 60  # NaN is not: where the partner is masked nothing is known
    kept = clear & np.stack([(image["qa"].data & 2) == 0 for image in images.values()])
    same(found["a"], by_pixel(np.mean, np.where(kept, stacked(images, "a"), np.nan)), rtol=1e-12)
    assert '"version"' in text, "the partner is pinned"


@settings(max_examples=15, deadline=None)
@given(images=scenes())
def test_scale_and_offset_before_formulas(images):
    scaled = (SourceBand("a", scale=2.75e-05, offset=-0.2), SourceBand("b", scale=0.01))
    recipe = Recipe((band("a"), band("b"), band("(a - b) / (a + b)", name="nd")), scaled)
    found = run(images, recipe, parse_reducer("max", "k"))
    a, b = stacked(images, "a") * 2.75e-05 - 0.2, stacked(images, "b") * 0.01
    with np.errstate(all="ignore"):
        index = np.where(a + b == 0, np.nan, (a - b) / (a + b))
    same(found["a"], by_pixel(np.max, a), rtol=1e-12, atol=1e-12)
    same(found["b"], by_pixel(np.max, b), rtol=1e-12, atol=1e-12)
    same(found["nd"], by_pixel(np.max, index), rtol=1e-9)


FORMULAS = {
    "a + b": np.add, "a - b": np.subtract, "a * b": np.multiply, "a / b": np.divide,
    "a ** 2 + b": lambda a, b: a**2 + b, "b ** 3 - a": lambda a, b: b**3 - a, "a ** 0.5 + b": lambda a, b: np.sqrt(a) + b,
    "a < b": np.less, "a <= b": np.less_equal, "a > b": np.greater, "a >= b": np.greater_equal, "a == b": np.equal,
    "a != b": np.not_equal, "min(a, b, 3)": lambda a, b: np.minimum(np.minimum(a, b), 3), "max(a, b)": np.maximum,
    "abs(b) + a": lambda a, b: np.abs(b) + a, "sqrt(a) + b": lambda a, b: np.sqrt(a) + b,
    "exp(b / 100) + a": lambda a, b: np.exp(b / 100) + a, "log(a + 1) + b": lambda a, b: np.log(a + 1) + b,
    "log10(a + 1) + b": lambda a, b: np.log10(a + 1) + b, "-a * (b + 2.5)": lambda a, b: -a * (b + 2.5),
}  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(images=scenes(most=1, few=True))
def test_formulas_of_bands_with_holes(images):
    """Masked where a band of them is, and where a denominator is 0."""
    [image] = images.values()
    found = run(images, Recipe(tuple(band(text, name=f"x{n}") for n, text in enumerate(FORMULAS))))
    a, b = (image[name].astype("f8") for name in "ab")
    hidden = np.ma.getmaskarray(a) | np.ma.getmaskarray(b)
    for n, (text, function) in enumerate(FORMULAS.items()):
        with np.errstate(all="ignore"):
            values = function(a.data, b.data)
        masked = hidden | (b.data == 0) if "a / b" in text else hidden
        same(found[f"x{n}"], np.ma.array(values, mask=masked), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@settings(max_examples=10, deadline=None)
@given(images=scenes(most=1))
def test_casts_clamp_and_cut_fractions(dtype, images):
    [image] = images.values()
    found = run(images, Recipe((band("b * 1.5", dtype, name="x"),)))["x"]
    wanted = image["b"].astype("f8") * 1.5
    if np.dtype(dtype).kind != "f":
        info = np.iinfo(dtype)
        wanted = np.trunc(wanted).clip(info.min, info.max)
    assert found.dtype == np.dtype(dtype)
    same(found, wanted.astype(dtype))


@settings(max_examples=15, deadline=None)
@given(images=scenes(most=1))
def test_one_image_by_itself(images):
    [image] = images.values()
    recipe = Recipe(
        (band("a", "u2"), band("a / b", "f4", name="q")),
        mask=(MaskRule("qa", pattern=4),),
    )
    found = run(images, recipe)
    hidden = (image["qa"].data & 4) != 0
    same(found["a"], np.ma.array(image["a"], mask=np.ma.getmaskarray(image["a"]) | hidden))
    quotient = image["a"].astype("f8") / image["b"].astype("f8")
    same(found["q"], np.ma.array(quotient.astype("f4"), mask=np.ma.getmaskarray(quotient) | hidden))


@settings(max_examples=20, deadline=None)
@given(one=scenes(most=3), other=scenes(most=3), first=st.sampled_from(["first", "last", "median"]))
def test_collections_whose_bands_and_scales_differ(one, other, first):
    others = {f"D/{name[2:]}": {"x": i["a"], "y": i["b"], "qa": i["qa"]} for name, i in other.items()}
    mine = Recipe((band("red"),), (SourceBand("red", own="a", scale=0.5),))
    theirs = Recipe(
        (band("red"),),
        (SourceBand("red", own="y", offset=3.0),),
        (MaskRule("qa", pattern=1),),
    )
    inputs = [*(input_image(name, recipe=1) for name in others), *(input_image(name) for name in one)]
    text = computed_expression(inputs, [mine, theirs], parse_reducer(first, "k"), "k")
    found = compute(text, {**one, **others})
    hidden = np.stack([(i["qa"].data & 1) != 0 for i in others.values()])
    stack = np.concatenate([np.where(hidden, np.nan, stacked(others, "y") + 3), stacked(one, "a") * 0.5])
    same(found["red"], by_pixel(ORDERED[first], stack))


@settings(max_examples=15, deadline=None)
@given(images=scenes(least=2), data=st.data())
def test_images_that_lack_a_band(images, data):
    without = data.draw(st.sets(st.sampled_from(sorted(images))))
    held = {n: {k: v for k, v in i.items() if k != "b" or n not in without} for n, i in images.items()}
    inputs = [input_image(n, lacks=frozenset({"b"} if n in without else ())) for n in images]
    wanted = {n: i for n, i in images.items() if n not in without}
    for name in ("median", {"most": "a"}):
        text = computed_expression(inputs, [Recipe((band("a"), band("b")))], parse_reducer(name, "k"), "k")
        found = compute(text, held)
        assert list(found) == ["a", "b"]
        if not wanted:
            assert found["b"].mask.all()
        elif name == "median":
            same(found["a"], by_pixel(np.median, stacked(images, "a")))
            same(found["b"], by_pixel(np.median, stacked(wanted, "b")))
        else:
            a, b = stacked(wanted, "a"), stacked(wanted, "b")
            same(found["b"], by_pixel(lambda x, y: y[np.argmax(x)], a, b))


@settings(max_examples=15, deadline=None)
@given(images=scenes())
def test_means_of_decibels_are_means_of_power(images):
    decibels = {n: {"vv": (i["b"] / 20).astype("f8"), "qa": i["qa"]} for n, i in images.items()}
    found = run(decibels, Recipe((band("vv", "f4", is_decibel=True), band("qa"))), parse_reducer("mean", "k"))
    wanted = by_pixel(lambda v: 10 * np.log10(np.mean(10 ** (v / 10))), stacked(decibels, "vv"))
    same(found["vv"], wanted.astype("f4"), rtol=1e-6, atol=1e-6)
    same(found["qa"], by_pixel(np.mean, stacked(decibels, "qa")))
    middle = run(decibels, Recipe((band("vv", is_decibel=True),)), parse_reducer("median", "k"))
    same(middle["vv"], by_pixel(np.median, stacked(decibels, "vv")))
    with pytest.raises(JobError, match="std of bands in decibels"):
        run(decibels, Recipe((band("vv", is_decibel=True),)), parse_reducer("std", "k"))


def nodes(text, name):
    values = json.loads(text)["values"].values()
    return [v for v in values if v.get("functionInvocationValue", {}).get("functionName") == name]


def test_what_is_done_to_each_image_is_written_once():
    recipe = Recipe((band("(a - b) / (a + b)", name="nd"),), mask=(MaskRule("qa", pattern=2),))
    texts = [
        computed_expression(
            [input_image(f"C/i{n}") for n in range(count)], [recipe], parse_reducer("median", "k"), "k"
        )
        for count in (10, 300)
    ]
    assert [len(nodes(text, "Image.divide")) for text in texts] == [1, 1]
    assert len(nodes(texts[1], "Image.load")) == 300
    assert len(texts[1]) < 120_000


def test_continuous_bands_are_interpolated_on_the_image_itself_and_others_are_not():
    recipe = Recipe((band("a"), band("qa")), (SourceBand("a", resampling="bilinear"),))
    text = computed_expression([input_image("C/i0")], [recipe], None, "k")
    [resample] = nodes(text, "Image.resample")
    source = resample["functionInvocationValue"]["arguments"]["image"]["valueReference"]
    assert json.loads(text)["values"][source]["functionInvocationValue"]["functionName"] == "Image.load"


@pytest.mark.parametrize(
    ("name", "dtype", "wanted"),
    [
        ("first", "u2", "u2"),
        ("medoid", "i2", "i2"),
        ("median", "u1", "f4"),
        ("p90", "f8", "f4"),
        ("count", "f8", "u2"),
    ],
)
def test_types_of_what_is_reduced(name, dtype, wanted):
    assert reduced_dtype(parse_reducer(name, "k"), np.dtype(dtype)) == np.dtype(wanted)


# ---------------------------------------------------------------- coarser pixels, and finer ones of decibels


def blocks(plane):
    """Means of 2 × 2 pixels, those beyond the edge and NaN left out; masked where none is valid."""
    whole = np.full((4, 4), np.nan)
    whole[: SHAPE[0], : SHAPE[1]] = plane
    parts = np.ma.masked_invalid(whole.reshape(2, 2, 2, 2))
    return parts.mean(axis=(1, 3)).filled(np.nan)


def coarse(images, recipe, reducer=None):
    inputs = [input_image(name) for name in images]
    text = computed_expression(inputs, [recipe], reducer, "k")
    return text, compute(text, images, Lattice("EPSG:32610", 2, 2, (20, 0, 0, 0, -20, 0)))


@pytest.mark.parametrize("name", ["first", "median", "max"])
@settings(max_examples=20, deadline=None)
@given(images=scenes())
def test_masked_at_the_images_own_pixels_then_averaged_then_reduced(name, images):
    recipe = Recipe(
        (band("a", averaged=16), band("a - b", name="d", averaged=16)), mask=(MaskRule("qa", pattern=2),)
    )
    text, found = coarse(images, recipe, parse_reducer(name, "k"))
    assert '"maxPixels"' in text
    bad = np.stack([image["qa"].data & 2 > 0 for image in images.values()])
    a, b = (np.where(bad, np.nan, stacked(images, which)) for which in "ab")
    for one, stack in (("a", a), ("d", a - b)):
        means = np.stack([blocks(plane) for plane in stack])
        wanted = np.ma.masked_all((2, 2))
        for at in np.ndindex(2, 2):
            valid = means[(slice(None), *at)]
            if (valid := valid[~np.isnan(valid)]).size:
                wanted[at] = ORDERED[name](valid)
        same(found[one], wanted, rtol=1e-12, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(images=scenes())
def test_averages_of_decibels_are_of_power_and_medians_of_decibels(images):
    decibels = {n: {"vv": (i["b"] / 20).astype("f8")} for n, i in images.items()}
    recipe = Recipe((band("vv", averaged=16, is_decibel=True),))
    power = np.stack([blocks(plane) for plane in 10 ** (stacked(decibels, "vv") / 10)])
    for name, function in (
        ("mean", lambda v: 10 * np.log10(np.mean(v))),
        ("median", lambda v: np.median(10 * np.log10(v))),
    ):
        _, found = coarse(decibels, recipe, parse_reducer(name, "k"))
        wanted = np.ma.masked_all((2, 2))
        for at in np.ndindex(2, 2):
            valid = power[(slice(None), *at)]
            if (valid := valid[~np.isnan(valid)]).size:
                wanted[at] = function(valid)
        same(found["vv"], wanted, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(values=arrays(np.dtype("f8"), SHAPE, elements=st.floats(-30, 5)))
def test_decibels_are_interpolated_as_power(values):
    """At the corner that four pixels share, a quarter of each."""
    recipe = Recipe((band("vv"),), (SourceBand("vv", resampling="bilinear", is_decibel=True),))
    text = computed_expression([input_image("C/i0")], [recipe], None, "k")
    grid = Lattice("EPSG:32610", 3, 2, (10, 0, 5, 0, -10, -5))
    found = compute(text, {"C/i0": {"vv": np.ma.array(values, mask=False)}}, grid)["vv"]
    power = 10 ** (values / 10)
    wanted = 10 * np.log10((power[:-1, :-1] + power[1:, :-1] + power[:-1, 1:] + power[1:, 1:]) / 4)
    np.testing.assert_allclose(found.data, wanted, rtol=1e-9, atol=1e-9)


def test_more_pixels_than_the_service_averages_come_from_the_pyramid():
    for most, best_effort in ((400, False), (MOST_AVERAGED, True)):
        text = computed_expression([input_image("C/i0")], [Recipe((band("a", averaged=most),))], None, "k")
        [node] = nodes(text, "Image.reduceResolution")
        chosen = node["functionInvocationValue"]["arguments"]
        values = json.loads(text)["values"]
        found = [values[chosen[name]["valueReference"]] for name in ("maxPixels", "bestEffort")]
        assert found == [{"constantValue": most}, {"constantValue": best_effort}]
