"""The lab of the afternoon: four machines of four GPUs each, two projects, three people with keys of their own."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.people import NOTHING, insist
from chaos.service import STAND_IN, Service
from client.api import Client

NODES = ("gpu-01", "gpu-02", "gpu-03", "gpu-04")
PROJECTS = {"ana": "audio", "ben": "audio", "eva": "video"}
ROLES = {"ana": "operator", "ben": "submitter", "eva": "submitter"}
QUOTAS = {"user:ben": 8}  # GPUs

# A minute and ten of them by default, for jobs of hours; here jobs last seconds.
ENVIRONMENT = {"CMAC_CPU_SLOTS": "1", "CMAC_PREEMPT_AFTER_S": "2", "CMAC_LEAST_RUN_S": "4"}


@dataclass(frozen=True)
class Lab:
    """A living service and a client for each of its people; `admin` runs the machines."""

    service: Service
    admin: Client
    people: Mapping[str, Client]


@contextmanager
def opened(home: Path, lease: str) -> Iterator[Lab]:
    """Start it in an empty home, with its people, projects and quotas; it is stopped at the end."""
    stand_ins = (STAND_IN, Path(__file__).parent / "stand_in")
    service = Service(home, lease, NODES, ENVIRONMENT, stand_ins)
    with ExitStack() as stack:
        stack.callback(service.stop)
        service.start()
        service.register_dataset(NOTHING)
        admin = stack.enter_context(Client(service.url, service.key))
        for project in sorted(set(PROJECTS.values())):
            insist(lambda: admin.add_project(project))  # noqa: B023
        people = {name: stack.enter_context(Client(service.url, _key(admin, name))) for name in PROJECTS}
        for subject, gpus in QUOTAS.items():
            insist(lambda: admin.put_quota(subject, max_gpus=gpus))  # noqa: B023
        yield Lab(service, admin, people)


def _key(admin: Client, name: str) -> str:
    insist(lambda: admin.add_user(name, role=ROLES[name]))
    return str(insist(lambda: admin.create_key(name=f"{name}'s", user=name, role=ROLES[name]))["key"])
