"""Planning: pure arithmetic from a job and the catalogue's metadata to shards, requests and tiles."""

from downloader.plan.group import Group
from downloader.plan.keys import ShardKey, TileBlock, TileKey
from downloader.plan.packing import ServiceModel
from downloader.plan.plan import Estimate, Plan
from downloader.plan.planner import make_plan
from downloader.plan.request import BandType, PixelRequest, Request
from downloader.plan.tiling import TILE, Tiling

__all__ = [
    "TILE",
    "BandType",
    "Estimate",
    "Group",
    "PixelRequest",
    "Plan",
    "Request",
    "ServiceModel",
    "ShardKey",
    "TileBlock",
    "TileKey",
    "Tiling",
    "make_plan",
]
