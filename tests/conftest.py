"""What tests share: bands, images and plans made from a few numbers."""

from __future__ import annotations

from hypothesis import settings

# Two slow cores shared with emulators and compilers: time says nothing about a property.
settings.register_profile("suite", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("suite")
