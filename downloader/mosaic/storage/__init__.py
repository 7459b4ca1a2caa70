"""Where a mosaic lies: disks and buckets, locks and leases."""
