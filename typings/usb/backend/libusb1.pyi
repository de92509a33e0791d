from usb.backend import IBackend

_lib_object: IBackend | None

def get_backend() -> IBackend | None: ...
