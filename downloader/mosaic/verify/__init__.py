"""Check a mosaic against its ledger, and repair it."""
