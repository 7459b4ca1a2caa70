"""Storage of a mosaic: disks and buckets, locks and leases."""
