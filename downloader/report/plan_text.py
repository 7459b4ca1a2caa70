"""A plan as text for people, and as a document for programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from downloader.job import Job
from downloader.model.document import to_document
from downloader.model.nodata import BY_MASK, FILLED, masked_pixels, nodata_values
from downloader.model.time import from_us, instant_us, rfc3339
from downloader.mosaic.format.layout import described_bands, made_of
from downloader.planning import Group, ImageList, Plan, Slice, readings
from downloader.planning.compute_cost import compute_cost
from downloader.planning.image_shares import share_table
from downloader.planning.zones import system_of
from downloader.report.cost_text import cost_document, cost_lines
from downloader.report.text import band_words
from downloader.text import counted, duration, few, first_lines, size, table

_COUNTED: Final = 40
"""Images that the table of shares names."""

_DESCRIBED: Final = 6
"""Bands of a group that the text describes."""

_LOST: Final = 5
"""Samples without pixels that the text names."""


def plan_lines(plan: Plan) -> list[str]:
    """Return the plan in lines no wider than 80 columns, where names allow it."""
    estimate, model = plan.estimate(), plan.model
    rows = [_row(group) for group in plan.groups]
    if len(rows) > 1:
        sums = (estimate.tiles, estimate.requests)
        rows.append(["all", "", *(f"{number:,}" for number in sums), size(estimate.disk_bytes)])
    pace = f"with {counted(model.concurrency, 'request')} at once and {model.starts_per_s:g} per second"
    return [
        source_text(plan),
        *(line for group in plan.groups for line in _band_lines(group, _described(plan))),
        "",
        table(rows, ("group", "pixels", "tiles", "requests", "size")),
        "",
        f"images    {estimate.images:,}",
        *_roads(plan),
        f"tiles     {estimate.tiles:,} in {counted(estimate.requests, 'request')}",
        *cost_lines(compute_cost(plan), estimate.requests),
        f"on wire   {size(estimate.wire_bytes)}",
        f"on disk   at most {size(estimate.disk_bytes)}, before compression",
        f"time      about {duration(estimate.seconds)}, {pace}",
    ]


def _band_lines(group: Group, described: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of a group's bands, and of the first what is known of them: units, scale, wavelength, classes."""
    names = [band.id for band in group.bands]
    told = {name: band_words(described[name]) for name in names[:_DESCRIBED] if name in described}
    return [f"bands of {group.name or '/'}: {few(names)}", *(f"  {name}: {told[name]}" for name in told)]


def _described(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return what is known of bands by name, but for formulas, which stand with what is computed."""
    return {
        name: told for name, told in described_bands(plan).items() if f"bands.{name}" not in made_of(plan)
    }


def _roads(plan: Plan) -> list[str]:
    """Return how many slices the service computes, and why; nothing where all are read as they are."""
    stacks = [group for group in plan.groups if group.stack > 1]
    found = Counter(part.why for part in plan.parts if not part.problem)
    what = "dates of a point" if plan.samples is not None else "slices"
    lines = [
        f"{'stacks':<10}up to {group.stack:,} {what}{f' of {group.name}' if group.name else ''} in one computed request; "
        "request.depth: 1 asks for each by itself"
        for group in stacks
    ]
    noun = "slice" if plan.samples is None else "sample"
    return [
        *(
            f"{'computed' if why else 'read':<10}{counted(number, noun)}{': ' if why else ' as stored'}{why}"
            for why, number in found.items()
            if any(found)
        ),
        *lines,
    ]


def _row(group: Group) -> list[str]:
    tiling = group.tiling
    slices = f"{tiling.slices:,} × " if group.axis else ""
    return [
        group.name or "/",
        f"{slices}{tiling.height:,} × {tiling.width:,}",
        f"{group.count_tiles():,}",
        f"{math.ceil(group.count_requests() * group.count_tiles() / tiling.tiles):,}",
        size(group.itemsize * tiling.width * tiling.height * tiling.slices),
    ]


def remarks(plan: Plan, job: Job) -> list[str]:
    """Return lines on slices that cannot be fetched, bands that are resampled, and masked pixels."""
    lost = [f"cannot be fetched: {part.id}: {part.problem}" for part in plan.slices if part.problem]
    lines = first_lines(lost, _LOST, "more samples that cannot be fetched (--json lists them all)")
    if plan.samples is not None and (steps := plan.samples.steps):
        without = [part.id for part in plan.slices[::steps] if not part.images]
        lines.extend(
            [f"{counted(len(without), 'point')} without an image: {few(without)}"] if without else []
        )
    lines.extend(_unversioned(plan.listed))
    lines.extend(_shares_lines(plan.listed, job))
    lines.extend(str(reading) for group in plan.groups for reading in readings(group))
    lines.extend(_of_other_zones(plan))
    sentences = _masked_pixels(plan, job)
    lines.extend(f"{few(bands)}: {sentence}" for sentence, bands in sentences.items())
    if set(sentences) - {BY_MASK, FILLED}:
        lines.append("Set mosaic.mask: any (or per-band) to store masks too.")
    return ["", *lines] if lines else []


def _of_other_zones(plan: Plan) -> Iterator[str]:
    """Yield a line for each group of a UTM zone that images of other zones reach into."""
    systems = {image.name: system_of(image) for image in plan.listed.images} if plan.listed else {}
    for group in plan.groups:
        here = {name for part in group.parts for name, _ in part.images}
        others = sum(systems[name] != group.lattice.crs for name in here)
        if others:
            is_nearest = all(band.resampling == "nearest" for band in group.bands)
            how = " by nearest neighbour" if is_nearest else ""
            yield f"{group.name}: {others:,} of {counted(len(here), 'image')} are of other zones, and resampled{how}"


def _unversioned(listed: ImageList | None) -> list[str]:
    """Return a line on elements of an expression's collection of which the service tells no version."""
    if listed is None or "expression" not in listed.facts:
        return []
    found = [image.id for image in listed.images if not image.update_time]
    return [f"{few(found, 'image', most=3)}: no version known, so a change goes unnoticed"] if found else []


def _shares_lines(listed: ImageList | None, job: Job) -> list[str]:
    """Return the images that were counted as a table: share covered, share clear, and whether each is kept."""
    if listed is None or not listed.shares:
        return []
    source = job.source
    rows = share_table(listed.shares, source.min_cover, source.min_clear, picks=source.clearest is not None)
    left = sum(not row[-1].startswith("kept") for row in rows)
    shown = table(rows, ("image", "covered", "clear", "")).split("\n")
    return [
        f"{counted(left, 'image')} of {len(rows):,} left out, counted in pixels of {listed.coarse_m:,.0f} m:",
        *first_lines(shown, 1 + _COUNTED, "more images (--json lists them all)"),
    ]


def plan_document(plan: Plan, job: Job) -> dict[str, Any]:
    """Return the plan as plain values."""
    masked = {band: sentence for sentence, bands in _masked_pixels(plan, job).items() for band in bands}
    source = (
        {"asset": plan.image.name, "update_time": plan.image.update_time}
        if plan.listed is None
        else _series_document(plan, plan.listed)
    )
    return {
        **source,
        "estimate": to_document(plan.estimate()),
        "compute": cost_document(compute_cost(plan)),
        "groups": [_group_document(group, masked, described_bands(plan)) for group in plan.groups],
    }


def _group_document(
    group: Group, masked: Mapping[str, str], described: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    transform = group.grid.transform
    return {
        "name": group.name,
        "bands": [
            {"id": band.id, "dtype": str(band.dtype)}
            | ({"mask_of": list(band.mask_of)} if band.mask_of else {"masked_pixels": masked[band.id]})
            | ({"attributes": dict(described[band.id])} if band.id in described else {})
            for band in group.bands
        ],
        "grid": {
            "crs": group.grid.crs.code or group.grid.crs.wkt,
            "transform": [
                transform.scale_x, transform.shear_x, transform.translate_x,
                transform.shear_y, transform.scale_y, transform.translate_y,
            ],
            "width": group.grid.width,
            "height": group.grid.height,
        },
        "window": asdict(group.window),
        "tiles": group.tiling.tiles,
        "shards": group.tiling.shards,
        "shard_side": group.tiling.shard_side,
        "shard_slices": group.tiling.shard_slices,
        "chunk": [group.tiling.depth, group.tiling.tile, group.tiling.tile],
        "requests": group.count_requests(),
        "tiles_per_request": group.shape[0] * group.shape[1],
        "slices_per_request": max(1, group.stack),
        "readings": to_document(readings(group)),
    }  # fmt: skip


def _series_document(plan: Plan, listed: ImageList) -> dict[str, Any]:
    return {
        **listed.facts,
        **({"shares": to_document(listed.shares), "coarse_m": listed.coarse_m} if listed.shares else {}),
        "start": _moment(listed.period and listed.period[0]),
        "end": _moment(listed.period and listed.period[1]),
        "slices": [
            {
                "id": part.id,
                "time": _moment(part.time_us),
                "images": [{"name": name, "update_time": update} for name, update in part.images],
                **_partners(part, listed),
                **{key: text for key, text in (("problem", part.problem), ("computed", part.why)) if text},
            }
            for part in plan.slices
        ],
    }


def _partners(part: Slice, listed: ImageList) -> dict[str, Any]:
    """Return the images of other collections that the masks of a slice look at."""
    found = {one.name: one.update_time for name, _ in part.images for one in listed.partners.get(name, ())}
    return {"partners": [{"name": n, "update_time": t} for n, t in found.items()]} if found else {}


def source_text(plan: Plan) -> str:
    """Return what is fetched, in a line: the image, or how many of which collection and period, and the CRS."""
    return f"{_images_text(plan)}, {', '.join(_systems(plan))}"


def _images_text(plan: Plan) -> str:
    listed = plan.listed
    if listed is None:
        return plan.image.id
    if plan.samples is not None:
        chips = ", ".join(
            f"{group.window.width}" + (f" ({group.name})" if group.name else "") for group in plan.groups
        )
        source = listed.facts.get("collection") or listed.facts.get("asset", "images")
        steps = f" of {counted(plan.samples.steps, 'step')}" if plan.samples.steps else ""
        return (
            f"{counted(len(plan.samples.firsts), 'sample')}{steps}{', cut from ' if steps else ' of '}{counted(len(list(listed.images)), 'image')} ({source}), "
            f"chips of {chips} pixels a side"
        )
    # One image of all has a moment of no meaning: those of its images tell what it shows.
    whole = [instant_us(image.start_time) for image in listed.images] if listed.every == "all" else []
    times = [time for time in whole or [part.time_us for part in plan.slices] if time is not None]
    moments = dict.fromkeys([_moment(min(times)), _moment(max(times))]) if times else {}
    return ", ".join(
        [
            listed.facts.get(
                "collection", "the expression's collection" if "expression" in listed.facts else "images"
            ),
            counted(plan.images, "image")
            + (f" in {counted(len(plan.slices), 'slice')}" if listed.every not in {"image", "all"} else ""),
            *([" … ".join(map(str, moments))] if moments else []),
        ]
    )


def _systems(plan: Plan) -> list[str]:
    """The CRSs of the pixels."""
    own = (one for group in plan.groups for one in (group.lattices or (group.lattice,)) if one is not None)
    return list(dict.fromkeys(str(crs) for crs in dict.fromkeys(one.crs for one in own)))


def _moment(time_us: int | None) -> str | None:
    return None if time_us is None else rfc3339(from_us(time_us))


def _masked_pixels(plan: Plan, job: Job) -> dict[str, list[str]]:
    """Return sentence on masked pixels → bands that it is true of."""
    bands = [band for group in plan.groups for band in group.bands]
    masked = {name for band in bands for name in band.mask_of}
    nodata = nodata_values(job.mosaic.nodata, bands)
    found: dict[str, list[str]] = {}
    for band in {band.id: band for band in bands}.values():
        if not band.mask_of:
            sentence = masked_pixels(
                band.dtype, nodata.get(band.id), has_mask=band.id in masked, is_filled=band.is_filled
            )
            found.setdefault(sentence, []).append(band.id)
    return found
