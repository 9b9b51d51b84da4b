"""The service's settings: TRUENAME_* variables, read once at start.

An empty value means unset. Every value that cannot be used gives one clear line that names the variable and never shows the value,
which may be a key or hold a password. docs/settings.md lists all of them, and a test holds the two together.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import limits
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SecretsSettingsSource, SettingsConfigDict
from pydantic_settings import PydanticBaseSettingsSource as Source
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from verifier.endpoint.guard import service_policy
from verifier.errors import UsageError
from verifier.places import data_directory
from verifier.service.errors import ConfigError
from verifier.service.keys import key_bytes

PREFIX = "TRUENAME_"
SECRETS_VARIABLE = "TRUENAME_SECRETS_DIR"
MEMORY_QUEUE = "memory://"
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

_DATABASE_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_QUEUES = ("memory://", "redis://", "rediss://", "unix://")


class ServiceSettings(BaseSettings):
    """What the service is told by its surroundings. Make it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    data_dir: Path = Field(default_factory=data_directory, description="Where the default database and the keys that are made lie")
    database_url: SecretStr | None = Field(default=None, description="SQLite or PostgreSQL; default: truename.db in the data directory")
    redis_url: SecretStr = Field(default=SecretStr(MEMORY_QUEUE), description="The queue; memory:// needs no server and one process")
    secret_key: SecretStr | None = Field(default=None, description="Seals stored endpoint keys; 32 bytes in base64 or hexadecimal")
    old_secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="Earlier secret keys, comma-separated: they still open what they sealed"
    )
    signing_key: SecretStr | None = Field(default=None, description="Signs reports; default: made on first start in the data directory")
    allowed_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Networks that are not public and may be audited all the same: CIDR, comma-separated"
    )
    token_rate: str = Field(default="120/minute", description="API requests per token")
    submit_rate: str = Field(default="60/hour", description="Audits submitted per owner")
    origin_rate: str = Field(default="30/hour", description="Audits started against one origin, by all owners together")
    origin_daily_requests: int = Field(default=5_000, ge=1, description="Questions sent to one origin per UTC day, by all audits together")
    concurrent_audits: int = Field(default=50, ge=1, le=1_000, description="Audits that one worker process runs at a time")
    retention_days: int = Field(default=365, ge=1, description="Finished audits and their reports are removed after so many days")
    otlp_endpoint: SecretStr | None = Field(default=None, description="Collector of traces (OTLP over HTTP); needs truename[otel]")
    log_level: LogLevel = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: Source,
        env_settings: Source,
        dotenv_settings: Source,
        file_secret_settings: Source,
    ) -> tuple[Source, ...]:
        """Variables, then secret files."""
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, _secrets())

    @property
    def database(self) -> str:
        """The database's URL with the driver that we use; it may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        file = URL.create("sqlite+aiosqlite", database=str(self.data_dir / "truename.db"))
        return file.render_as_string(hide_password=False)

    @property
    def queue(self) -> str:
        """The queue's URL; it may hold a password."""
        return self.redis_url.get_secret_value()

    @property
    def embedded(self) -> bool:
        """Whether the queue lives in this process, so that the server must do the work itself."""
        return self.queue.startswith(MEMORY_QUEUE)

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError("it is not a database URL such as postgresql://user:password@host/name") from None
        if url.drivername not in _DATABASE_DRIVERS:
            raise ValueError("it names neither sqlite:// nor postgresql://")
        if url.get_backend_name() == "sqlite" and (not url.database or url.database == ":memory:"):
            raise ValueError("SQLite needs a file: sqlite:///path/to/truename.db")
        return SecretStr(url.set(drivername=_DATABASE_DRIVERS[url.drivername]).render_as_string(hide_password=False))

    @field_validator("redis_url")
    @classmethod
    def _known_queue(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(_QUEUES):
            raise ValueError("it begins with none of memory://, redis://, rediss://, unix://")
        return value

    @field_validator("old_secret_keys", "allowed_networks", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("secret_key", "old_secret_keys")
    @classmethod
    def _usable_keys(cls, value: SecretStr | tuple[SecretStr, ...] | None) -> SecretStr | tuple[SecretStr, ...] | None:
        for key in value if isinstance(value, tuple) else () if value is None else (value,):
            key_bytes(key)
        return value

    @field_validator("allowed_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            service_policy(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _collector(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("it begins with neither http:// nor https://")
        return value

    @field_validator("token_rate", "submit_rate", "origin_rate")
    @classmethod
    def _rate(cls, value: str) -> str:
        try:
            limits.parse(value)
        except ValueError:
            raise ValueError("it is not a rate such as 120/minute") from None
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


def load_settings() -> ServiceSettings:
    """The settings that the environment gives. Raises ConfigError, naming every variable that cannot be used."""
    try:
        return ServiceSettings()
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        problems = [f"{variable(str(each['loc'][0]))}: {_plain(each['msg'])}" for each in found]
    raise ConfigError("; ".join(problems), "correct or unset it (docs/settings.md lists every setting)")


def _secrets() -> Path | None:
    """The directory of secret files, as container runtimes mount them: each is named like its variable, in any case."""
    named = os.environ.get(SECRETS_VARIABLE)
    if named and not Path(named).is_dir():
        raise ConfigError(f"{SECRETS_VARIABLE}: it is not a directory", "mount the secrets there, or unset it")
    return Path(named) if named else None


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
