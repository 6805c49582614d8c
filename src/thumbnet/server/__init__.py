"""HTTP: pictures in, answers out.

    connection → body (limits) → decoding in threads → one queue → batches → MODEL FILE → JSON

`create_app(classifier)` makes the application for any ASGI server. `thumbnet serve` runs it on uvicorn.
"""

from thumbnet.errors import MissingExtraError

try:
    import prometheus_client  # noqa: F401
    import python_multipart  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingExtraError("serving", str(error.name), "serve") from None

from thumbnet.server.app import create_app
from thumbnet.server.run import serve
from thumbnet.server.service import Limits

__all__ = ["Limits", "create_app", "serve"]
