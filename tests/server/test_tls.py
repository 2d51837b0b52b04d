"""https: HTTP/1.1, HTTP/2 by ALPN, and WebSockets on one port, with a certificate made here."""

import datetime
import http.client
import ipaddress
import json
import ssl
from urllib.parse import urlencode

import httpx
import pytest
import websocket
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.server.running import TOKEN, running


def certificate(folder):
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(files):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*files)
    with running(tls=tls) as server:
        server.node.ksql.execute(
            "CREATE STREAM S (ID INT KEY, V STRING) "
            "WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
            "INSERT INTO S VALUES (1, 'a'); INSERT INTO S VALUES (2, 'b');"
        )
        yield server


@pytest.fixture(scope="module")
def trust(files):
    return ssl.create_default_context(cafile=files[0])


def url(server):
    return f"https://127.0.0.1:{server.port}"


PUSH = {"sql": "SELECT * FROM S EMIT CHANGES LIMIT 2;", "properties": {"auto.offset.reset": "earliest"}}


@pytest.mark.parametrize(("http2", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
def test_the_client_chooses_the_version(server, trust, http2, version):
    with httpx.Client(verify=trust, http2=http2, auth=("x", TOKEN), timeout=20) as client:
        assert client.get(f"{url(server)}/info").http_version == version
        answer = client.post(f"{url(server)}/query-stream", json=PUSH)
        assert answer.text.splitlines()[1:] == ['[1,"a"]', '[2,"b"]']


def test_a_client_without_alpn_gets_http1(server, files):
    plain = ssl.create_default_context(cafile=files[0])
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=plain, timeout=20)
    connection.request("POST", "/query-stream", json.dumps(PUSH), {"Authorization": f"Bearer {TOKEN}"})
    assert connection.getresponse().read().endswith(b'[2,"b"]\n')
    connection.close()


def test_websockets_are_served_too(server, files):
    parameters = urlencode({"token": TOKEN, "request": json.dumps({"ksql": "SELECT V FROM S;"})})
    socket = websocket.create_connection(
        f"wss://127.0.0.1:{server.port}/ws/query?{parameters}",
        sslopt={"ca_certs": str(files[0])},
        suppress_origin=True,
        timeout=20,
    )
    socket.recv()
    assert json.loads(socket.recv()) == {"row": {"columns": ["a"]}}
    socket.close()


def test_plain_http_is_not_answered(server):
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{server.port}/info", timeout=20)
