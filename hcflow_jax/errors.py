"""The errors that this package raises for mistakes that the user can correct."""


class HcflowError(Exception):
    """The base class of this package's own errors.

    The message is one line. It names the field, argument or file, and says what was expected or what to do. Commands
    print that line and end with status 2, as they do for files that cannot be read or written (OSError). Any other
    exception is a fault of this package and keeps its traceback.
    """


class MissingExtraError(HcflowError, ImportError):
    """An optional package is not installed; the message says what needs it and how to install it."""


class InputError(HcflowError, ValueError):
    """An argument of a function is not allowed; the message names it and says what it must be."""


class LevelNameError(InputError, KeyError):
    """Latents have no level of that name."""

    def __str__(self) -> str:
        return str(self.args[0])  # the method of KeyError adds quotes


class ImageIndexError(InputError, IndexError):
    """There is no image with that number."""
