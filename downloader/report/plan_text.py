"""A plan as text for people, and as a document for programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
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
        *_band_lines(plan),
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


def _band_lines(plan: Plan) -> Iterator[str]:
    """Yield the names of each group's bands, and of the first what is known of them: units, scale, wavelength, classes.

    Formulas stand with what is computed.
    """
    described = described_bands(plan)
    for group in plan.groups:
        names = [band.id for band in group.bands]
        yield f"bands of {group.name or '/'}: {few(names)}"
        for name in names[:_DESCRIBED]:
            if name in described and f"bands.{name}" not in made_of(plan):
                yield f"  {name}: {band_words(described[name])}"


def _roads(plan: Plan) -> Iterator[str]:
    """Yield how many slices the service computes, and why; nothing where all are read as they are."""
    noun, what = ("slice", "slices") if plan.samples is None else ("sample", "dates of a point")
    found = Counter(part.why for part in plan.parts if not part.problem)
    for why, number in found.items() if any(found) else ():
        told = f"computed  {counted(number, noun)}: {why}"
        yield told if why else f"read      {counted(number, noun)} as stored"
    for group in plan.groups:
        if group.stack > 1:
            of = f" of {group.name}" if group.name else ""
            yield f"stacks    up to {group.stack:,} {what}{of} in one computed request; request.depth: 1 asks for each by itself"


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
    sentences = _masked_pixels(plan, job)
    lines = [
        *first_lines(lost, _LOST, "more samples that cannot be fetched (--json lists them all)"),
        *_of_list(plan, plan.listed, job),
        *(str(reading) for group in plan.groups for reading in readings(group)),
        *_of_other_zones(plan),
        *(f"{few(bands)}: {sentence}" for sentence, bands in sentences.items()),
    ]
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


def _of_list(plan: Plan, listed: ImageList | None, job: Job) -> Iterator[str]:
    """Yield lines on a list of images: points without any, versions that are not known, and a table of what was left out."""
    if listed is None:
        return
    steps = 0 if plan.samples is None else plan.samples.steps
    if without := [part.id for part in plan.slices[::steps] if not part.images] if steps else []:
        yield f"{counted(len(without), 'point')} without an image: {few(without)}"
    unknown = [one.id for one in listed.images if not one.update_time] if "expression" in listed.facts else []
    if unknown:
        yield f"{few(unknown, 'image', most=3)}: no version known, so a change goes unnoticed"
    if listed.shares:
        one = job.source
        rows = share_table(listed.shares, one.min_cover, one.min_clear, picks=one.clearest is not None)
        left = sum(not row[-1].startswith("kept") for row in rows)
        yield f"{counted(left, 'image')} of {len(rows):,} left out, counted in pixels of {listed.coarse_m:,.0f} m:"
        shown = table(rows, ("image", "covered", "clear", "")).split("\n")
        yield from first_lines(shown, 1 + _COUNTED, "more images (--json lists them all)")


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
    grid = group.grid
    return {
        "name": group.name,
        "bands": [
            {"id": band.id, "dtype": str(band.dtype)}
            | ({"mask_of": list(band.mask_of)} if band.mask_of else {"masked_pixels": masked[band.id]})
            | ({"attributes": dict(described[band.id])} if band.id in described else {})
            for band in group.bands
        ],
        "grid": to_document(grid) | {"crs": grid.crs.code or grid.crs.wkt},
        "window": to_document(group.window),
        "tiles": group.tiling.tiles,
        "shards": group.tiling.shards,
        "shard_side": group.tiling.shard_side,
        "shard_slices": group.tiling.shard_slices,
        "chunk": [group.tiling.depth, group.tiling.tile, group.tiling.tile],
        "requests": group.count_requests(),
        "tiles_per_request": group.shape[0] * group.shape[1],
        "slices_per_request": max(1, group.stack),
        "readings": to_document(readings(group)),
    }


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
    """Return what is fetched, in a line: the image, or how many of which collection and period, and the CRSs."""
    own = (one for group in plan.groups for one in (group.lattices or (group.lattice,)) if one is not None)
    return ", ".join([*_images_text(plan), *dict.fromkeys(str(one.crs) for one in own)])


def _images_text(plan: Plan) -> Iterator[str]:
    listed = plan.listed
    if listed is None:
        yield plan.image.id
        return
    if plan.samples is not None:
        steps, images = plan.samples.steps, counted(len(list(listed.images)), "image")
        source = listed.facts.get("collection") or listed.facts.get("asset", "images")
        cut = f" of {counted(steps, 'step')}, cut from" if steps else " of"
        yield f"{counted(len(plan.samples.firsts), 'sample')}{cut} {images} ({source})"
        sides = (f"{one.window.width}{f' ({one.name})' if one.name else ''}" for one in plan.groups)
        yield f"chips of {', '.join(sides)} pixels a side"
        return
    yield listed.facts.get(
        "collection", "the expression's collection" if "expression" in listed.facts else "images"
    )
    slices = f" in {counted(len(plan.slices), 'slice')}" if listed.every not in {"image", "all"} else ""
    yield f"{counted(plan.images, 'image')}{slices}"
    # One image of all has a moment of no meaning: those of its images tell what it shows.
    whole = [instant_us(image.start_time) for image in listed.images] if listed.every == "all" else []
    times = [time for time in whole or [part.time_us for part in plan.slices] if time is not None]
    if times:
        yield " … ".join(dict.fromkeys(rfc3339(from_us(one)) for one in (min(times), max(times))))


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
