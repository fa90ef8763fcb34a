"""The one exception that stands for a mistake of the user."""


class UserError(Exception):
    """A mistake in parameters or input: shown to the user as one line, without a traceback."""
