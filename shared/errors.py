"""Exceptions: a bug of the caller, or a world that fails. What a user can cause is a `Problem`, not one of these."""


class CliptillError(Exception):
    """The root of all that Cliptill raises itself."""


class ConfigurationError(CliptillError):
    """A setting is missing or wrong: the process must not start."""


class ServiceAwayError(CliptillError):
    """A service that this process needs did not answer, or not as it should. Asking again may help."""
