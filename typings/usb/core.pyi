from collections.abc import Callable, Iterator
from typing import Any

class USBError(OSError):
    def __init__(self, strerror: str, error_code: int | None = ..., errno: int | None = ...) -> None: ...
    errno: int | None
    backend_error_code: int | None

class USBTimeoutError(USBError): ...
class NoBackendError(ValueError): ...

def find(
    find_all: bool = ...,
    backend: Any = ...,
    custom_match: Callable[[Any], bool] | None = ...,
) -> Iterator[Any]: ...
