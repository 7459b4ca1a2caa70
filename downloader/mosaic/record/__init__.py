"""What a mosaic keeps about itself: identity, ledger, state."""
