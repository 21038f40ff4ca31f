"""What every table is: names of constraints, types of columns."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Double, Enum, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from store.states import (
    AttemptState,
    CheckpointState,
    DatasetState,
    Desired,
    DeviceKind,
    DeviceState,
    EdgeKind,
    JobState,
    NodeState,
    PartState,
    StopFor,
)

JSON = dict[str, Any]

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def _enum(kind: type[StrEnum]) -> Enum:
    # Native enums break the second upgrade (CREATE TYPE exists); text with a CHECK does not.
    return Enum(
        kind, native_enum=False, length=16, create_constraint=True, values_callable=lambda e: [m.value for m in e]
    )


class Table(DeclarativeBase):
    """Base: naming convention, time zones, enums as text, JSON as jsonb."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        int: BigInteger(),
        float: Double(),
        datetime: DateTime(timezone=True),
        JSON: JSONB(none_as_null=True),
        dict[str, str]: JSONB(none_as_null=True),
        **{
            kind: _enum(kind)
            for kind in (
                JobState,
                AttemptState,
                PartState,
                Desired,
                StopFor,
                EdgeKind,
                NodeState,
                DeviceKind,
                DeviceState,
                CheckpointState,
                DatasetState,
            )
        },
    }


# Of tables that get many rows at once: to be told what the server filled in takes six times as long.
UNREAD: dict[str, Any] = {"eager_defaults": False}


def own_id() -> Mapped[uuid.UUID]:
    """The column of a row's id, given when it is made."""
    return mapped_column(primary_key=True, default=uuid.uuid4)


def now() -> Mapped[datetime]:
    """A column that holds when its row was stored."""
    return mapped_column(server_default=func.now())
