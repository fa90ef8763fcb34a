"""How the numbers of an experiment are called, for those who write them and those who read them."""

MAIN = ("dataset", "photo and portrait", "training images", "base", "")  # what a headline number is taken against
AT_PSI = "_at_psi"  # ends the names of those at sample.psi; those at psi = 1 have plain names
