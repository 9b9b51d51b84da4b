"""Dockerfile and compose.yaml say what docs/operations.md promises, and the topology of compose.yaml works: its processes run here as they
are, with the secrets that deploy/secrets.sh makes and a Redis whose user may do the least. test_image.py runs the Dockerfile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from compose_spec import PyCompose

from benchmarks.vendor import Vendor
from tests.conftest import REPOSITORY
from tests.service.servers import Server, own_postgres, own_redis
from tests.service.serving import Serving, serving
from verifier.service.settings import PREFIX, ServiceSettings, variable

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {"migrate", "api", "worker"}
STEPS = [
    line.partition(" ")[::2]
    for line in (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
LAST = max(number for number, (name, _) in enumerate(STEPS) if name == "FROM")


def test_the_compose_file_is_one_by_the_specification() -> None:
    # The package compose-spec (bindings of a strict parser of the Compose Specification) knows no YAML merge keys: they are merged first.
    parsed = PyCompose.from_yaml(yaml.safe_dump({name: part for name, part in COMPOSE.items() if not name.startswith("x-")}))
    assert set(parsed.service_names()) == {*OURS, "redis", "postgres"}
    broken = {**COMPOSE, "services": {**SERVICES, "api": {**SERVICES["api"], "read_onyl": True}}}
    with pytest.raises(ValueError, match="read_onyl"):
        PyCompose.from_yaml(yaml.safe_dump({name: part for name, part in broken.items() if not name.startswith("x-")}))


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_a_read_only_root_and_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "userns_mode"} & service.keys()
    user = service.get("user") or next(value for step, value in STEPS[LAST:] if step == "USER")
    assert int(user.partition(":")[0]) > 0, "not root, and by number, so that the runtime can check it"
    assert not any("docker.sock" in str(volume) or str(volume).startswith(("/", ".")) for volume in service.get("volumes", []))


def test_redis_and_postgresql_can_be_reached_by_our_containers_alone() -> None:
    for name in ("redis", "postgres"):
        assert "ports" not in SERVICES[name] and SERVICES[name]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["api"]["ports"])


def test_migrations_run_once_and_before_everything_else_of_ours() -> None:
    for name in ("api", "worker"):
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "postgres": {"condition": "service_healthy"},
            "redis": {"condition": "service_healthy"},
        }
    assert SERVICES["migrate"]["command"] == ["migrate"] and SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert "healthcheck" in SERVICES["redis"] and "healthcheck" in SERVICES["postgres"]


def test_no_secret_is_in_a_file_of_the_repository_or_in_an_environment_variable() -> None:
    fields = {variable(name): field for name, field in ServiceSettings.model_fields.items()}
    secret = {name for name, field in fields.items() if "SecretStr" in str(field.annotation)}
    for service in SERVICES.values():
        given = service.get("environment", {})
        assert not given.keys() & secret
        assert not [name for name in given if "PASSWORD" in name and not name.endswith("_FILE")]
        assert {name for name in given if name.startswith(PREFIX)} <= {*fields, "TRUENAME_SECRETS_DIR"}
    assert {part["file"].partition("/")[0] for part in COMPOSE["secrets"].values()} == {"secrets"}
    assert "secrets/" in (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert not [value for step, value in STEPS if step in ("ENV", "ARG") and any(word in value for word in ("KEY", "PASSWORD", "SECRET"))]


def test_the_image_installs_hashed_wheels_and_keeps_no_installer() -> None:
    installs = [value for step, value in STEPS if step == "RUN" and "pip" in value and "install" in value.split()]
    assert installs and all("--require-hashes" in each and "--only-binary=:all:" in each for each in installs)
    final = [value for step, value in STEPS[LAST:] if step == "RUN"]
    assert any("pip uninstall" in each for each in final)
    assert not [each for each in final if "apt-get" in each or "pip install" in each]


def test_the_image_runs_as_nobody_special_in_exec_form_and_checks_itself_without_curl() -> None:
    final = dict(STEPS[LAST:])
    assert int(final["USER"].partition(":")[0]) >= 10_000
    assert [name for name, _ in STEPS[LAST:]].index("USER") > [name for name, _ in STEPS[LAST:]].index("COPY")
    assert json.loads(final["ENTRYPOINT"]) == ["/app/venv/bin/python", "-m", "api"]
    assert json.loads(final["CMD"])[0] == "serve"
    assert final["STOPSIGNAL"] == "SIGTERM"
    check = json.loads(final["HEALTHCHECK"].partition("CMD ")[2])
    assert check[0] == "/app/venv/bin/python" and "/healthz" in check[-1]


def test_the_build_context_holds_what_is_copied_and_nothing_else() -> None:
    copied = {each for step, value in STEPS if step == "COPY" and "--from" not in value for each in shlex.split(value)[:-1]}
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((REPOSITORY / each).exists() for each in copied)


@dataclass
class Topology:
    """What compose.yaml describes, as processes of this machine."""

    api: Serving
    workers: list[subprocess.Popen[bytes]]
    queue: Server
    password: str

    def redis(self, user: str = "truename") -> redis.Redis:
        """A connection to the queue as one of its users."""
        return redis.Redis.from_url(self.queue.url, username=user, password=self.password, protocol=2)


def secret_files(folder: Path) -> Path:
    """What deploy/secrets.sh makes, with an access list that this machine's Redis knows too."""
    subprocess.run([REPOSITORY / "deploy" / "secrets.sh", folder], check=True)
    acl, version = folder / "redis_acl", subprocess.check_output(["redis-server", "--version"], text=True)
    if re.search(r"v=(6|7\.0)\.", version):  # the command came with 7.2; without it clients do without it
        acl.write_text(acl.read_text().replace(" +client|setinfo", ""))
    return folder


def test_secrets_are_whole_wherever_they_are_made_and_none_is_empty_where_their_making_broke_off(tmp_path: Path) -> None:
    made = secret_files(tmp_path / "far" / "secrets")
    assert "user default off" in (made / "redis_acl").read_text()
    assert all(file.stat().st_size for file in made.iterdir()) and {file.name for file in made.iterdir()} == set(COMPOSE["secrets"])
    (tmp_path / "openssl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "openssl").chmod(0o755)
    broken, without = tmp_path / "broken", os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert subprocess.run([REPOSITORY / "deploy" / "secrets.sh", broken], env=without, check=False).returncode != 0
    assert {file.name for file in secret_files(broken).iterdir() if file.stat().st_size} >= set(COMPOSE["secrets"]), "the next try is whole"


@contextlib.contextmanager
def topology(tmp_path: Path) -> Iterator[Topology]:
    """PostgreSQL, a Redis with the access list and the append-only file, `migrate`, the API and two workers."""
    secrets = secret_files(tmp_path / "secrets")
    with contextlib.ExitStack() as stack:
        # For this test's own look at the access list's log, which none of the service's users may read.
        with (secrets / "redis_acl").open("a") as acl:
            acl.write("user auditor on nopass +acl|log +config|get +info\n")
        queue = stack.enter_context(own_redis("--aclfile", str(secrets / "redis_acl"), "--appendonly", "yes", "--appendfsync", "everysec"))
        database = stack.enter_context(own_postgres())
        for name, server in (("truename_redis_url", queue), ("truename_database_url", database)):
            file = secrets / name
            made = file.read_text()
            # The host is another one here, and this PostgreSQL asks its superuser for no password.
            user = made.partition("://")[2].partition("@")[0] + "@" if name == "truename_redis_url" else ""
            file.write_text(server.url.replace("://", f"://{user}", 1))
        password = (secrets / "truename_redis_url").read_text().partition("truename:")[2].partition("@")[0]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment |= {
            "TRUENAME_SECRETS_DIR": str(secrets),
            "TRUENAME_ALLOWED_NETWORKS": "127.0.0.0/8",
            "TRUENAME_DATA_DIR": str(tmp_path / "w"),
        }
        command = [sys.executable, "-m", "api"]
        subprocess.run([*command, "migrate"], check=True, env=environment)
        log = stack.enter_context((tmp_path / "workers.log").open("wb"))
        workers = [subprocess.Popen([*command, "worker"], env=environment, stdout=log, stderr=log) for _ in range(2)]
        try:
            with serving(tmp_path / "api", secrets_dir=str(secrets)) as api:
                yield Topology(api, workers, queue, password)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


REFUSED = [
    "FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET dir /tmp", "KEYS *", "SCAN 0", "SHUTDOWN NOSAVE",
    "ACL LIST", "SAVE", "ACL SETUSER x on", "MODULE LIST", "REPLICAOF NO ONE", "MONITOR", "CLIENT LIST", "INFO", "EVAL return(1) 0",
    "CLIENT KILL TYPE normal", "FUNCTION LIST", "GET other", "SET other 1", "DEL other", "XADD other * a b", "HGETALL other",
    "PUBLISH other x", "PSUBSCRIBE *", "RENAME truename-audits:stream other", "MIGRATE h 1 k 0 1", "SELECT 1", "SWAPDB 0 1",
]  # fmt: skip


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(240)
async def test_the_topology_of_the_compose_file_runs_an_audit_and_its_redis_user_may_do_nothing_else(tmp_path: Path) -> None:
    with topology(tmp_path) as running:
        async with Vendor() as vendor:

            def walk() -> dict[str, Any]:
                target = {"base_url": vendor.base_url, "model": "m", "wire": "openai"}
                body = {"target": target, "claim": {"model": "gpt-4o"}, "suite": "quick", "max_requests": 3, "seed": 1}
                made = [running.api.post("/v1/audits", body | {"seed": seed}) for seed in range(4)]
                deadline = time.monotonic() + 120
                while True:
                    rows = running.api.get("/v1/audits")["items"]
                    if [row["status"] for row in rows] == ["done"] * len(made):
                        return running.api.get("/readyz")
                    assert time.monotonic() < deadline, (rows, (tmp_path / "workers.log").read_text()[-2000:])
                    time.sleep(1)

            assert (await asyncio.to_thread(walk))["status"] == "ok"
        metrics = running.api.curl("/metrics").decode()
        assert metrics.count("truename_worker_last_seen_seconds{") == 2 and "truename_queue_up 1.0" in metrics
        with running.redis("auditor") as auditor:
            denied = [entry for entry in auditor.acl_log() if "AUTH" not in str(entry)]
            assert denied == [], "the user may do all that the service needs"
            assert auditor.config_get("appendonly") == {"appendonly": "yes"}
        with running.redis() as client:
            allowed = []
            for line in REFUSED:
                try:
                    client.execute_command(*line.split(" "))
                    allowed.append(line)
                except redis.exceptions.NoPermissionError:
                    pass
            assert allowed == []
        for user, password in (("default", ""), ("default", running.password), ("truename", "wrong")):
            with (
                pytest.raises(redis.exceptions.AuthenticationError),
                redis.Redis.from_url(running.queue.url, username=user, password=password) as client,
            ):
                client.ping()
        with running.redis("healthcheck") as client:
            assert client.ping()
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.get("truename-audits:stream")
        for worker in running.workers:
            worker.terminate()
        assert [worker.wait(40) for worker in running.workers] == [0, 0]
        assert running.api.stop() == 0
