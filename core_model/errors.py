"""Errors that a user reads: one line that says what, what was given and what to do."""

from __future__ import annotations


class CandorError(Exception):
    """Base of every error shown to a user; its text is one plain line."""

    @property
    def message(self) -> str:
        """The line to show."""
        return str(self)


class NotationError(CandorError):
    """A query that does not follow the notation; `position` counts characters from 0."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position

    def __reduce__(self) -> tuple[type[NotationError], tuple[str, int]]:
        return type(self), (str(self), self.position)


class UnknownName(CandorError):
    """A corpus, relation, variable or value that does not exist."""


class InvalidQuery(CandorError):
    """A query whose names all exist but which asks for something that has no meaning."""


class TextTooLong(CandorError):
    """More text than the core reads at once."""


class HeldOutError(CandorError):
    """A request that would reveal records kept aside for measuring."""


class EmptySupport(CandorError):
    """Nothing has positive probability under the given conditions."""


class WeightsError(CandorError):
    """Model weights that are missing, damaged or of the wrong shape."""


class EngineError(CandorError):
    """An engine that failed, or a server that can't be reached or does not answer as it should."""


class StorageError(CandorError):
    """A file or database that cannot be read or written."""


class ToolError(CandorError):
    """A tool that was called with unusable arguments or could not finish."""
