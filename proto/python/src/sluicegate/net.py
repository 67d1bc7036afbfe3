"""The connection to the service: where it is, whom we trust, what goes with every call."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import grpc

from .core.verdict import Status
from .errors import InvalidSetting

if TYPE_CHECKING:
    from .settings import Pem, Settings

_SERVICE = "/sluicegate.v1.SensorService"
OPEN_STREAM = f"{_SERVICE}/OpenStream"
STREAM_READINGS = f"{_SERVICE}/StreamReadings"
STREAM_READINGS_ACKED = f"{_SERVICE}/StreamReadingsAcked"
GREETING = "/grpc.health.v1.Health/Check"
"""Any answer shows that the service is reached, before anything is sent that takes effect."""

_PORTS = {"http": 80, "https": 443}
_CERTIFICATE, _KEY = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----"
# Where a system keeps all authorities in one file, if Python does not know.
_SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


class Unauthenticated(Exception):
    """There is no token to send."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.status = Status(grpc.StatusCode.UNAUTHENTICATED, reason)


class Dialer:
    """Knows how to connect; checked when it is made."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.address, is_secure = _address(settings)
        self.credentials = _credentials(settings) if is_secure else None
        if settings.bearer_token is not None and not _is_visible(settings.bearer_token):
            raise InvalidSetting("bearer_token", "must be visible ASCII characters")
        self.options = _options(settings)

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The token that goes with a call."""
        token, path = self._settings.bearer_token, self._settings.bearer_token_file
        if path is not None:
            # Read anew for each call: calls are long.
            try:
                token = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise Unauthenticated(f"bearer_token_file {os.fspath(path)}: {error}") from None
            if not _is_visible(token):
                raise Unauthenticated(f"bearer_token_file {os.fspath(path)}: must be visible ASCII characters")
        return () if token is None else (("authorization", f"Bearer {token}"),)

    def unopened(self, error: grpc.RpcError) -> Status:
        """Why the stream was not opened."""
        status = status_of(error)
        if status.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Status(status.code, f"{self._settings.target} did not open the stream in time")
        return status

    def unreachable(self, error: grpc.RpcError) -> Status:
        """Why there is no connection, in the words that say most."""
        status = self.unopened(error)
        if status.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return status
        reason = f"cannot connect to {self._settings.target}: {status.message}"
        if "refused" not in status.message.lower():
            reason += " (https:// in the target is for a service with TLS, and http:// for one without)"
        return Status(status.code, reason)


def is_no_connection(error: grpc.RpcError) -> bool:
    """Whether a greeting did not get through. A service without that call has answered as well."""
    return status_of(error).code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    )


def status_of(error: grpc.RpcError) -> Status:
    # Every error that a call ends with has both.
    code, details = error.code(), error.details()
    return Status(code, details or "")


def as_it_is(message: bytes) -> bytes:
    """Messages are encoded already."""
    return message


def _address(settings: Settings) -> tuple[str, bool]:
    """Host and port, and whether TLS is spoken there."""
    target = settings.target
    parts = urlsplit(target if "://" in target else f"http://{target}")
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        port = None
    if port is None or not parts.hostname or parts.path not in ("", "/"):
        raise InvalidSetting("target", f"{target!r} is no address such as http://127.0.0.1:50051")
    is_secure = parts.scheme == "https"
    tls = (settings.tls_ca, settings.tls_identity, settings.tls_server_name)
    if not is_secure and any(setting is not None for setting in tls):
        raise InvalidSetting("target", "must begin with https:// where settings of TLS are given")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}", is_secure


def _options(settings: Settings) -> list[tuple[str, int | str]]:
    keepalive_ms = max(int(settings.keepalive_s * 1000), 1)
    options: list[tuple[str, int | str]] = [
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", keepalive_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", -1),
        # Each producer has a connection of its own, and decides itself when to try again.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]
    if settings.tls_server_name is not None:
        options.append(("grpc.ssl_target_name_override", settings.tls_server_name))
    return options


def _is_visible(token: str) -> bool:
    return bool(token) and all("!" <= character <= "~" for character in token)


def _credentials(settings: Settings) -> grpc.ChannelCredentials:
    authorities = _system_authorities() if settings.tls_ca is None else _pem("tls_ca", settings.tls_ca, _CERTIFICATE)
    if settings.tls_ca is not None and authorities is not None:
        try:
            ssl.create_default_context(cadata=authorities.decode())
        except (ssl.SSLError, ValueError) as error:
            raise InvalidSetting("tls_ca", f"cannot be read: {error}") from None
    certificate = key = None
    if settings.tls_identity is not None:
        certificate = _pem("tls_identity", settings.tls_identity[0], _CERTIFICATE)
        key = _pem("tls_identity", settings.tls_identity[1], _KEY)
        if b"ENCRYPTED" in key:
            raise InvalidSetting("tls_identity", "has a key with a passphrase: take it off, and let nobody else read the file")
    return grpc.ssl_channel_credentials(authorities, key, certificate)


def _pem(setting: str, given: Pem, has: bytes) -> bytes:
    if isinstance(given, bytes):
        content, name = given, "the bytes"
    else:
        try:
            content, name = Path(given).read_bytes(), os.fspath(given)
        except OSError as error:
            raise InvalidSetting(setting, f"cannot be read: {error}") from None
    if has not in content:
        wanted = "certificate" if has == _CERTIFICATE else "private key"
        raise InvalidSetting(setting, f"has no {wanted} in PEM ({name})")
    return content


def _system_authorities() -> bytes | None:
    """Those that the system trusts, for gRPC brings its own; None when they are not found."""
    known = ssl.get_default_verify_paths().cafile
    for path in (known, *_SYSTEM_BUNDLES):
        if path is not None and Path(path).is_file():
            return Path(path).read_bytes()
    found = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode() or None
