"""What an operator may set about the HTTP face. All limits protect a lab; benchmarks raise them and say so."""

from functools import cache

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1 << 20


class ApiSettings(BaseSettings):
    """Read from CMAC_API_* at the first call of `api_settings()`."""

    model_config = SettingsConfigDict(env_prefix="CMAC_API_", extra="ignore", frozen=True, env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="Address to listen on. Another one than loopback deserves TLS.")
    port: NonNegativeInt = Field(8300, le=65535, description="0 takes a free one.")
    tls_cert: str | None = Field(None, description="PEM file of a certificate; with tls_key the service speaks HTTPS.")
    tls_key: str | None = None
    body_limit: PositiveInt = Field(MIB, description="Largest request body, bytes.")
    json_depth: PositiveInt = Field(16, description="Deepest nesting of a request body.")
    rate: PositiveFloat = Field(20.0, description="Requests a second, for each key.")
    burst: PositiveInt = Field(60, description="Requests at once, for each key.")
    streams_per_key: PositiveInt = 8
    streams: PositiveInt = Field(200, description="Open streams in all.")
    stream_comment_s: PositiveFloat = Field(15.0, description="A silent stream says that it lives this often.")
    stream_poll_s: PositiveFloat = Field(
        2.0, description="Streams look at the database this often even when nothing wakes them."
    )
    shutdown_s: PositiveInt = Field(10, description="How long requests may finish when the service is asked to stop.")


@cache
def api_settings() -> ApiSettings:
    """The settings of this process."""
    return ApiSettings()
