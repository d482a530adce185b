"""How a destination knows who sends: basic, bearer, OAuth 2, and certificates of our own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from orthanc_async import _checks, _registry
from orthanc_async._durable.attempt import RetryLater
from orthanc_async.forward._secrets import Secret, SecretSource, check_secret, is_header
from orthanc_async.forward._url import check_url

if TYPE_CHECKING:
    from orthanc_async.forward._secrets import Secrets

_AHEAD = 30.0  # seconds before its end that a token is renewed, but
_AHEAD_SHARE = 0.2  # … not more than this share of its time
_LONGEST = 120.0  # seconds for getting a token: all deliveries wait for it

Path = str | os.PathLike[str]
Token = str | tuple[str, float]
GiveToken = Callable[[], Token] | Callable[[], Awaitable[Token]]


class Auth:
    """What adds the header `Authorization` to requests. Thread: the loop's."""

    async def header(self, secrets: Secrets) -> str:
        """Return the header's value."""
        raise NotImplementedError

    def renew(self, _header: str) -> bool:
        """Note that this header was answered by 401; tell whether asking again may help."""
        return False


class Basic(Auth):
    """User and password, with each request.

    Args:
        user: The name.
        password: A text, or what `secret_from_env` or `secret_from_file` gives.
    """

    def __init__(self, user: str, password: Secret) -> None:
        given: object = user
        if not isinstance(given, str):
            raise TypeError(f"Basic: the user must be a text, not {type(given).__name__}")
        if ":" in user:
            raise ValueError("Basic: a user's name cannot hold a colon")
        check_secret(password, "Basic: password")
        self._user = user
        self._password = password

    def __repr__(self) -> str:
        return f"Basic({self._user!r}, …)"

    async def header(self, secrets: Secrets) -> str:
        """Return the header's value."""
        pair = f"{self._user}:{await secrets.reveal(self._password)}"
        encoded = base64.b64encode(pair.encode()).decode()
        secrets.hide(encoded)
        return f"Basic {encoded}"


class Bearer(Auth):
    """A bearer token, or a function that gets one.

    Args:
        token: The token; or a function, `async def` or `def`, without arguments that returns it,
            or it and the seconds for which it is valid. The function is called ahead of the
            token's end, and once when a request is answered by 401.
    """

    def __init__(self, token: Secret | GiveToken) -> None:
        if isinstance(token, str | SecretSource) or not callable(token):
            check_secret(token, "Bearer: token")
            if isinstance(token, str):
                _check_token(token, "Bearer: token")
        else:
            _registry.check_handler(token, "Bearer: token=")
        self._token: Any = token
        self._kept: str | None = None
        self._until = 0.0
        self._asked: asyncio.Future[Any] | None = None
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    async def header(self, secrets: Secrets) -> str:
        """Return the header's value."""
        if isinstance(self._token, str | SecretSource):
            token = await secrets.reveal(self._token)
            try:
                return f"Bearer {_check_token(token, repr(self._token))}"
            except ValueError as error:  # in a file or a variable, where it can be mended
                raise RetryLater(str(error)) from None
        async with self._lock:  # many deliveries, one token
            if self._kept is None or time.monotonic() >= self._until:
                try:
                    async with asyncio.timeout(_LONGEST):
                        token, seconds = await self._get(secrets)
                except TimeoutError:
                    what = f"{_registry.describe(self._token)}, given to Bearer, has"
                    raise RetryLater(f"{what} not given a token within {_LONGEST:g} s") from None
                ahead = min(_AHEAD, seconds * _AHEAD_SHARE)
                self._kept, self._until = token, time.monotonic() + seconds - ahead
            secrets.hide(self._kept)
            return f"Bearer {self._kept}"

    async def _get(self, secrets: Secrets) -> tuple[str, float]:
        if _registry.is_async(self._token):
            given = await self._token()
        else:
            if self._asked is None:
                self._asked = _in_thread(self._token)
            # One that was cancelled while it hung is still waited for: no second thread.
            given = await asyncio.shield(self._asked)
            self._asked = None
            if isinstance(given, _Raised):
                raise given.error
        if inspect.isawaitable(given):
            given = await given
        pair = given if isinstance(given, tuple) else (given, float("inf"))
        token, seconds = pair if len(pair) == 2 else (None, 0.0)
        if not isinstance(token, str) or not token:
            raise TypeError(
                f"{_registry.describe(self._token)}, given to Bearer, must return a token or "
                "(token, seconds)"
            )
        secrets.hide(token)
        where = f"what {_registry.describe(self._token)}, given to Bearer, returns"
        _check_token(token, where)
        if seconds != float("inf"):
            _checks.duration(where, "the time for which it is valid", seconds)
        return token, float(seconds)

    def renew(self, header: str) -> bool:
        """Forget the token; tell whether there may be another."""
        if header == f"Bearer {self._kept}":  # else another request has renewed it already
            self._kept = None
        return not isinstance(self._token, str)  # a file may hold a new one


class OAuth2ClientCredentials(Bearer):
    """Tokens by the client credentials grant of OAuth 2, renewed ahead of their end.

    Args:
        token_url: Where tokens are got.
        client_id: Who we are.
        client_secret: A text, or what `secret_from_env` or `secret_from_file` gives.
        scope: What is asked for.
        tls: For the connection to the token's server.
        in_body: Send name and secret as fields of the form rather than by basic authentication.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: Secret,
        scope: str | None = None,
        *,
        tls: TLS | None = None,
        in_body: bool = False,
    ) -> None:
        name = "OAuth2ClientCredentials"
        check_secret(client_secret, f"{name}: client_secret")
        _checks.text(name, "client_id", client_id)
        if scope is not None and not isinstance(scope, str):
            raise TypeError(f"{name}: scope must be a text, several with spaces between them")
        if tls is not None and not isinstance(tls, TLS):
            raise TypeError(f"{name}: tls must be forward.TLS(…)")
        self._url = check_url(token_url, name)
        self._client = client_id
        self._secret = client_secret
        self._scope = scope
        self._tls = tls
        self._in_body = in_body
        super().__init__(lambda: "")

    def __repr__(self) -> str:
        from orthanc_async.forward._errors import shown

        return f"OAuth2ClientCredentials({shown(self._url)!r}, {self._client!r}, …)"

    async def _get(self, secrets: Secrets) -> tuple[str, float]:
        import json
        from urllib.parse import quote_plus, urlencode

        from orthanc_async.forward._errors import check, shown
        from orthanc_async.forward._http import Http

        form = {"grant_type": "client_credentials"}
        if self._scope:
            form["scope"] = self._scope
        auth = None
        if self._in_body:
            form["client_id"] = self._client
            form["client_secret"] = await secrets.reveal(self._secret)
        else:
            # As the standard has it, both are encoded like a form before they are joined.
            secret = quote_plus(await secrets.reveal(self._secret))
            secrets.hide(secret)
            auth = Basic(quote_plus(self._client), secret)
        http = Http(tls=self._tls, auth=auth, secrets=secrets)
        try:
            headers = {
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            }
            answer = await http.send(
                "POST", self._url, headers=headers, body=urlencode(form).encode()
            )
        finally:
            await http.close()
        check(answer, secrets)
        try:
            given = json.loads(answer.body)
            token, seconds = given["access_token"], float(given.get("expires_in", 300))
        except (ValueError, KeyError, TypeError) as error:
            raise RetryLater(
                f"{shown(self._url)} gives no token that can be read: {error!r}"
            ) from None
        if not isinstance(token, str) or not token or not is_header(token):
            raise RetryLater(f"{shown(self._url)} gives a token that no header can hold")
        secrets.hide(token)
        return token, seconds


class _Raised:
    """What a function has raised in its thread: no future may have SystemExit."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _in_thread(function: Callable[[], Any]) -> asyncio.Future[Any]:
    """Call a script's function in a thread of its own: if it hangs, it takes no place of a pool.

    Returns:
        Its result, or a `_Raised`.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def work() -> None:
        result: Any
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - it belongs to the one who waits
            result = _Raised(error)
        with contextlib.suppress(RuntimeError):  # the loop has ended without us
            loop.call_soon_threadsafe(future.set_result, result)

    threading.Thread(target=work, name=_registry.describe(function), daemon=True).start()
    return future


def _check_token(token: str, where: str) -> str:
    if not is_header(token):
        raise ValueError(f"{where}: no header can hold this token: it must be printable ASCII")
    return token


class TLS:
    """What connections are made with, where the defaults do not fit.

    Args:
        certificate: File of the certificate (PEM, the chain after it) that we show.
        key: File of its key; None: it is in the certificate's file.
        password: Of the key, if it is encrypted.
        ca: File of the certificates (PEM) by which the other side's is verified, in place of
            those that the system trusts.
        verify: False verifies nothing: whoever sits between the two can read and change all.
    """

    def __init__(
        self,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        password: Secret | None = None,
        ca: Path | None = None,
        verify: bool = True,
    ) -> None:
        """Note the files; they are read when the first connection is made.

        Raises:
            TypeError: One is of the wrong kind.
            ValueError: One is empty, or they contradict each other.
        """
        for name, file in (("certificate", certificate), ("key", key), ("ca", ca)):
            if file is not None:
                _checks.text("TLS", name, os.fspath(file))
        given: object = verify
        if not isinstance(given, bool):
            raise TypeError(f"TLS: verify must be True or False, not {verify!r}")
        if key is not None and certificate is None:
            raise ValueError("TLS: key needs certificate")
        if ca is not None and not verify:
            raise ValueError("TLS: ca is for verifying, and verify=False does without")
        if password is not None:
            check_secret(password, "TLS: password")
        self._certificate = certificate
        self._key = key
        self._password = password
        self._ca = ca
        self._verify = verify

    def __repr__(self) -> str:
        given = {"certificate": self._certificate, "key": self._key, "ca": self._ca}
        parts = [f"{name}={os.fspath(file)!r}" for name, file in given.items() if file]
        if not self._verify:
            parts.append("verify=False")
        return f"TLS({', '.join(parts)})"

    async def context(self, secrets: Secrets) -> ssl.SSLContext:
        """Make the context, reading the files.

        Raises:
            OSError: A file cannot be read, or is none of the kind; the text names it.
        """
        password = await secrets.reveal(self._password) if self._password else ""
        return await asyncio.to_thread(self._make, password)

    def _make(self, password: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(self._ca)
            except OSError as error:
                raise OSError(f"TLS: ca={os.fspath(self._ca)!r}: {error}") from None
        if self._certificate is not None:
            try:
                # A function, or OpenSSL would ask the terminal for an encrypted key's password.
                context.load_cert_chain(self._certificate, self._key, password=lambda: password)
            except OSError as error:
                name = os.fspath(self._certificate)
                raise OSError(f"TLS: certificate={name!r}, or its key: {error}") from None
        return context
