"""From a dataset to a trained generator and its samples."""
