"""From raw images to heads."""
