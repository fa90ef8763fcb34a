"""From the sources of a character to a raw collection, with the provenance of each image."""
