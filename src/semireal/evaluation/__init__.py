"""What a generator is worth, against its dataset."""
