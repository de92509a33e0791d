from collections.abc import Callable, Iterator
from typing import Any

class USBError(OSError):
    errno: int | None
    backend_error_code: int | None

class USBTimeoutError(USBError): ...
class NoBackendError(ValueError): ...

def find(
    find_all: bool = ...,
    backend: Any = ...,
    custom_match: Callable[[Any], bool] | None = ...,
) -> Iterator[Any]: ...
