"""The rivals, each as its own documentation shows it, pointed at the emulator. Runs in their own environment.

    python -m scripts.benchmarks.rivals NAME < task.json

`scripts/benchmarks/rivals.txt` pins their versions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scripts.benchmarks.contender import Meter, Result, Task, serve

CRS = "EPSG:32610"


def discard(task: Task) -> Result:
    """Fetch and throw away with libcurl, the fastest HTTP client measured: what receiving alone costs."""
    import pycurl

    squares = iter(task.squares(task.options.get("side", 1024)))
    headers = ["Authorization: Bearer bench", "Content-Type: application/json", "Expect:"]
    multi, free, received = pycurl.CurlMulti(), [], 0

    def receive(chunk: bytes) -> None:
        nonlocal received
        received += len(chunk)

    for _ in range(task.concurrency):
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, f"{task.url}/v1/{task.name}:getPixels")
        handle.setopt(pycurl.HTTPHEADER, headers)
        handle.setopt(pycurl.POST, 1)
        handle.setopt(pycurl.WRITEFUNCTION, receive)
        handle.setopt(pycurl.BUFFERSIZE, 512 * 1024)
        free.append(handle)
    kept = list(free)
    with Meter() as meter:
        busy = 0
        while True:
            while free and (square := next(squares, None)):
                handle = free.pop()
                handle.setopt(pycurl.POSTFIELDS, json.dumps(task.body(*square)))
                multi.add_handle(handle)
                busy += 1
            if not busy:
                break
            multi.perform()
            queued = 1
            while queued:
                queued, done, failed = multi.info_read()
                if failed or any(handle.getinfo(pycurl.RESPONSE_CODE) != 200 for handle in done):
                    raise SystemExit(f"an answer is no success: {failed}")
                for handle in done:
                    multi.remove_handle(handle)
                    free.append(handle)
                    busy -= 1
            if busy:
                multi.select(1.0)
    for handle in kept:
        handle.close()
    return meter.result(note="stores nothing", more={"bytes": received})


def loop(task: Task) -> Result:
    """The quickstart's own loop: one tile after another over one authorised session, put into an array on disk."""
    import io

    import numpy as np
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2 import service_account

    credentials = service_account.Credentials.from_service_account_file(task.key_file)
    session = AuthorizedSession(credentials.with_scopes(["https://www.googleapis.com/auth/cloud-platform"]))
    session.headers["x-goog-user-project"] = task.project
    out, url = _memmap(task), f"{task.url}/v1/{task.name}:getPixels"
    with Meter() as meter:
        for column, row, width, height in task.squares(256):
            answer = session.post(url, json.dumps(task.body(column, row, width, height)))
            answer.raise_for_status()
            pixels = np.load(io.BytesIO(answer.content))
            for k, band in enumerate(task.bands):
                out[k, row : row + height, column : column + width] = pixels[band]
        out.flush()
    return meter.result(stored="raw", path=str(out.filename))


def ee_pool(task: Task) -> Result:
    """The official client in a pool of 40 threads, 512² pixels a call, put into an array on disk."""
    ee = _initialized(task)
    out = _memmap(task)

    def fetch(square: tuple[int, int, int, int]) -> None:
        column, row, width, height = square
        pixels = ee.data.getPixels(
            {**task.body(*square), "assetId": task.asset, "fileFormat": "NUMPY_NDARRAY"}
        )
        for k, band in enumerate(task.bands):
            out[k, row : row + height, column : column + width] = pixels[band]

    with Meter() as meter, ThreadPoolExecutor(task.concurrency) as pool:
        list(pool.map(fetch, task.squares(task.options.get("side", 512))))
        out.flush()
    return meter.result(stored="raw", path=str(out.filename))


def ee_chips(task: Task) -> Result:
    """The official client in a pool of 40 threads: a call for each date of each place, put into an array on disk."""
    ee = _initialized(task)
    import numpy as np

    corners, images, chip = task.options["corners"], task.options["images"], task.options["chip"]
    shape = (len(corners), len(images), len(task.bands), chip, chip)
    out = np.memmap(Path(task.out) / "chips.u2", "<u2", "w+", shape=shape)

    def fetch(which: tuple[int, int]) -> None:
        place, date = which
        body = task.body(*corners[place], chip, chip)
        pixels = ee.data.getPixels({**body, "assetId": images[date], "fileFormat": "NUMPY_NDARRAY"})
        for k, band in enumerate(task.bands):
            out[place, date, k] = pixels[band]

    with Meter() as meter, ThreadPoolExecutor(task.concurrency) as pool:
        list(pool.map(fetch, np.ndindex(*shape[:2])))
        out.flush()
    return meter.result(stored="chips", path=str(out.filename))


def geedim(task: Task) -> Result:
    """Geedim 2: getDownloadURL for each of its tiles, into a GeoTIFF."""
    ee = _initialized(task)
    import geedim  # noqa: F401  # registers the accessor
    from geedim import stac

    # It asks the public STAC catalogue for metadata at the end, which a benchmark must not depend on.
    stac.STACClient.get = lambda *_: None
    column, row, width, height = task.window
    image = ee.Image(task.asset).gd.prepareForExport(
        crs=CRS,
        crs_transform=(10, 0, 499980 + 10 * column, 0, -10, 4200000 - 10 * row),
        shape=(height, width),
        bands=list(task.bands),
    )
    path = str(Path(task.out) / "geedim.tif")
    with Meter() as meter:
        image.gd.toGeoTIFF(path, overwrite=True)
    return meter.result(stored="tif", path=path)


def xee(task: Task) -> Result:
    """xee: an xarray Dataset, loaded, and its values put into an array on disk."""
    ee = _initialized(task)
    import numpy as np
    import xarray

    column, row, width, height = task.window
    with Meter() as meter:
        dataset = xarray.open_dataset(
            ee.ImageCollection(ee.Image(task.asset).select(list(task.bands))),
            engine="ee",
            crs=CRS,
            crs_transform=(10, 0, 499980 + 10 * column, 0, -10, 4200000 - 10 * row),
            shape_2d=(width, height),
        ).load()
        out = _memmap(task)
        for k, band in enumerate(task.bands):
            values = np.asarray(dataset[band].squeeze("time").transpose("y", "x"))
            out[k] = values
        out.flush()
    return meter.result(
        stored="raw", path=str(out.filename), note=f"reads as {values.dtype}, cast back to uint16"
    )


def xee_series(task: Task) -> Result:
    """xee: a collection's window through time, loaded, and its values put into an array (bands, times, y, x) on disk."""
    ee = _initialized(task)
    import numpy as np
    import xarray

    column, row, width, height = task.window
    images = ee.ImageCollection(task.asset).filterDate(task.options["start"], task.options["end"])
    with Meter() as meter:
        dataset = xarray.open_dataset(
            images.select(list(task.bands)),
            engine="ee",
            crs="EPSG:4326",
            crs_transform=(0.25, 0, -180 + 0.25 * column, 0, -0.25, 90 - 0.25 * row),
            shape_2d=(width, height),
        ).load()
        values = np.stack([dataset[band].transpose("time", "y", "x").values for band in task.bands])
        path = Path(task.out, "series.npy")
        np.save(path, values)
    return meter.result(stored="npy", path=str(path), note=f"in memory, as {values.dtype}")


def edown(task: Task) -> Result:
    """edown: a GeoTIFF of an image of a collection; its grid is that of the asset's first band."""
    os.environ["GEE_SERVICE_ACCOUNT"] = json.loads(Path(task.key_file).read_text())["client_email"]
    os.environ["GEE_SERVICE_ACCOUNT_KEY"] = task.key_file
    from edown import AOI, DownloadConfig, download_images
    from pyproj import Transformer
    from shapely import Polygon

    column, row, width, height = task.window
    to_degrees = Transformer.from_crs(CRS, 4326, always_xy=True)
    left, top = 499980 + 10 * column + 5, 4200000 - 10 * row - 5
    right, bottom = left + 10 * width - 10, top - 10 * height + 10
    ring = [
        to_degrees.transform(*c)
        for c in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    ]
    config = DownloadConfig(
        collection_id=task.options["collection"],
        start_date=task.options["start"],
        end_date=task.options["end"],
        aoi=AOI(geometry=Polygon(ring)),
        bands=tuple(task.bands),
        server_url=task.url,
        output_root=task.out,
    )
    with Meter() as meter:
        download_images(config)
    paths = sorted(Path(task.out).rglob("*.tif"))
    if not paths:
        raise SystemExit("edown wrote no GeoTIFF")
    return meter.result(stored="tif", path=str(paths[0]), note="int16, on its own chunk grid")


def cubexpress(task: Task) -> Result:
    """cubexpress: getPixels as GeoTIFF strips, merged into one file."""
    _initialized(task)
    import cubexpress

    column, row, width, height = task.window
    transform = cubexpress.RasterTransform(
        CRS, 499980 + 10 * column, 4200000 - 10 * row, 10, -10, width, height
    )
    request = cubexpress.RequestRow("scene", transform, task.asset, list(task.bands))
    with Meter() as meter:
        cubexpress.express_one(request, task.out, nworkers=8)
    (path,) = Path(task.out).rglob("*.tif")
    return meter.result(stored="tif", path=str(path))


def cubexpress_chips(task: Task) -> Result:
    """cubexpress: a GeoTIFF for each date of each place, through one pool of 40 threads; then put into an array on disk."""
    _initialized(task)
    import cubexpress
    import numpy as np
    import rasterio

    corners, images, chip = task.options["corners"], task.options["images"], task.options["chip"]
    rows = [
        cubexpress.RequestRow(
            f"{place}_{date}",
            cubexpress.RasterTransform(CRS, 499980 + 10 * column, 4200000 - 10 * row, 10, -10, chip, chip),
            image,
            task.bands,
        )
        for place, (column, row) in enumerate(corners)
        for date, image in enumerate(images)
    ]
    shape = (len(corners), len(images), len(task.bands), chip, chip)
    out = np.memmap(Path(task.out) / "chips.u2", "<u2", "w+", shape=shape)
    with Meter() as meter:
        made = cubexpress.express(cubexpress.RequestTable(rows), task.out, task.concurrency, verbose=False)
        for place, date in np.ndindex(*shape[:2]):
            with rasterio.open(made.paths[f"{place}_{date}"]) as file:
                out[place, date] = file.read()
        out.flush()
    return meter.result(stored="chips", path=str(out.filename))


def eedai(task: Task) -> Result:
    """GDAL's EEDAI driver, as in the rasterio wheel, into an array on disk."""
    import rasterio
    from rasterio.windows import Window

    out = _memmap(task)
    column, row, width, height = task.window
    with (
        Meter() as meter,
        rasterio.Env(EEDA_URL=f"{task.url}/v1/", EEDA_BEARER="bench"),
        rasterio.open(f"EEDAI:{task.asset}:{','.join(task.bands)}", PIXEL_ENCODING="NPY") as dataset,
    ):
        dataset.read(window=Window(column, row, width, height), out=out)
        out.flush()
    return meter.result(stored="raw", path=str(out.filename))


def _initialized(task: Task) -> Any:  # noqa: ANN401  # the module ee
    import ee
    from google.oauth2.credentials import Credentials

    ee.Initialize(Credentials("bench"), project=task.project, url=task.url)
    return ee


def _memmap(task: Task) -> Any:  # noqa: ANN401  # numpy's memmap
    import numpy as np

    _, _, width, height = task.window
    return np.memmap(Path(task.out) / "pixels.u2", "<u2", "w+", shape=(len(task.bands), height, width))


RIVALS: dict[str, Callable[[Task], Result]] = {
    rival.__name__: rival
    for rival in (
        discard,
        loop,
        ee_pool,
        ee_chips,
        geedim,
        xee,
        xee_series,
        edown,
        cubexpress,
        cubexpress_chips,
        eedai,
    )
}

if __name__ == "__main__":
    serve(RIVALS)
