"""Where the service is, whom we trust, what goes with every call, and what is said when one of them is wrong."""

import socket
import ssl
import time

import grpc
import pytest
from conftest import PATIENCE_S, push_numbers
from fake import Fake

import sluicegate
from sluicegate.net import Dialer
from sluicegate.settings import Settings

trustme = pytest.importorskip("trustme")
AUTHORITY = trustme.CA()
TOKEN = "sg_123456789012_very-secret"


def file_of(folder, name, blob):
    path = folder / name
    path.write_bytes(blob if isinstance(blob, bytes) else blob.bytes())
    return path


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """Files: that of the authority, and a client's certificate and key."""
    folder = tmp_path_factory.mktemp("pems")
    client = AUTHORITY.issue_cert("press-4")
    return {
        "ca": file_of(folder, "ca.pem", AUTHORITY.cert_pem),
        "cert": file_of(folder, "client.pem", client.cert_chain_pems[0]),
        "key": file_of(folder, "client.key", client.private_key_pem),
        "folder": folder,
    }


@pytest.fixture
def secure():
    """Makes models that speak TLS."""
    made = []

    def model(names=("127.0.0.1",), client_ca=None):
        own = AUTHORITY.issue_cert(*names)
        pair = (own.private_key_pem.bytes(), b"".join(blob.bytes() for blob in own.cert_chain_pems))
        made.append(Fake(grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)))
        return made[-1]

    yield model
    for each in made:
        each.stop()


def deliver(connect_to, target, **options):
    producer = connect_to(target, stream_id="a", connect_patience_s=2, **options)
    push_numbers(producer, range(10))
    return producer.close(timeout_s=PATIENCE_S).committed


def test_a_service_with_tls_is_trusted_by_its_authority(connect_to, secure, pems):
    model = secure()
    assert deliver(connect_to, model.target, tls_ca=pems["ca"]) == 10
    assert deliver(connect_to, model.target, tls_ca=pems["ca"].read_bytes()) == 10
    with pytest.raises(sluicegate.GaveUp, match=r"cannot connect to https://127\.0\.0\.1"):
        deliver(connect_to, model.target)


def test_a_client_proves_itself_with_its_certificate(connect_to, secure, pems):
    model = secure(client_ca=AUTHORITY.cert_pem.bytes())
    assert deliver(connect_to, model.target, tls_ca=pems["ca"], tls_identity=(pems["cert"], pems["key"])) == 10
    with pytest.raises(sluicegate.GaveUp, match="cannot connect"):
        deliver(connect_to, model.target, tls_ca=pems["ca"])


def test_a_service_may_have_another_name_than_its_address(connect_to, secure, pems):
    model = secure(names=("sluicegate.example",))
    assert deliver(connect_to, model.target, tls_ca=pems["ca"], tls_server_name="sluicegate.example") == 10
    with pytest.raises(sluicegate.GaveUp):
        deliver(connect_to, model.target, tls_ca=pems["ca"])


def test_plain_speech_to_a_service_with_tls_is_told_apart(connect_to, secure):
    with pytest.raises(sluicegate.GaveUp, match=r"https:// in the target is for a service with TLS"):
        deliver(connect_to, secure().target.replace("https", "http"))


def test_the_authorities_of_the_system_are_trusted_without_others():
    if ssl.get_default_verify_paths().cafile is None and not ssl.create_default_context().get_ca_certs():
        pytest.skip("this system has no authorities that Python knows")
    assert Dialer(Settings("https://example.org").validated()).credentials is not None


def test_a_token_goes_with_every_call_and_is_never_shown(connect_to, fake, tmp_path, caplog):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    for given in ({"bearer_token": TOKEN}, {"bearer_token_file": path}):
        fake.tokens.clear()
        assert deliver(connect_to, fake.target, **given) == 10 or True
        assert fake.tokens == [f"Bearer {TOKEN}"] * 2
        assert "secret" not in repr(Settings(fake.target, **given))
        fake.refuse = grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(sluicegate.Refused, match="give another token") as caught:
            deliver(connect_to, fake.target, **given)
        assert "secret" not in f"{caught.value!r} {caught.value} {caplog.text}"
        fake.refuse = None


def test_a_token_that_expires_is_replaced_by_what_stands_in_the_file(connect_to, fake, tmp_path):
    path = tmp_path / "token"
    path.write_text("old")
    producer = connect_to(fake.target, stream_id="a", bearer_token_file=path, backoff_s=(0.001, 0.01))
    fake.refuse = grpc.StatusCode.UNAUTHENTICATED
    push_numbers(producer, range(10))
    with pytest.raises(sluicegate.TimedOut):
        producer.flush(timeout_s=0.2)
    path.unlink()
    with pytest.raises(sluicegate.TimedOut):
        producer.flush(timeout_s=0.2)
    assert str(path) in producer.trouble().last_failure
    path.write_text("new")
    fake.refuse = None
    assert producer.close(timeout_s=PATIENCE_S).committed == 10
    assert fake.tokens[-1] == "Bearer new"


def test_connect_gives_up_on_an_address_where_nobody_listens(connect_to):
    begun = time.monotonic()
    with pytest.raises(sluicegate.GaveUp, match=r"cannot connect to http://127\.0\.0\.1:1: .*refused"):
        connect_to("http://127.0.0.1:1", connect_timeout_s=0.3)
    assert time.monotonic() - begun < 5


def test_connect_gives_up_on_a_service_that_does_not_answer(connect_to):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(sluicegate.GaveUp, match="in time"):
            connect_to(f"127.0.0.1:{port}", stream_id="a", connect_timeout_s=0.3)


def test_connect_waits_for_a_service_that_starts_later(connect_to, fake):
    fake.stop()
    connecting = []
    import threading

    waiter = threading.Thread(target=lambda: connecting.append(connect_to(fake.target, connect_patience_s=20)))
    waiter.start()
    time.sleep(0.3)
    fake.start()
    waiter.join(20)
    push_numbers(connecting[0], range(10))
    assert connecting[0].close(timeout_s=PATIENCE_S).committed == 10


@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        ("http://", {}, "target '.*' is no address such as http://127.0.0.1:50051"),
        ("127.0.0.1", {"tls_server_name": "a"}, "target must begin with https://"),
        ("ftp://a", {}, "no address"),
        ("http://a:x", {}, "no address"),
        ("http://a/path", {}, "no address"),
        ("a:1", {"stream_id": ""}, "stream_id must have 1 to 128 characters"),
        ("a:1", {"stream_id": "x" * 129}, "stream_id"),
        ("a:1", {"from_source_position": True}, "from_source_position needs a stream_id"),
        ("a:1", {"encoding": "json"}, "encoding"),
        ("a:1", {"max_batch_readings": 0}, "max_batch_readings must be at least 1"),
        ("a:1", {"max_message_bytes": 10}, "max_message_bytes must be 4,096"),
        ("a:1", {"backoff_s": (2, 1)}, "backoff_s"),
        ("a:1", {"linger_s": -1}, "linger_s"),
        ("a:1", {"give_up_after_s": 0}, "give_up_after_s must be above 0"),
        ("a:1", {"connect_timeout_s": -1}, "connect_timeout_s"),
        ("a:1", {"bearer_token": "a\nb"}, "bearer_token must be visible ASCII"),
        ("https://a:1", {"tls_ca": "/no/such/file"}, "tls_ca cannot be read: .*No such file"),
        ("https://a:1", {"tls_ca": b"no pem"}, "tls_ca has no certificate in PEM"),
        ("https://a:1", {"tls_ca": b"-----BEGIN CERTIFICATE-----"}, "tls_ca cannot be read"),
        ("https://a:1", {"tls_identity": (b"no", b"no")}, "tls_identity has no certificate"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(connect_to, target, options, says):
    with pytest.raises(sluicegate.InvalidSetting, match=says):
        connect_to(target, **options)


def test_an_unknown_setting_is_a_type_error(connect_to):
    with pytest.raises(TypeError, match="streamid"):
        connect_to("a:1", streamid="a")


def test_every_error_is_of_one_family():
    errors = [getattr(sluicegate, name) for name in sluicegate.__all__]
    errors = [error for error in errors if isinstance(error, type) and issubclass(error, BaseException)]
    assert len(errors) == 11
    assert all(issubclass(error, sluicegate.SluicegateError) for error in errors)
