"""HTTP authentication and audit logs, which need Orthanc 1.12.9 and its SDK."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import orthanc
import pytest
from integration.conftest import installed_version, needs
from orthanc_async import http_authentication, on_audit_log

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

NEW = hasattr(orthanc, "RegisterHttpAuthentication")  # in the header
needs_new = needs("1.12.9")

DECORATED = """
    import asyncio
    import json
    import orthanc
    from orthanc_async import Forbidden, Granted, Redirect, Unauthorized, http_authentication, rest

    # The server that starts this one asks before it is ready.
    OPEN = ("/system", "/who", "/login")

    @http_authentication(timeout=1)
    async def authenticate(request):
        token = request.headers.get("X-Token", "")
        match token:
            case "slow":
                await asyncio.sleep(120)
            case "raise":
                raise ValueError("refused on purpose")
            case "nonsense":
                return True
            case "forbidden":
                return Forbidden()
            case "redirect":
                return Redirect("/login")
            case "":
                return Granted() if request.uri in OPEN else Unauthorized()
        return Granted(json.dumps([token, request.uri, request.ip, dict(request.query)]))

    @rest.get("/who")
    async def who(request):
        return request.authentication
"""

PLAIN = """
    import json
    import orthanc

    STATUS = orthanc.HttpAuthenticationStatus

    def authenticate(_uri, **request):
        token = request["headers"].get("x-token", "")
        if token == "forbidden":
            return STATUS.FORBIDDEN, None
        if token == "redirect":
            return STATUS.REDIRECT, "/login"
        if token in ("raise", "slow"):
            raise ValueError("refused on purpose")
        if token == "nonsense":
            return False, None
        if token == "" and _uri not in ("/system", "/who", "/login"):
            return STATUS.UNAUTHORIZED, None
        if token == "":
            return STATUS.GRANTED, None
        seen = [token, _uri, request["ip"], request["get"]]
        return STATUS.GRANTED, json.dumps(seen).encode()

    orthanc.RegisterHttpAuthentication(authenticate)

    def who(output, _uri, **request):
        output.AnswerBuffer(request.get("authenticationPayload", b""), "text/plain")

    orthanc.RegisterRestCallback("/who", who)
"""


@pytest.fixture(scope="module", params=["decorated", "plain"])
def server(request: pytest.FixtureRequest, shared_orthanc: OrthancFactory) -> Orthanc:
    """One Orthanc for each form, whose errors are provoked."""
    script = DECORATED if request.param == "decorated" else PLAIN
    return shared_orthanc(script, name=f"{request.param}.py", errors=["."])


@needs_new
@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("anna", 200),
        ("", 401),
        ("forbidden", 403),
        ("redirect", 307),
        ("raise", 500),
        ("nonsense", 500),
        ("slow", 500),
    ],
)
def test_status(server: Orthanc, token: str, status: int) -> None:
    """Each answer has its HTTP status, and a handler that fails lets nobody in."""
    answer = server.http.get("/studies", headers={"X-Token": token} if token else {})
    assert answer.status == status
    if status == 307:
        assert answer.headers["Location"].endswith("/login")


@needs_new
def test_payload(server: Orthanc) -> None:
    """Routes get what the handler has said about the client."""
    answer = server.http.get("/who?a=1", headers={"X-Token": "anna"})
    assert json.loads(answer.body) == ["anna", "/who", "127.0.0.1", {"a": "1"}]
    assert server.http.get("/who").body == b""


@needs_new
def test_only_one(orthanc_server: OrthancFactory) -> None:
    """A second authentication is an error that names both places."""
    error = orthanc_server.fails([PLAIN, PLAIN])
    assert "there can be only one handler" in error.log
    assert "script1.py:7" in error.log
    assert "script2.py:7" in error.log


@needs_new
def test_audit_log(orthanc_server: OrthancFactory) -> None:
    """Every handler gets each entry, also after one that has failed."""
    server = orthanc_server(
        """
        import json
        import orthanc
        from orthanc_async import AuditLog, on_audit_log, rest

        seen = []

        def plain(_source, _user, _level, _resource, _action, _data):
            seen.append([_source, _user, _level.name, _resource, _action, _data.decode()])

        async def broken(*_entry):
            raise ValueError("refused on purpose")

        orthanc.RegisterAuditLogHandler(broken)
        orthanc.RegisterAuditLogHandler(plain)

        @on_audit_log(timeout=5)
        async def decorated(entry: AuditLog):
            seen.append([entry.source, entry.user, entry.level.name, entry.resource, entry.action,
                         entry.data.decode()])

        @rest.get("/emit")
        async def emit(request):
            await orthanc.emit_audit_log(
                "source", "user", orthanc.ResourceType.STUDY, "resource", "action", b"data")
            return seen
        """,
        errors=["broken.*raised"],
    )
    entry = ["source", "user", "STUDY", "resource", "action", "data"]
    assert server.http.get("/emit").json() == [entry, entry]
    server.wait_log(r"script\.broken \(audit log\), audit log of source raised")


@pytest.mark.skipif(NEW, reason="built with the SDK of Orthanc 1.12.9 or newer")
@pytest.mark.parametrize("decorator", [http_authentication, on_audit_log])
def test_needs_a_newer_sdk(decorator: object) -> None:
    """With an older SDK, the error names the version that is needed."""
    assert callable(decorator)
    with pytest.raises(AttributeError, match=r"1\.12\.9"):
        decorator(str)


@pytest.mark.skipif(
    not NEW or installed_version() >= (1, 12, 9),
    reason="needs a plugin with the SDK of Orthanc 1.12.9, in an Orthanc older than that",
)
@pytest.mark.parametrize("function", ["RegisterHttpAuthentication", "RegisterAuditLogHandler"])
def test_needs_a_newer_orthanc(orthanc_server: OrthancFactory, function: str) -> None:
    """With a newer SDK in an older Orthanc, the script's error names the version, too."""
    error = orthanc_server.fails(f"import orthanc\northanc.{function}(print)\n")
    assert "1.12.9" in error.log
