"""Plans, mosaics' states and assets in words: text for people, plain documents for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from downloader.job import Job
from downloader.nodata import masked_pixels, nodata_values
from downloader.planning import ImageList, Plan, TileKey, readings

if TYPE_CHECKING:
    from downloader.mosaic.status import Status
    from downloader.mosaic.verification import Verification
    from downloader.resample import Resampling

__all__ = [
    "asset_text",
    "megabytes",
    "plan_document",
    "plan_text",
    "resampling_text",
    "source_text",
    "status_text",
    "table",
    "verification_text",
]

_LOST = 5
"""Samples without pixels that the text of a plan names."""

_SHOWN = 20
"""Findings of a verification that the text names; the JSON names all."""


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Rows under a header, columns padded; numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    numeric = [all(row[k][:1].isdigit() for row in rows) and bool(rows) for k in range(len(header))]

    def show(line: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([show(header), *(show(row) for row in rows)])


def megabytes(nbytes: float) -> str:
    """A size, in MB or GB."""
    return f"{nbytes / 1e9:,.2f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """A time, in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def plan_document(plan: Plan, job: Job | None = None) -> dict[str, Any]:
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
                    }
                    for reading in readings(group)
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


def counted(number: int, noun: str) -> str:
    """`1 image`, `2,000 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _moment(time_us: int | None) -> str | None:
    """Microseconds since 1970 as text."""
    if time_us is None:
        return None
    return (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us))
        .isoformat()
        .replace("+00:00", "Z")
    )


def plan_text(plan: Plan, job: Job | None = None) -> str:
    """The plan for people."""
    estimate = plan.estimate()
    rows = [
        [
            group.name or "/",
            ", ".join(band.id for band in group.bands[:6]) + (" …" if len(group.bands) > 6 else ""),
            f"{group.tiling.width:,} × {group.tiling.height:,}",
            f"{group.tiling.tiles:,}",
            f"{group.tiling.shards:,}",
            f"{group.count_requests():,}",
            megabytes(group.itemsize * group.tiling.width * group.tiling.height * group.tiling.slices),
        ]
        for group in plan.groups
    ]
    lines = [
        source_text(plan),
        table(rows, ("group", "bands", "pixels", "tiles", "shards", "requests", "size")),
        (
            f"{estimate.tiles:,} tiles in {estimate.requests:,} requests: {megabytes(estimate.wire_bytes)} on the wire, "
            f"at most {megabytes(estimate.disk_bytes)} on disk, about {duration(estimate.seconds)} at "
            f"{plan.model.concurrency} requests at once"
        ),
    ]
    lost = [part for part in plan.slices if part.problem]
    lines.extend(f"cannot be fetched: {part.id}: {part.problem}" for part in lost[:_LOST])
    if len(lost) > _LOST:
        lines.append(f"… and {len(lost) - _LOST:,} more samples that cannot be fetched (--json has them all)")
    lines.extend(str(reading) for group in plan.groups for reading in readings(group))
    told = _masked_pixels(plan, job)
    lines.extend(f"{_few(bands)}: {words}" for words, bands in told.items())
    if any("told apart" in words or "told from" in words for words in told):
        lines.append("mosaic.mask: per-band, or any, fetches the masks with the pixels")
    return "\n".join(lines)


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


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" … ({len(names):,} bands)" if len(names) > 6 else "")


def status_text(status: Status) -> str:
    """A mosaic's state for people."""
    rows = [
        [
            name or "/",
            ", ".join(status.bands[name][:6]) + (" …" if len(status.bands[name]) > 6 else ""),
            f"{counts.tiles:,}",
            f"{counts.stored:,}",
            f"{counts.failed:,}",
            f"{counts.missing:,}",
        ]
        for name, counts in status.groups.items()
    ]
    lines = [
        f"{status.path}: {'complete' if status.is_complete else 'not complete'}, from {status.service}"
        + (
            f", {counted(status.images, 'image')} in "
            f"{counted(status.slices, 'sample' if status.axis == 'sample' else 'slice')}"
            if status.slices
            else ""
        ),
        table(rows, ("group", "bands", "tiles", "stored", "failed", "missing")),
    ]
    lines.extend(
        f"failed: {key} ({', '.join(bands)}): {message}" for key, bands, _, message in status.failures[:5]
    )
    if len(status.failures) > 5:
        lines.append(f"… and {len(status.failures) - 5:,} more failed tiles (--json lists them all)")
    return "\n".join(lines)


def verification_text(found: Verification) -> str:
    """What reading a mosaic found, for people."""
    rows = [
        [name or "/", f"{c.tiles:,}", f"{c.stored:,}", f"{c.failed:,}", f"{c.missing:,}"]
        for name, c in found.groups.items()
    ]
    verdict = (
        "intact and complete" if found.is_clean else "intact, not complete" if found.is_intact else "damaged"
    )
    lines = [
        f"{found.path}: {verdict}; {found.objects:,} objects read, {megabytes(found.nbytes)}",
        table(rows, ("group", "tiles", "whole", "failed", "missing")),
    ]
    said = [
        f"damaged: {damage.key}, band {damage.band}: {_places(damage.keys)}: {damage.reason}"
        for damage in found.damaged
    ]
    said += [f"lost: {lost.key}: {lost.reason}" for lost in found.lost]
    said += [f"failed: {key} ({', '.join(bands)}): {message}" for key, bands, _, message in found.failures]
    lines += said[:_SHOWN]
    if len(said) > _SHOWN:
        lines.append(f"… and {len(said) - _SHOWN:,} more lines (--json has them all)")
    lines += [
        f"coverage{f' of group {name}' if name else ''} says something else of {cells:,} tiles than is there"
        for name, cells in found.coverage.items()
    ]
    if found.is_being_written:
        lines.append(
            "a run is writing it: checked is what was stored when the reading began, and no coverage"
        )
    elif found.unledgered:
        lines.append(
            f"{found.unledgered:,} objects are whole and not in the ledger; the next run takes them up"
        )
    if not found.is_intact:
        lines.append("mend it with --repair, which fetches what is damaged and nothing else")
    elif not found.is_clean:
        lines.append("run the job again to fetch what is missing")
    return "\n".join(lines)


def resampling_text(found: Resampling) -> str:
    """What comparing tiles with the service found, for people."""
    how = f"within {found.tolerance:g}" if found.tolerance else "bit by bit"
    lines = [f"{found.tiles:,} tiles fetched again (--seed {found.seed}) and compared {how}: "]
    lines[0] += "all the same" if found.is_same else f"{len(found.differences):,} differences, band by band"
    for one in found.differences[:_SHOWN]:
        largest = "" if one.largest is None else f", by up to {one.largest:g}"
        what = one.reason or f"{one.pixels:,} of {one.of:,} pixels differ{largest}"
        lines.append(f"differs: {one.tile}, band {one.band}: {what}")
    if len(found.differences) > _SHOWN:
        lines.append(f"… and {len(found.differences) - _SHOWN:,} more (--json has them all)")
    lines += found.notices
    return "\n".join(lines)


def _places(tiles: Sequence[TileKey]) -> str:
    if not tiles:
        return "tiles unknown"
    shown = ", ".join(f"{tile.slice}/{tile.row}/{tile.column}" for tile in tiles[:4])
    return f"tile {shown}" if len(tiles) == 1 else f"tiles {shown}" + (" …" if len(tiles) > 4 else "")


def asset_text(document: Mapping[str, Any]) -> str:
    """An asset of the catalogue for people."""
    lines = [
        str(document.get("id") or document.get("name")),
        f"type: {document.get('type')}",
        f"name: {document.get('name')}",
    ]
    lines += [
        f"{key}: {document[key]}"
        for key in ("startTime", "endTime", "updateTime", "sizeBytes")
        if key in document
    ]
    bands = document.get("bands") or []
    if bands:
        lines += [
            "",
            table(
                [_band_row(band) for band in bands],
                ("band", "type", "size", "pixel", "CRS", "pyramid", "nodata"),
            ),
            "",
            *(f"{_few(names)}: {words}" for words, names in _fills(bands).items()),
            "mosaic.mask: per-band, or any, of a job fetches the masks with the pixels",
        ]
    return "\n".join(lines)


def _fills(bands: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What is said of masked pixels → the bands of an asset's document that it is said of."""
    from downloader.earthengine.catalogue import band_dtype

    told: dict[str, list[str]] = {}
    for band in bands:
        dtype = band_dtype(band.get("dataType", {}))
        missing = band.get("missingData", {}).get("values", [])
        if dtype is not None:
            nodata = float(missing[0]) if len(missing) == 1 else None
            words = masked_pixels(dtype, nodata, has_mask=False)
            told.setdefault(words, []).append(str(band.get("id")))
    return told


def _band_row(band: Mapping[str, Any]) -> list[str]:
    grid, dtype = band.get("grid", {}), band.get("dataType", {})
    size, affine = grid.get("dimensions", {}), grid.get("affineTransform", {})
    limits = dtype.get("range", {})
    kind = str(dtype.get("precision", "?"))
    if limits and kind.startswith("INT"):
        kind += f" {_plain(limits.get('min', 0))}…{_plain(limits.get('max', 0))}"
    missing = band.get("missingData", {}).get("values", [])
    return [
        str(band.get("id")),
        kind,
        f"{size.get('width', '?')}×{size.get('height', '?')}",
        f"{affine.get('scaleX', '?')}",
        str(grid.get("crsCode", "WKT")),
        str(band.get("pyramidingPolicy", "")),
        ", ".join(map(str, missing)) or "-",
    ]


def _plain(number: object) -> str:
    """A number of the catalogue, which may stand as a text."""
    return f"{number:.10g}" if isinstance(number, int | float) else str(number)
