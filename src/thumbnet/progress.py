"""A progress bar for all long work but the training, which draws its own."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(label: str, total: int, unit: str, start: int = 0) -> Iterator[Callable[[int], object]]:
    """A bar with the time left on standard error, if that is a terminal. Call what it gives with each new position.

    Without tqdm, which the base install does not have, there is no bar.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda _: None
        return
    with tqdm(total=total, initial=start, desc=label, unit=unit, unit_scale=True, disable=None) as bar:
        yield lambda position: bar.update(position - bar.n)
