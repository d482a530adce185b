# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Routes for test_rest_output.py. `both` makes two of a function: /d/<name> and /a/<name>."""

import asyncio, hashlib, json, threading
import orthanc

PIXELS = bytes(range(16))
GRAY = orthanc.PixelFormat.GRAYSCALE8
kept, notes, go_on = {}, [], threading.Event()


def both(function):
    name = function.__name__

    def plain(output, uri, **request):
        return function(output, uri, request)

    async def on_loop(output, uri, **request):
        return function(output, uri, request)

    for letter, handler in (("d", plain), ("a", on_loop)):
        handler.__qualname__ = handler.__name__ = f"{name}_{letter}"
        for pattern in (f"/{letter}/{name}", f"/{letter}/{name}/([^/]*)/x/(.*)"):
            orthanc.RegisterRestCallback(pattern, handler)
    return function


def show(value):
    if isinstance(value, tuple):
        return ["tuple", *map(show, value)]
    return [type(value).__name__, ascii(value)]


@both
def echo(output, uri, request):
    headers = request["headers"]
    request["headers"] = {k: v for k, v in headers.items() if k.startswith("x-")}
    output.AnswerBuffer(
        json.dumps(
            {
                "fields": sorted(request),
                "uri": ascii(uri),
                "method": request["method"],
                "groups": show(request["groups"]),
                "lower": all(k == k.lower() for k in headers),
                "get": ascii(request.get("get")),
                "headers": ascii(request["headers"]),
                "body": ascii(request.get("body")),
            }
        ),
        "application/json",
    )


@both
def big(output, uri, request):
    body = request["body"]
    output.AnswerBuffer(
        json.dumps([type(body).__name__, len(body), hashlib.sha256(body).hexdigest()]),
        "application/json",
    )


@both
def mirror(output, uri, request):
    output.AnswerBuffer(request["body"], "application/octet-stream")


@both
def text(output, uri, request):
    output.AnswerBuffer("gr\u00fc\u00df", "text/plain")


@both
def buffers(output, uri, request):
    view = memoryview(b"-abc-")[1:4] if request["get"]["as"] == "view" else bytearray(b"abc")
    output.AnswerBuffer(view, "text/plain")


@both
def headers(output, uri, request):
    output.SetHttpHeader("X-One", "1")
    output.SetHttpHeader("X-Two", "gr\u00fc\u00df")
    output.SetCookie("session", "abc")
    output.AnswerBuffer(b"x", "text/plain")


@both
def redirect(output, uri, request):
    output.Redirect("../elsewhere")


@both
def status(output, uri, request):
    {
        "2": lambda: output.SendHttpStatus(404, "nothing"),
        "3": lambda: output.SendHttpStatus(404, b"nothing more", 7),
        "1": lambda: output.SendHttpStatus(404),
        "code": lambda: output.SendHttpStatusCode(503),
    }[request["get"]["as"]]()


@both
def unauthorized(output, uri, request):
    output.SendUnauthorized("my realm")


@both
def not_allowed(output, uri, request):
    output.SendMethodNotAllowed("GET,PUT")


@both
def details(output, uri, request):
    output.SetHttpErrorDetails("not today", 1)
    output.SendHttpStatusCode(503)


@both
def png(output, uri, request):
    output.CompressAndAnswerPngImage(GRAY, 4, 4, 4, PIXELS)


@both
def jpeg(output, uri, request):
    output.CompressAndAnswerJpegImage(GRAY, 4, 4, 4, PIXELS, 90)


@both
def own_names(output, uri, request):
    output.set_http_header("X-One", "1")
    output.set_cookie("session", "abc")
    output.answer_buffer("own", "text/plain")


def multipart_plain(output, uri, **request):
    output.StartMultipartAnswer("related", "text/plain")
    for item in ("one", b"two", bytearray(b"three")):
        output.SendMultipartItem(item)
    output.SendMultipartItem2(b"four", {"X-Part": "4"})


async def multipart_async(output, uri, **request):
    output.StartMultipartAnswer("related", "text/plain")
    for item in ("one", b"two", bytearray(b"three")):
        await output.send_multipart_item(item)
    await output.send_multipart_item2(b"four", {"X-Part": "4"})


async def item_blocking(output, uri, **request):
    try:
        output.SendMultipartItem(b"x")
    except RuntimeError as error:
        output.AnswerBuffer(str(error), "text/plain")


def stream_plain(output, uri, **request):
    output.StartMultipartAnswer("related", "text/plain")
    try:
        while True:
            output.SendMultipartItem(bytes(100_000))
    except BaseException as error:
        notes.append(f"plain {type(error).__name__} {error}")
        raise


async def stream_async(output, uri, **request):
    output.StartMultipartAnswer("related", "text/plain")
    try:
        while True:
            await output.send_multipart_item(bytes(100_000))
    except BaseException as error:
        notes.append(f"async {type(error).__name__} {error}")
        raise


def plain_works_on(output, uri, **request):
    output.AnswerBuffer("at once", "text/plain")
    notes.append(f"plain {go_on.wait(30)}")


async def async_works_on(output, uri, **request):
    output.AnswerBuffer("at once", "text/plain")
    notes.append(f"async {await asyncio.to_thread(go_on.wait, 30)}")


def set_go_on(output, uri, **request):
    go_on.set()
    output.AnswerBuffer("", "text/plain")


def show_notes(output, uri, **request):
    output.AnswerBuffer(json.dumps(notes), "application/json")


for path, handler in {
    "/d/multipart": multipart_plain,
    "/a/multipart": multipart_async,
    "/a/item-blocking": item_blocking,
    "/d/stream": stream_plain,
    "/a/stream": stream_async,
    "/d/works-on": plain_works_on,
    "/a/works-on": async_works_on,
    "/go-on": set_go_on,
    "/notes": show_notes,
}.items():
    orthanc.RegisterRestCallback(path, handler)


@both
def raises_later(output, uri, request):
    output.AnswerBuffer("answered", "text/plain")
    raise ValueError("after the answer")


@both
def twice(output, uri, request):
    output.AnswerBuffer("first", "text/plain")
    output.AnswerBuffer("second", "text/plain")


@both
def twice_own(output, uri, request):
    output.answer_buffer("first", "text/plain")
    output.send_http_status_code(404)


@both
def header_later(output, uri, request):
    output.AnswerBuffer("answered", "text/plain")
    output.SetHttpHeader("X-Late", "1")


@both
def raises(output, uri, request):
    try:
        {}["inner"]
    except KeyError:
        raise ValueError("a secret of the patient")


@both
def exits(output, uri, request):
    raise SystemExit(3)


@both
def silent(output, uri, request):
    return "nonsense"


@both
def keyword(output, uri, request):
    output.AnswerBuffer("never", "text/plain", status=404)


@both
def wrong_type(output, uri, request):
    output.AnswerBuffer(3, "text/plain")


@both
def too_few(output, uri, request):
    output.AnswerBuffer("x")


@both
def bad_status(output, uri, request):
    output.SendHttpStatus(int(request["get"]["s"]), "body")


@both
def bad_status_code(output, uri, request):
    output.SendHttpStatusCode(int(request["get"]["s"]))


def broken_multipart(output, uri, **request):
    output.StartMultipartAnswer("related", "text/plain")
    output.SendMultipartItem(b"first")
    raise ValueError("in the middle")


async def broken_multipart_async(output, uri, **request):
    output.StartMultipartAnswer("related", "text/plain")
    await output.send_multipart_item(b"first")
    raise ValueError("in the middle")


orthanc.RegisterRestCallback("/d/broken-multipart", broken_multipart)
orthanc.RegisterRestCallback("/a/broken-multipart", broken_multipart_async)


@both
def bad_header(output, uri, request):
    output.SetHttpHeader("X-Nul", "a\0b")


@both
def keep(output, uri, request):
    kept[uri[1]] = output
    output.AnswerBuffer("kept", "text/plain")


@both
def use_kept(output, uri, request):
    old = kept[uri[1]]
    found = []
    for call in (
        lambda: old.AnswerBuffer("x", "text/plain"),
        lambda: old.answer_buffer("x", "text/plain"),
        lambda: old.SetHttpHeader("a", "b"),
        lambda: old.SendHttpStatus(404, ""),
        lambda: old.StartMultipartAnswer("related", "text/plain"),
    ):
        try:
            found.append(repr(call()))
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    output.AnswerBuffer(json.dumps([repr(old), *found]), "application/json")


def use_kept_item(output, uri, **request):
    try:
        kept["d"].SendMultipartItem(b"x")
    except RuntimeError as error:
        output.AnswerBuffer(str(error), "text/plain")


async def await_kept_item(output, uri, **request):
    try:
        await kept["a"].send_multipart_item(b"x")
    except RuntimeError as error:
        output.AnswerBuffer(str(error), "text/plain")


orthanc.RegisterRestCallback("/d/kept-item", use_kept_item)
orthanc.RegisterRestCallback("/a/kept-item", await_kept_item)


def wrong_arguments(output):
    output.AnswerBuffer("x", "text/plain")


async def wrong_arguments_async(output):
    output.AnswerBuffer("x", "text/plain")


orthanc.RegisterRestCallback("/d/wrong-arguments", wrong_arguments)
orthanc.RegisterRestCallback("/a/wrong-arguments", wrong_arguments_async)


@both
def hand_on(output, uri, request):
    """Give what came in on to the SDK."""
    name = {
        "path": uri,
        "header": request["headers"].get("x-mine", ""),
        "query": request["get"].get("q", ""),
    }[request["get"]["part"]]
    found = []
    for call in (
        lambda: orthanc.LogInfo(name),
        lambda: orthanc.AutodetectMimeType(name),
        lambda: orthanc.LookupDictionary(name),
    ):
        try:
            found.append(type(call()).__name__)
        except Exception as error:
            found.append(
                f"{type(error).__name__}: {error}".encode("utf-8", "surrogateescape").decode(
                    "latin-1"
                )
            )
    output.AnswerBuffer(json.dumps(found), "application/json")


async def rest_api(output, uri, **request):
    """Hand the path on to an awaited call."""
    try:
        await orthanc.rest_api_get("/instances/" + request["groups"][0])
    except orthanc.OrthancException as error:
        text = error.args[1].encode("utf-8", "surrogateescape")
        output.AnswerBuffer(b"%d " % error.code + text, "text/plain")


def rest_api_plain(output, uri, **request):
    try:
        orthanc.RestApiGet("/instances/" + request["groups"][0])
    except orthanc.OrthancException as error:
        text = error.args[1].encode("utf-8", "surrogateescape")
        output.AnswerBuffer(b"%d " % error.code + text, "text/plain")


orthanc.RegisterRestCallback("/a/rest-api/(.*)", rest_api)
orthanc.RegisterRestCallback("/d/rest-api/(.*)", rest_api_plain)
