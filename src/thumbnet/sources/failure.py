"""Why a source has no answer."""

from dataclasses import dataclass
from typing import Any

from thumbnet.errors import ThumbnetError


@dataclass(frozen=True)
class Failure:
    """Why there is no answer for a source."""

    source: str
    error: Exception

    @property
    def message(self) -> str:
        """What went wrong. An unforeseen error is reported with its type, such as "MemoryError"."""
        if isinstance(self.error, ThumbnetError):
            return str(self.error)
        return f"{type(self.error).__name__}: {self.error}".removesuffix(": ")

    def as_dict(self) -> dict[str, Any]:
        """The failure for JSON."""
        return {"source": self.source, "error": {"type": type(self.error).__name__, "message": self.message}}
