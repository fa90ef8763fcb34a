"""From heads to a dataset: one format, the good ones, each picture once, and the decisions of a person."""
