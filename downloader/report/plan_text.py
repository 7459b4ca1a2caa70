"""A plan in words: a table for people, a plain document for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from downloader.job import Job
from downloader.model.nodata import masked_pixels, nodata_values
from downloader.planning import Group, ImageList, Plan, readings
from downloader.text import counted, duration, few, size, table

if TYPE_CHECKING:
    from downloader.report.plan_preview import PlanPreview, Probe

__all__ = ["plan_document", "plan_text", "probe_text", "source_text"]

_LOST: Final = 5
"""Samples without pixels that the text names."""


def plan_text(plan: Plan, job: Job | None = None, preview: PlanPreview | None = None) -> str:
    """The plan for people, no wider than 80 columns where names allow it."""
    estimate = plan.estimate()
    rows = [_row(group) for group in plan.groups]
    if len(rows) > 1:
        sums = (estimate.tiles, estimate.requests)
        rows.append(["all", "", *(f"{number:,}" for number in sums), size(estimate.disk_bytes)])
    model = plan.model
    lines = [
        source_text(plan),
        *(f"bands of {group.name or '/'}: {few([band.id for band in group.bands])}" for group in plan.groups),
        "",
        table(rows, ("group", "pixels", "tiles", "requests", "size")),
        "",
        f"images    {estimate.images:,}",
        f"tiles     {estimate.tiles:,} in {counted(estimate.requests, 'request')}",
        f"on wire   {size(estimate.wire_bytes)}",
        f"on disk   {size(estimate.disk_bytes)} at most, before compression",
        f"time      about {duration(estimate.seconds)}, at {model.concurrency:,} requests at once and {model.starts_per_s:g} a second",
    ]
    if preview is not None:
        lines.append(f"mosaic    {_target_text(preview)}")
        if preview.probe is not None:
            lines += ["", probe_text(preview.probe)]
    return "\n".join([*lines, *_remarks(plan, job)])


def _row(group: Group) -> list[str]:
    tiling = group.tiling
    slices = f"{tiling.slices:,} × " if group.axis else ""
    return [
        group.name or "/",
        f"{slices}{tiling.height:,} × {tiling.width:,}",
        f"{group.count_tiles():,}",
        f"{group.count_requests():,}",
        size(group.itemsize * tiling.width * tiling.height * tiling.slices),
    ]


def _target_text(preview: PlanPreview) -> str:
    """What the mosaic has of the plan, in a line."""
    target, tiles = preview.target, preview.plan.count_tiles()
    match target.state:
        case "new":
            return f"{target.path}: does not exist yet"
        case "refused":
            return f"{target.path}: a run would refuse: {target.reason}"
    stored = sum(target.stored.values())
    if stored >= tiles:
        return f"{target.path}: all {tiles:,} tiles are stored already"
    left = preview.left()
    more = "extends it; " if target.state == "extension" else ""
    return (
        f"{target.path}: {more}{stored:,} of {tiles:,} tiles are stored;\n"
        f"          to come: {counted(left.requests, 'request')}, {size(left.wire_bytes)}, about {duration(left.seconds)}"
    )


def probe_text(probe: Probe) -> str:
    """What the probe found, for people."""
    what = f"probe of {counted(probe.tiles, 'random tile')} (--seed {probe.seed})"
    found = [f"{what}: {counted(probe.requests, 'request')}, {size(probe.wire_bytes)}; nothing was stored"]
    if probe.failed:
        found.append(f"  failed    {probe.failed:,}: {probe.problem}")
    if probe.latency is not None:
        low, middle, high = probe.latency
        found += [
            f"  latency   {middle:.2f} s in the middle, {low:.2f} to {high:.2f} s, for a tile of {probe.tile_mb:.2f} MB",
            f"  service   {probe.base_s:.2f} s a request and {probe.per_mb_s:.2f} s a MB",
            f"  time      about {duration(probe.seconds)} for the whole job, at the same pace",
        ]
    if probe.ratio is not None and probe.disk_bytes is not None:
        found.append(
            f"  on disk   about {size(probe.disk_bytes)} ± {size(probe.disk_error)} "
            f"({probe.compressor} makes {100 * probe.ratio:.0f} % of the pixels)"
        )
    told = ", ".join(f"{name}: {value}" for name, value in probe.headers.items())
    found.append(f"  compute   {told or 'the service told nothing of it'}")
    return "\n".join(found)


def _remarks(plan: Plan, job: Job | None) -> list[str]:
    """What is worth knowing besides: what cannot be fetched, what is not native, what is masked."""
    lost = [part for part in plan.slices if part.problem]
    lines = [f"cannot be fetched: {part.id}: {part.problem}" for part in lost[:_LOST]]
    if len(lost) > _LOST:
        lines.append(f"… and {len(lost) - _LOST:,} more samples that cannot be fetched (--json has them all)")
    lines.extend(str(reading) for group in plan.groups for reading in readings(group, _resampling(job)))
    told = _masked_pixels(plan, job)
    lines.extend(f"{few(bands)}: {words}" for words, bands in told.items())
    if any("told apart" in words or "told from" in words for words in told):
        lines.append("mosaic.mask: per-band, or any, fetches the masks with the pixels")
    return ["", *lines] if lines else []


def _resampling(job: Job | None) -> str:
    return "nearest" if job is None else job.grid.resampling


def plan_document(plan: Plan, job: Job | None = None, preview: PlanPreview | None = None) -> dict[str, Any]:
    """The plan as plain values."""
    told = {band: words for words, bands in _masked_pixels(plan, job).items() for band in bands}
    source = (
        {"asset": plan.image.name, "updateTime": plan.image.update_time}
        if plan.listed is None
        else _series_document(plan, plan.listed)
    )
    return {
        **source,
        "estimate": plan.estimate().to_json(),
        **({} if preview is None else preview.to_json()),
        "groups": [
            {
                "name": group.name,
                "bands": [
                    {"id": band.id, "dtype": str(band.dtype)}
                    | ({"maskOf": list(band.mask_of)} if band.mask_of else {"maskedPixels": told[band.id]})
                    for band in group.bands
                ],
                "grid": group.grid.to_json(),
                "window": {
                    "column": group.window.column,
                    "row": group.window.row,
                    "width": group.window.width,
                    "height": group.window.height,
                },
                "tiles": group.tiling.tiles,
                "shards": group.tiling.shards,
                "shardSide": group.tiling.shard_side,
                "requests": group.count_requests(),
                "tilesPerRequest": group.shape[0] * group.shape[1],
                "readings": [
                    {
                        "bands": list(reading.bands),
                        "level": reading.level,
                        "pixelSize": list(reading.pixel_size),
                        "policy": reading.policy,
                        "resampling": reading.resampling,
                    }
                    for reading in readings(group, _resampling(job))
                ],
            }
            for group in plan.groups
        ],
    }


def _series_document(plan: Plan, listed: ImageList) -> dict[str, Any]:
    return {
        **listed.facts,
        "start": _moment(listed.period and listed.period[0]),
        "end": _moment(listed.period and listed.period[1]),
        "slices": [
            {
                "id": part.id,
                "time": _moment(part.time_us),
                "images": [{"name": name, "updateTime": update} for name, update in part.images],
                **({"problem": part.problem} if part.problem else {}),
            }
            for part in plan.slices
        ],
    }


def source_text(plan: Plan) -> str:
    """What is fetched and in which CRS: one image, or how many of which, and when they were taken."""
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
        return (
            f"{counted(len(plan.slices), 'sample')} of {counted(len(list(listed.images)), 'image')} ({source}), "
            f"chips of {chips} pixels a side"
        )
    times = [part.time_us for part in plan.slices if part.time_us is not None]
    return ", ".join(
        [
            listed.facts.get("collection", "images"),
            counted(plan.images, "image")
            + (
                f" in {counted(len(plan.slices), 'slice')}" if listed.facts.get("group_by") != "image" else ""
            ),
            *([f"{_moment(min(times))} … {_moment(max(times))}"] if times else []),
        ]
    )


def _systems(plan: Plan) -> list[str]:
    """The CRSs of the pixels."""
    own = (one for group in plan.groups for one in (group.lattices or (group.lattice,)) if one is not None)
    return list(dict.fromkeys(str(crs) for crs in dict.fromkeys(one.crs for one in own)))


def _moment(time_us: int | None) -> str | None:
    """Microseconds since 1970 as text."""
    if time_us is None:
        return None
    return (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us))
        .isoformat()
        .replace("+00:00", "Z")
    )


def _masked_pixels(plan: Plan, job: Job | None) -> dict[str, list[str]]:
    """What is said of masked pixels → the bands it is said of; masks are none of them."""
    bands = [band for group in plan.groups for band in group.bands]
    masked = {name for band in bands for name in band.mask_of}
    nodata = nodata_values(None if job is None else job.mosaic.nodata, bands)
    told: dict[str, list[str]] = {}
    for band in bands:
        if not band.mask_of:
            words = masked_pixels(band.dtype, nodata.get(band.id), has_mask=band.id in masked)
            told.setdefault(words, []).append(band.id)
    return told
