"""WebDAV collections: native/callbacks/webdav.cpp."""

from collections.abc import Callable

def RegisterWebDavCollection(
    uri: str,
    isExistingFolder: Callable[..., object],
    listFolder: Callable[..., object],
    retrieveFile: Callable[..., object],
    storeFile: Callable[..., object] | None,
    createFolder: Callable[..., object] | None,
    deleteItem: Callable[..., object] | None,
    /,
) -> None:
    """Register a WebDAV folder whose content comes from callbacks.

    Each callback is a `def` or an `async def` and gets the path below `uri` as a list of names,
    empty for the folder itself. Times are text in UTC, "20240131T235959". Orthanc's HTTP thread
    waits for each callback, for 30 s at most; when one raises, returns nonsense or takes too long,
    the client gets status 500.

    Args:
        uri: Where the folder is; begins with a slash.
        isExistingFolder: Called with (path); returns True when that is a folder.
        listFolder: Called with (path); returns None when that is no folder, else a list with a
            tuple (name, time) for each folder and (name, size, mimeType, time) for each file. An
            empty mimeType has Orthanc guess by the name.
        retrieveFile: Called with (path); returns None when that is no file, else a tuple
            (content, mimeType, time).
        storeFile: Called with (path, content); returns True when it has stored the file. False,
            or None instead of a callback, refuses with status 403.
        createFolder: Called with (path); the same.
        deleteItem: Called with (path); the same.

    Raises:
        TypeError: One of them is not callable.
        ValueError: The URI does not begin with a slash, or has a collection already.
        RuntimeError: Orthanc has been started already.

    SDK function: OrthancPluginRegisterWebDavCollection().
    """
