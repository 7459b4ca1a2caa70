"""Look into the catalogue: inspect an asset, list the images of a collection, make a thumbnail."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from downloader.arguments import check_names, numbers, shown
from downloader.datasets.attributes import dataset_document
from downloader.datasets.facts import dataset_facts
from downloader.earthengine.documents import ImageReader
from downloader.earthengine.listing import Listing
from downloader.earthengine.query import Query
from downloader.earthengine.thumbnail import Stretch, fetch_thumbnail
from downloader.engine.connect import Connection, connect
from downloader.engine.stop import Stop
from downloader.engine.sync import in_thread
from downloader.errors import DownloadError, JobError, RefusedError
from downloader.job.environment import with_environment
from downloader.job.service_settings import ServiceSettings
from downloader.model.image_query import ImageQuery
from downloader.progress.late import late
from downloader.report.image_list import Images
from downloader.resolve.region_file import read_features

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


T = TypeVar("T")

_CONTAINERS = ("FOLDER", "IMAGE_COLLECTION")

JobSection = Mapping[str, Any] | str | None
"""A section of the job file, such as `service={"endpoint": "emulator"}`."""

Region = Mapping[str, Any] | Sequence[float] | str | os.PathLike[str]
"""[west, south, east, north] or GeoJSON in longitude and latitude, or a file of it, or an object with `__geo_interface__`."""


def inspect(
    asset: str,
    overrides: Sequence[str] = (),
    *,
    service: JobSection = None,
    auth: JobSection = None,
    credentials: Credentials | None = None,
) -> dict[str, Any]:
    """Return the service's own document of an asset, for a public dataset with the Data Catalog's facts as `catalogue`.

    `catalogue` has title, institution, licence and DOI, and for each band its CF attributes: `long_name`, `units`, `scale_factor`,
    `add_offset`, `center_wavelength` in µm, `flag_values`, `flag_masks`, `flag_meanings`, as far as they are known.

    Args:
        asset: id or full name.
        overrides: keys of the job file under `service` and `auth`, as `--set` takes them.
        service: `service` of the job file.
        auth: `auth` of the job file.
        credentials: any google-auth credentials object, in place of `auth`.

    Raises:
        JobError: there is no asset of this name.
        AuthenticationError: it may not be read.
        StoppedError: the service did not answer for too long.
    """
    settings = ServiceSettings.of(service, auth, overrides)
    document = _ask(settings, credentials, lambda c: c.catalogue.document(asset))
    dataset = dataset_facts(str(document.get("id") or document.get("name")))
    return document if dataset is None else {**document, "catalogue": dataset_document(dataset)}


def inspect_with_count(
    asset: str, overrides: Sequence[str] = ()
) -> tuple[dict[str, Any], tuple[int, bool] | None]:
    """Return the document of an asset, and the number of assets in a folder or collection.

    Returns:
        The document, and (assets counted, whether there are more); None for what holds no assets, and if these
        credentials may not list them.
    """

    async def look(connection: Connection) -> tuple[dict[str, Any], tuple[int, bool] | None]:
        document = await connection.catalogue.document(asset)
        if document.get("type") not in _CONTAINERS:
            return document, None
        try:
            return document, await Listing(connection.client).count(asset)
        except DownloadError:  # whoever may read an asset need not be allowed to list it
            return document, None

    return _ask(ServiceSettings.of(overrides=overrides), None, look)


def images(
    collection: str,
    *,
    start: str | date | None = None,
    end: str | date | None = None,
    region: Region | None = None,
    filter: str | None = None,  # noqa: A002  # the job file's word
    limit: int | None = None,
    order_by: str | None = None,
    service: JobSection = None,
    auth: JobSection = None,
    credentials: Credentials | None = None,
) -> Images:
    """Return the images of a collection with start ≤ time < end that meet the other conditions.

    Args:
        collection: id or full name.
        start: first moment, UTC: a date (its midnight) or time.
        end: behind the last moment.
        region: what the footprint must meet.
        filter: condition on properties, such as `CLOUDY_PIXEL_PERCENTAGE < 10`.
        limit: no more than so many: the first by `order_by`, without it the first that the service lists.
        order_by: the order, in place of time: a property, `-NAME` for the greatest first.
        service: `service` of the job file.
        auth: `auth` of the job file.
        credentials: any google-auth credentials object, in place of `auth`.

    Returns:
        A list by time, then by id, unless `order_by` says otherwise; its `thumbnails(max=…)` are pictures for a notebook.

    Raises:
        JobError: there is no such collection, a condition is wrong, or far too many images meet them.
        AuthenticationError: it may not be read.
        StoppedError: the service did not answer for too long, or its pages make no sense.
    """
    shape = None if region is None else geojson(region)
    query = ImageQuery(collection, start, end, shape, filter, limit, order_by)
    settings = ServiceSettings.of(service, auth)
    look = partial(thumbnail, service=service, auth=auth, credentials=credentials)
    return Images(list_documents(query, ImageReader().read, settings, credentials), collection, look)


def list_documents(
    query: ImageQuery,
    convert: Callable[[dict[str, Any]], T],
    settings: ServiceSettings,
    credentials: Credentials | None = None,
) -> list[T]:
    """Return the images that meet a query, converted from the service's documents."""
    asked = Query.of(query)
    return _ask(settings, credentials, lambda c: Listing(c.client).select(asked, convert))


def thumbnail(
    image: str,
    path: str | os.PathLike[str] | None = None,
    *,
    bands: Sequence[str] | None = None,
    min: float | Sequence[float] = 0,  # noqa: A002  # the service's words
    max: float | Sequence[float],  # noqa: A002
    size: int = 256,
    gamma: float | None = None,
    palette: Sequence[str] = (),
    region: Region | None = None,
    overrides: Sequence[str] = (),
    service: JobSection = None,
    auth: JobSection = None,
    credentials: Credentials | None = None,
) -> bytes:
    """Return a PNG that the service makes of an image: `size` × `size` pixels of the box around its footprint.

    Args:
        image: id or full name.
        path: file to write as well.
        bands: one, or three as red, green and blue; None takes the first three, or the first.
        min: value shown black: one for all bands, or one for each.
        max: value shown white, likewise.
        size: pixels along each side; the box is stretched to a square.
        gamma: above 1 brightens.
        palette: colours of one band from low to high, as RRGGBB or CSS names.
        region: what to show in place of the footprint.
        overrides: keys of the job file under `service` and `auth`, as `--set` takes them.
        service: `service` of the job file.
        auth: `auth` of the job file.
        credentials: any google-auth credentials object, in place of `auth`.

    Returns:
        The PNG.

    Raises:
        JobError: it is no image or has no footprint, a band that it lacks, a stretch that is none.
        RefusedError: `path` cannot be written.
        AuthenticationError: the image may not be read.
        StoppedError: the service did not answer for too long.
    """
    file = None if path is None else Path(path)
    if file is not None and not file.absolute().parent.is_dir():
        raise RefusedError(f"{file}: the folder {file.absolute().parent} does not exist; make it first")
    check_names(bands, "bands")
    stretch = Stretch(_numbers(min, "min"), _numbers(max, "max"), gamma, tuple(palette))
    shape = None if region is None else geojson(region)

    def fetch(connection: Connection) -> Coroutine[Any, Any, bytes]:
        return fetch_thumbnail(connection.client, image, bands, stretch, size=size, region=shape)

    png = _ask(ServiceSettings.of(service, auth, overrides), credentials, fetch)
    if file is not None:
        try:
            file.write_bytes(png)
        except OSError as error:
            raise RefusedError(f"{file}: cannot be written: {error.strerror or error}") from error
    return png


def geojson(region: Region) -> Mapping[str, Any]:
    """Return the GeoJSON of a region: itself, a file's, or a geometry object's `__geo_interface__`.

    Raises:
        JobError: it cannot be read, or is none.
    """
    if isinstance(region, Sequence) and not isinstance(region, str):
        west, south, east, north = numbers(region, "region", "west, south, east, north")
        if not west < east:
            raise JobError("west must lie below east; give GeoJSON across the antimeridian", key="region")
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return {"type": "Polygon", "coordinates": [ring]}
    if getattr(region, "crs", None) is not None and hasattr(region, "to_crs"):
        region = region.to_crs("EPSG:4326")  # a GeoDataFrame or GeoSeries
    spoken = getattr(region, "__geo_interface__", None)
    if isinstance(spoken, Mapping):
        return spoken
    if isinstance(region, Mapping):
        return region
    if not isinstance(region, str | os.PathLike):
        raise JobError(
            f"{shown(region)}: give [west, south, east, north], GeoJSON or a file of it, or a shape",
            key="region",
        )
    document, _ = read_features(Path(region), "region")
    return document


@late("asking Earth Engine")
def _ask(
    settings: ServiceSettings,
    credentials: Credentials | None,
    work: Callable[[Connection], Coroutine[Any, Any, T]],
) -> T:
    """Connect to the service that the settings name, and return the result of `work`."""
    stop = Stop()

    async def look() -> T:
        async with connect(with_environment(settings), credentials) as connection:
            with stop.cancels():
                return await work(connection)
        raise AssertionError("unreachable: asking to stop raises")

    return in_thread(look(), stop)


def _numbers(value: float | Sequence[float], what: str) -> tuple[float, ...]:
    try:
        return (float(value),) if isinstance(value, int | float | str) else tuple(map(float, value))
    except (TypeError, ValueError):
        raise JobError(f"{value!r} is no number", key=what) from None
