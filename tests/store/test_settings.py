"""The settings refuse what would not be safe."""

import threading
import uuid
from pathlib import Path

import pytest

from store.settings import Settings


def test_the_usual_lease_and_a_tenth_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CMAC_LEASE", raising=False)
    assert Settings().times == (10, 30, 100, 120)
    assert Settings(lease="1/3/10/12").times.scaled(30) == 3


@pytest.mark.parametrize("lease", ["10/20/100/120", "10/30/50/120", "10/30/110/120", "1/3/10", "a/b/c/d", "0/0/0/0"])
def test_a_lease_that_could_have_two_owners_is_refused(lease: str) -> None:
    with pytest.raises(ValueError, match="CMAC_LEASE"):
        Settings(lease=lease)


def test_a_home_has_one_id_however_many_ask(tmp_path: Path) -> None:
    settings, seen = Settings(home=tmp_path / "home"), []
    threads = [threading.Thread(target=lambda: seen.append(settings.installation)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1
    assert [file.name for file in (tmp_path / "home").iterdir()] == ["installation"]


def test_attempts_have_folders_of_their_own(tmp_path: Path) -> None:
    job = uuid.uuid4()
    assert Settings(home=tmp_path).attempt_folder(job, 2) == tmp_path / "jobs" / str(job) / "epoch-2"
