"""Expression graphs written by hand, and what they come to over a socket."""

from __future__ import annotations

from tests.contract.conftest import QUICKSTART_GRID, load
from tests.oracle import PUBLIC, QUICKSTART, oracle_window

ID = QUICKSTART.removeprefix(PUBLIC)
UTM = {**QUICKSTART_GRID, "crsCode": "EPSG:32610"}
PATH = "/v1/projects/p-test-1/image:computePixels"


def node(value):
    """A Python value, or a call made by `call`, as a node."""
    return (
        value
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)).endswith(("Value", "Reference"))
        else {"constantValue": value}
    )


def call(name, /, **arguments):
    """A call as a node."""
    return {
        "functionInvocationValue": {
            "functionName": name,
            "arguments": {key: node(value) for key, value in arguments.items()},
        }
    }


def graph(result):
    return {"result": "0", "values": {"0": node(result)}}


def image(id_=ID, *bands):
    loaded = call("Image.load", id=id_)
    return call("Image.select", input=loaded, bandSelectors=list(bands)) if bands else loaded


def compute(api, expression, where=UTM, **body):
    return api.post(PATH, {"expression": expression, "fileFormat": "NPY", "grid": where, **body})


def array(api, expression, where=UTM, **body):
    answer = compute(api, graph(expression), where, **body)
    assert answer.status_code == 200, answer.text
    return load(answer.content)


def truth(band, name=QUICKSTART):
    return oracle_window(name, band, 0, 0, 256, 256).astype(float)


def value(api, expression):
    answer = api.post(
        "/v1/projects/p-test-1/value:compute?prettyPrint=false", {"expression": graph(expression)}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def series(*filters):
    collection = call("ImageCollection.load", id="COPERNICUS/S2")
    for one in filters:
        collection = call("Collection.filter", collection=collection, filter=one)
    return collection
