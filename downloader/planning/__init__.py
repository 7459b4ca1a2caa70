"""Planning: pure arithmetic from a job and the catalogue's metadata to shards, requests and tiles."""

from downloader.planning.group import Group
from downloader.planning.plan import Estimate, Plan
from downloader.planning.planner import make_plan, make_sample_plan
from downloader.planning.pyramid import Reading, readings
from downloader.planning.request_size import ServiceModel
from downloader.planning.requests import BandType, PixelRequest, Request, ShardKey, TileBlock, TileKey
from downloader.planning.series import slices_of
from downloader.planning.slices import Axis, Existing, ImageList, Slice
from downloader.planning.tiling import TILE, Tiling

__all__ = [
    "TILE",
    "Axis",
    "BandType",
    "Estimate",
    "Existing",
    "Group",
    "ImageList",
    "PixelRequest",
    "Plan",
    "Reading",
    "Request",
    "ServiceModel",
    "ShardKey",
    "Slice",
    "TileBlock",
    "TileKey",
    "Tiling",
    "make_plan",
    "make_sample_plan",
    "readings",
    "slices_of",
]
