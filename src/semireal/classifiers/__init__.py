"""How the small classifiers of the package are taught. No stage comes here."""
