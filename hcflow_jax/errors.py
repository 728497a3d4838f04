"""The errors that this package raises for mistakes that its user can correct."""


class HcflowError(Exception):
    """The base class of this package's own errors.

    Its message is one line: the field, argument or file, what was expected, what to do. The commands print that line
    and end with status 2; so does `hcflow` for files that cannot be read or written (OSError). Any other exception is
    a fault of this package, and keeps its traceback.
    """


class MissingExtraError(HcflowError, ImportError):
    """A package that an extra brings is not installed; the message names what needs it and how to install it."""


class InputError(HcflowError, ValueError):
    """An argument that a function of this package cannot take; the message names it and says what it must be."""


class LevelNameError(InputError, KeyError):
    """Latents have no level of that name."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would put quotes around it


class ImageIndexError(InputError, IndexError):
    """There is no image of that number."""
