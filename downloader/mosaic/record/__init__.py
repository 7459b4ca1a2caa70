"""What a mosaic records about itself: identity, ledger, state."""
