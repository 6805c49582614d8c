"""A page on which a classifier is taught by showing: `thumbnet teach FOLDER`.

    browser → app (key, Origin, Host) → work (one folder) → data.collection, transfer → MODEL FILE

The folder is the data, and all that is kept: pictures in a subfolder for each class, the rest in `.thumbnet/`.
"""

from thumbnet.errors import needs

with needs("teaching", "serve"):
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401

    import thumbnet.server  # noqa: F401
with needs("teaching", "transfer"):
    import onnx  # noqa: F401
    import scipy  # noqa: F401
    import threadpoolctl  # noqa: F401

from thumbnet.teach.run import teach

__all__ = ["teach"]
