"""The same local weights on llama.cpp servers with different settings, and on another engine: transformers, in an environment of its own.

Takes a GGUF file, serves it on loopback in a process of its own, gives its base URL. Servers of one `Engine` and another are not
different engines: they share llama.cpp's kernels and sampler, and differ in what its settings can change (threads, key-value cache types,
flash attention, batch, prompt cache, sampler defaults). `transformers serve` shares nothing with them but the weights.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.real import environments
from verifier import local

LONG = Path(__file__).parents[1] / "tests" / "long"
TRANSFORMERS = LONG / "requirements-transformers.lock"
BATCHED = ("--dtype", "bfloat16", "--continuous-batching")
"""transformers as one would serve with it: half precision, and questions that come together answered together."""
START_TIMEOUT_S = 90.0
CACHE_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
"""ggml's numbers of the types that the key-value cache may have."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Settings of one server. Defaults are llama.cpp's, with one thread."""

    threads: int = 1
    slots: int = 1
    cache_type: str = "f16"
    flash_attention: int = -1
    """-1 automatic, 0 off, 1 on."""
    prompt_cache: bool = True
    context: int = 4096
    """Tokens per slot."""
    batch: int = 512
    top_k: int | None = None
    """None leaves llama.cpp's sampler default (40); 0 turns it off."""
    top_p: float | None = None
    min_p: float | None = None


@contextlib.contextmanager
def serve(gguf: Path, alias: str, engine: Engine) -> Iterator[str]:
    """Serve `gguf` with these settings on a free loopback port and give its base URL (…/v1)."""
    command = [sys.executable, "-m", "benchmarks.engines", str(gguf), alias, json.dumps(asdict(engine))]
    with local.running(command, gguf) as base_url:
        yield base_url


@contextlib.contextmanager
def transformers(programs: Path, gguf: Path, folder: Path, options: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Serve `gguf`, dequantised into `folder`, by `transformers serve` with these options; give base URL and model name.

    `programs` is the folder of the environment's programs (tests.real.environments). Raises pytest's Failed where it does not start.
    """
    model, port = folder / "weights", environments.free_port()
    convert = [str(programs / "python"), str(LONG / "convert.py"), str(gguf), str(model)]
    server = [str(programs / "transformers"), "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", *options]
    # The two as one program, so that a failed conversion says so in the log.
    script = folder / "serve.sh"
    script.write_text('set -e\n"${@:1:4}"\nexec "${@:5}"\n', encoding="utf-8")
    ready, offline = f"http://127.0.0.1:{port}/v1/models", {"HF_HUB_OFFLINE": "1"}
    with environments.running(["bash", str(script), *convert, *server], ready, folder / "log.txt", offline):
        yield f"http://127.0.0.1:{port}/v1", str(model)


def _child(gguf: str, alias: str, settings: str) -> None:
    """The server process: print the address once the model answers, then live until the parent closes our standard input."""
    import xllamacpp

    engine = Engine(**json.loads(settings))
    params: Any = xllamacpp.CommonParams()
    params.model.path, params.model_alias = gguf, [alias]
    params.hostnames, params.port, params.warmup = ["127.0.0.1"], 0, False
    params.n_ctx, params.n_parallel, params.n_batch = engine.context * engine.slots, engine.slots, engine.batch
    params.n_ubatch = min(engine.batch, 512)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = engine.threads
    params.cache_type_k = params.cache_type_v = type(params.cache_type_k)(CACHE_TYPES[engine.cache_type])
    params.flash_attn_type = type(params.flash_attn_type)(engine.flash_attention)
    params.cache_prompt = engine.prompt_cache
    for name in ("top_k", "top_p", "min_p"):
        if (value := getattr(engine, name)) is not None:
            setattr(params.sampling, name, value)
    server = xllamacpp.Server(params)
    address = server.listening_address
    for _ in range(int(START_TIMEOUT_S * 10)):
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(address + "/health", timeout=5) as reply:  # noqa: S310 - our own loopback server
                if reply.status == 200:
                    break
        time.sleep(0.1)
    print(address, flush=True)
    sys.stdin.read()
    os._exit(0)  # the native server has no stop of its own


if __name__ == "__main__":
    _child(*sys.argv[1:4])
