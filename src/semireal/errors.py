"""The one exception that stands for a mistake of the user."""


class UserError(Exception):
    """A mistake in parameters or input: shown to the user as one line, without a traceback."""


class Unfinished(Exception):  # noqa: N818 - no error: the work goes on
    """The work is not done and nothing is lost: the text says what is missing, and when the same command goes on."""
