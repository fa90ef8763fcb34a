"""The embedded demo: an image board on the loopback interface that draws its pictures itself."""

from semireal.collect.gallery.server import Gallery

__all__ = ["Gallery"]
