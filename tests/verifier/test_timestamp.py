"""Time stamps (RFC 3161) from a real authority: OpenSSL's, behind HTTP on loopback."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from api.cli import main
from tests.verifier.signed import flips, small_report
from verifier.canonical import TamperedError
from verifier.signing import ENVELOPE
from verifier.timestamp import STAMP, stamped_at

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

SETTINGS = """
[req]
distinguished_name = name
prompt = no
[name]
CN = a test's authority
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = tsa_config
[tsa_config]
serial = serial
crypto_device = builtin
signer_cert = leaf.pem
signer_key = leaf.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    """A running authority."""

    url: str
    roots: Path
    answer: bytes | None = None
    """What it answers in place of a time stamp."""
    asked: int = 0


def make_authority(folder: Path) -> Path:
    """A root and, under it, a certificate that may stamp; gives the root's file."""
    folder.mkdir()
    (folder / "ts.cnf").write_text(SETTINGS, encoding="utf-8")
    (folder / "serial").write_text("01\n", encoding="utf-8")
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config ts.cnf -days 2"
    for command in (
        f"{new} -extensions root -subj /CN=root -keyout root.key -out root.pem",
        f"{new} -extensions leaf -subj /CN=stamps -CA root.pem -CAkey root.key -keyout leaf.key -out leaf.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder / "root.pem"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture
def authority(made: Path) -> Iterator[Authority]:
    state = Authority("", made)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.asked += 1
            assert self.headers["content-type"] == "application/timestamp-query"
            (made.parent / "query").write_bytes(self.rfile.read(int(self.headers["content-length"])))
            reply = state.answer
            if reply is None:
                command = "openssl ts -reply -config ts.cnf -section tsa_config -queryfile query -out reply"
                subprocess.run(command.split(), cwd=made.parent, check=True, capture_output=True, timeout=60)
                reply = (made.parent / "reply").read_bytes()
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}/"
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved report."""
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "data"))
    small_report().save(tmp_path / "out")
    return tmp_path / "out"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code, and stdout with stderr."""
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return int(stop.value.code or 0), "".join(capsys.readouterr())


def test_a_stamped_report_says_by_when_it_was_signed(capsys: pytest.CaptureFixture[str], folder: Path, authority: Authority) -> None:
    assert run(capsys, "timestamp", folder, "--authority", authority.url)[0] == 0 and authority.asked == 1
    code, said = run(capsys, "verify", folder, "--authority", authority.roots)
    assert code == 0 and "✓ time stamp" in said and "signed before 20" in said
    moment = stamped_at((folder / STAMP).read_bytes(), (folder / ENVELOPE).read_bytes(), authority.roots.read_bytes())
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
    code, said = run(capsys, "verify", folder)
    assert code == 0 and "– time stamp   there is one" in said
    outside = ["openssl", "ts", "-verify", "-data", ENVELOPE, "-in", STAMP, "-CAfile", str(authority.roots)]
    assert subprocess.run(outside, cwd=folder, capture_output=True, timeout=60, check=False).returncode == 0
    small_report().save(folder)
    assert not (folder / STAMP).exists()  # it was the stamp of what lay there before


def test_a_stamp_of_another_report_of_another_authority_or_changed_does_not_hold(
    capsys: pytest.CaptureFixture[str], folder: Path, authority: Authority, tmp_path: Path
) -> None:
    assert "there is no report.dsse.tsr" in run(capsys, "verify", folder, "--authority", authority.roots)[1]
    run(capsys, "timestamp", folder, "--authority", authority.url)
    stamp, envelope, roots = ((path).read_bytes() for path in (folder / STAMP, folder / ENVELOPE, authority.roots))
    for data in (stamp[:-1], b"", b"0" * 90, stamp + b"\n"):
        with pytest.raises(TamperedError, match="stamp the report again"):
            stamped_at(data, envelope, roots)
    for _, flipped in flips(envelope[:100]):
        with pytest.raises(TamperedError):
            stamped_at(stamp, flipped + envelope[100:], roots)
    other = make_authority(tmp_path / "other")
    code, said = run(capsys, "verify", folder, "--authority", other)
    assert code == 1 and "✗ time stamp   the time stamp does not hold" in said
    for wrong in (tmp_path / "none.pem", folder / ENVELOPE):
        assert run(capsys, "verify", folder, "--authority", wrong)[0] == 4


def test_an_authority_that_replays_or_refuses_gives_no_stamp(
    capsys: pytest.CaptureFixture[str], folder: Path, authority: Authority
) -> None:
    run(capsys, "timestamp", folder, "--authority", authority.url)
    replayed = (folder / STAMP).read_bytes()
    (folder / STAMP).unlink()
    refused = bytes.fromhex("300730050201023000")
    for answer in (replayed, refused, b"", b"<html>"):
        authority.answer = answer
        code, said = run(capsys, "timestamp", folder, "--authority", authority.url)
        assert code == 4 and "did not give a time stamp for this report; check --authority" in said and "Traceback" not in said
    assert not (folder / STAMP).exists()
    assert run(capsys, "timestamp", folder, "--authority", "http://169.254.169.254/")[0] == 4
    assert run(capsys, "timestamp", folder, "--authority", "http://127.0.0.1:9/")[0] == 4
