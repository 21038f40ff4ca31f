"""Who may do what."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from store import keys
from store.errors import Forbidden, NotFound, Unauthenticated
from store.keys import Principal, Role
from store.tables import ApiKey, User


def test_a_key_is_its_users_and_only_its_hash_is_kept(session: Session) -> None:
    key, token = keys.create_key(session, "eva", "laptop", Role.submitter)
    assert token.startswith(f"cmac_{key.prefix}_")
    assert token.split("_", 2)[2] not in str(vars(key))
    who = keys.authenticate(session, token)
    assert who == Principal("eva", Role.submitter, None, key.prefix)
    session.expire_all()
    assert key.last_used_at is not None


@pytest.mark.parametrize("wrong", ["", "cmac_", "cmac_000000000000_" + "x" * 43, "cmac_" + "é" * 56, "Bearer x"])
def test_an_unknown_key_is_refused_without_a_word_why(session: Session, wrong: str) -> None:
    with pytest.raises(Unauthenticated):
        keys.authenticate(session, wrong)


def test_a_wrong_secret_a_revoked_an_expired_and_a_disabled_key_are_refused(session: Session) -> None:
    key, token = keys.create_key(session, "eva", "laptop", Role.viewer, days=1)
    keys.authenticate(session, token)
    with pytest.raises(Unauthenticated):
        keys.authenticate(session, token[:-1] + ("a" if token[-1] != "a" else "b"))
    session.execute(update(User).where(User.name == "eva").values(disabled=True))
    with pytest.raises(Unauthenticated):
        keys.authenticate(session, token)
    session.execute(update(User).values(disabled=False))
    session.execute(update(ApiKey).values(expires_at=func.now() - timedelta(seconds=1)))
    with pytest.raises(Unauthenticated):
        keys.authenticate(session, token)
    session.execute(update(ApiKey).values(expires_at=None))
    keys.revoke_key(session, key.prefix)
    with pytest.raises(Unauthenticated):
        keys.authenticate(session, token)
    with pytest.raises(NotFound):
        keys.revoke_key(session, key.prefix)


def test_a_key_is_never_wider_than_its_user(session: Session) -> None:
    keys.create_key(session, "eva", "first", Role.viewer)
    _, token = keys.create_key(session, "eva", "second", Role.admin)
    assert keys.authenticate(session, token).role is Role.viewer
    assert len(keys.list_keys(session, "eva")) == 2


def test_a_rotated_key_opens_until_its_grace_is_over(session: Session) -> None:
    admin = Principal("admin", Role.admin)
    old, token = keys.create_key(session, "eva", "laptop", Role.submitter, "default", days=30)
    session.execute(update(ApiKey).where(ApiKey.id == old.id).values(created_at=func.now() - timedelta(days=29)))
    session.execute(update(ApiKey).where(ApiKey.id == old.id).values(expires_at=func.now() + timedelta(days=1.5)))
    new, fresh = keys.rotate_key(session, old.id, admin)
    assert keys.authenticate(session, token) == Principal("eva", Role.submitter, "default", old.prefix)
    assert keys.authenticate(session, fresh) == Principal("eva", Role.submitter, "default", new.prefix)
    session.expire_all()
    assert new.name == "laptop"
    assert new.expires_at - new.created_at == timedelta(days=30.5), "it lasts as long as the old one did"
    assert session.scalar(select(func.now())) + timedelta(days=1) == old.expires_at
    _, last = keys.rotate_key(session, old.id, admin, timedelta(0))
    with pytest.raises(Unauthenticated):
        keys.authenticate(session, token)
    assert keys.authenticate(session, last).user == "eva"
    with pytest.raises(NotFound):
        keys.rotate_key(session, old.id, admin)


def test_rotating_gives_nobody_more_time_role_or_projects(session: Session) -> None:
    soon, _ = keys.create_key(session, "eva", "soon", Role.operator, days=0.5)
    lasting, _ = keys.create_key(session, "eva", "lasting", Role.submitter)
    before = soon.expires_at
    keys.rotate_key(session, soon.id, Principal("eva", Role.operator))
    session.expire_all()
    assert soon.expires_at == before, "a grace is no extension"
    assert keys.rotate_key(session, lasting.id, Principal("eva", Role.submitter))[0].expires_at is None
    with pytest.raises(Forbidden):
        keys.rotate_key(session, soon.id, Principal("eva", Role.submitter))
    with pytest.raises(Forbidden):
        keys.rotate_key(session, lasting.id, Principal("eva", Role.submitter, "default"))
    keys.revoke_key(session, lasting.prefix)
    with pytest.raises(NotFound):
        keys.rotate_key(session, lasting.id, Principal("eva", Role.submitter))


def test_the_first_start_makes_one_key_and_no_second(session: Session) -> None:
    assert keys.bootstrap(session) is None  # the fixture was the first start
    assert session.scalar(select(func.count()).select_from(ApiKey)) == 1


def test_the_admins_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "admin.key"
    file.touch(0o644)
    assert keys.keep_admin_key(tmp_path, "cmac_x").read_text() == "cmac_x\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_roles_include_those_below() -> None:
    for n, role in enumerate(Role):
        for m, other in enumerate(Role):
            assert role.includes(other) == (n >= m)
    with pytest.raises(Forbidden):
        Principal("vi", Role.viewer).require(Role.submitter)
