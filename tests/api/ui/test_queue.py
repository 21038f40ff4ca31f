"""What one sees of the queue without asking anybody."""

import re
import uuid
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, update

from cmac_core.events import Progress
from store import database, nodes
from store.keys import Role
from store.nodes import FoundDevice
from store.states import DeviceKind
from store.tables import Device, Job, Node
from tests.api.conftest import RETRIEVAL
from tests.api.ui.conftest import Browser


def section(text: str, name: str) -> str:
    """The words of one section of a page, without marks."""
    found = re.search(rf'<section id="{name}".*?</section>', text, re.DOTALL)
    assert found is not None
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[0])).split())


@pytest.fixture
def owner() -> str:
    return f"u-{uuid.uuid4().hex[:8]}"


def test_running_jobs_stand_with_machine_and_progress(lab: Any, browse: Browser, owner: str) -> None:
    with lab.client(lab.key(Role.submitter, user=owner)) as http:
        job = http.post("/jobs", json=RETRIEVAL | {"name": "runs <here>"}).json()["id"]
    lease = lab.start(job)
    lab.tell(lease, Progress(step=30, of=120, rate=2.5, unit="clips", eta_s=36, phase="features"))
    text = browse().get("/ui/queue", params={"owner": owner}).text
    assert "runs &lt;here&gt;" in text
    said = section(text, "running")
    assert re.search(r"runs <here> retrieval \S+ default running here CPU \d+", said)
    assert "features 30/120, 2.5 clips/s, 36 s left" in said
    assert job in text.split('id="machines"')[1]  # on its device too
    assert re.search(r"\d+ CPU slots free", section(text, "machines"))
    lab.finish(lease)


def test_waiting_jobs_stand_in_order_with_reason_and_expected_start(lab: Any, browse: Browser, owner: str) -> None:
    with lab.client(lab.key(Role.submitter, user=owner)) as http:
        late, early = (http.post("/jobs", json=RETRIEVAL | {"name": name}).json()["id"] for name in ("late", "early"))
        answer = http.patch(f"/jobs/{early}", json={"priority": "high"}, headers={"If-Match": "*"})
        assert answer.status_code == 200
        held = http.post("/jobs", json=RETRIEVAL | {"name": "held", "queue": {"hold": True}}).json()["id"]
    why = {
        "code": "resources",
        "text": f"needs 8 GPUs; most free: <5> on gpu-02, when job {early} should end",
        "expected_start": "2030-01-01T08:00:00Z",
    }
    with database.sessions.begin() as session:
        session.execute(update(Job).where(Job.id == uuid.UUID(late)).values(waiting=why))
    text = browse().get("/ui/queue", params={"owner": owner}).text
    said = section(text, "waiting")
    assert said.index("early retrieval") < said.index("late retrieval")
    assert f"needs 8 GPUs; most free: <5> on gpu-02, when job {early[:8]} should end 2030-01-01 08:00" in said
    assert f'when job <a href="/ui/jobs/{early}">{early[:8]}</a> should end' in text
    assert "the scheduler has not looked at it yet" in said
    assert "held since it was submitted" in section(text, "aside")
    for job in (late, early, held):
        lab.http.post(f"/jobs/{job}/cancel")
    assert "held retrieval" in section(browse().get("/ui/queue", params={"owner": owner}).text, "ended")


def test_each_machine_tells_load_memory_health_and_owner_of_its_devices(lab: Any, browse: Browser) -> None:
    gpus = [
        FoundDevice(DeviceKind.gpu, 0, f"G-{uuid.uuid4()}", "H200", 141_000, health={"use": 87.4, "used_mb": 70_500.0}),
        FoundDevice(DeviceKind.gpu, 1, f"G-{uuid.uuid4()}", "H200", 141_000, ghost=True, foreign=None),
        FoundDevice(DeviceKind.gpu, 2, f"G-{uuid.uuid4()}", "H200", 141_000, foreign={"pids": [1], "memory_mb": 2000}),
    ]
    with database.sessions.begin() as session:
        name = f"gpu-{uuid.uuid4().hex[:6]}"
        node = nodes.register(
            session, name, boot_id="b", storage_id="here", cpus=64, memory_mb=512_000, devices=gpus, versions={}
        )
        session.execute(update(Node).where(Node.id == node.id).values(heartbeat_at=func.now() - timedelta(seconds=70)))
    said = section(browse().get("/ui/queue").text, "machines")
    with database.sessions.begin() as session:
        session.execute(delete(Device).where(Device.node_id == node.id))
        session.execute(delete(Node).where(Node.id == node.id))
    mine = said[said.index(name) :]
    assert "suspect silent for 1 min 10 s" in mine
    assert "GPU 0 H200 87 % 70.5 GB of 141 GB ok free" in mine
    assert "GPU 1 H200 – – of 141 GB ghost free" in mine
    assert "GPU 2 H200 – – of 141 GB ok used by others, 2 GB free" in mine


def test_a_key_of_one_project_sees_its_own_jobs_alone(lab: Any, browse: Browser, project: str) -> None:
    secret = f"secret-{uuid.uuid4().hex[:6]}"
    job = lab.submit(name=secret)
    mine = browse(Role.viewer, project=project)
    for path in ("/ui/queue", "/ui/jobs"):
        begins = {"name": secret[:-1]}  # among whatever else waits, and a page repeats what it was asked for
        assert secret not in mine.get(path, params=begins).text
        assert secret in browse().get(path, params=begins).text
    lab.http.post(f"/jobs/{job}/cancel")


def test_the_list_of_jobs_is_filtered_ordered_and_turned_by_its_address(lab: Any, browse: Browser, owner: str) -> None:
    with lab.client(lab.key(Role.submitter, user=owner)) as http:
        made = [http.post("/jobs", json=RETRIEVAL | {"name": f"n{index}"}).json()["id"] for index in range(3)]
    http = browse()
    text = http.get("/ui/jobs", params={"owner": owner, "state": "", "sort": "submitted_at", "limit": 2}).text
    assert re.findall(r">(n\d)</a>", text) == ["n0", "n1"]
    following = unescape(re.findall(r'href="([^"]+)" rel="next"', text)[0])
    assert re.findall(r">(n\d)</a>", http.get(following).text) == ["n2"]
    answer = http.get("/ui/jobs", params={"state": "nonsense"})
    assert answer.status_code == 400
    assert "succeeded" in answer.text  # what there is
    for job in made:
        lab.http.post(f"/jobs/{job}/cancel")


def test_the_stream_tells_when_the_page_is_old_and_not_before(lab: Any, browse: Browser) -> None:
    http = browse()
    mark = re.findall(r'data-mark="(\w+)"', http.get("/ui/queue").text)[0]
    with http.stream("GET", f"/ui/queue/stream?mark={mark}", headers={"Accept": "text/event-stream"}) as answer:
        lines = answer.iter_lines()
        silent = [next(lines) for _ in range(8)]  # retry, and comments that it lives
        assert not [line for line in silent if line.startswith("event")]
        job = lab.submit()
        assert next(line for line in lines if line.startswith("event")) == "event: changed"
    lab.http.post(f"/jobs/{job}/cancel")


@pytest.mark.system
def test_of_a_queue_of_ten_thousand_fifty_are_shown_with_the_way_to_the_next(lab: Any, browse: Browser) -> None:
    job = lab.submit(name="template")
    with database.sessions.begin() as session:
        row = session.get_one(Job, uuid.UUID(job))
        columns = {
            c.key: getattr(row, c.key) for c in Job.__table__.columns if c.computed is None and c.key != "submitted_at"
        }
        copies = [columns | {"id": uuid.uuid4(), "name": "copy"} for _ in range(9_999)]
        session.execute(insert(Job), copies)
    try:
        http = browse()
        for query in ({}, {"owner": "admin", "from": 5001}):
            text = http.get("/ui/queue", params=query).text
            assert 50 <= text.count("/ui/jobs/") < 300
            assert re.search(r"10,0\d\d", section(text, "waiting"))
        following = re.findall(r'href="([^"]+)" rel="(prev|next)"', text)
        assert [(unescape(where), kind) for where, kind in following] == [
            ("/ui/queue?owner=admin&from=4951", "prev"),
            ("/ui/queue?owner=admin&from=5051", "next"),
        ]
    finally:
        with database.sessions.begin() as session:
            session.execute(delete(Job).where(Job.name == "copy"))
        lab.http.post(f"/jobs/{job}/cancel")
