"""How the core is started and what it may know."""

import os
from pathlib import Path

from worker.marks import Mark
from worker.supervisor.command import Meeting, command, environment, threads_per_rank


def test_a_pretraining_goes_through_torchrun_without_restarts_of_its_own() -> None:
    line = command("pretrain", 2, Path("/a/spec.json"), Path("/a"))
    assert line[1:] == [
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=0"),
        *("-m", "cmac_core", "/a/spec.json", "--run-dir", "/a", "--keep-checkpoints"),
    ]


def test_on_several_machines_everything_is_said_and_nothing_guessed() -> None:
    meeting = Meeting("a7-3", 2, 1, "10.0.0.1:4711", "10.0.0.2")
    assert command("finetune", 1, Path("/a/spec.json"), Path("/a"), meeting)[1:11] == [
        *("-m", "torch.distributed.run", "--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=10.0.0.1:4711"),
        *("--rdzv-id=a7-3", "--rdzv-conf=is_host=0,read_timeout=300", "--local-addr=10.0.0.2"),
        *("--nproc-per-node=1", "--max-restarts=0"),
    ]


def test_one_process_needs_no_torchrun() -> None:
    assert command("pack", 1, Path("/a/spec.json"), Path("/a"))[1:3] == ["-m", "cmac_core"]


def test_no_address_and_no_key_reaches_the_core(mark: Mark) -> None:
    outer = os.environ | {
        "CMAC_DATABASE_URL": "postgresql://x:secret@y/z", "CMAC_BROKER_URL": "redis://:secret@y", "CMAC_HOME": "/h",
        "AWS_SECRET_ACCESS_KEY": "secret", "PGPASSWORD": "secret", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    env = environment(mark, 2, ["GPU-b", "GPU-a"], outer)
    assert not [value for value in env.values() if "secret" in value]
    assert not [name for name in env if name.startswith("CMAC_") and name != "CMAC_MARK"]
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-a"
    assert env["OMP_NUM_THREADS"] == "2"
    assert env["CMAC_MARK"] == str(mark)
    assert env["PATH"] == os.environ["PATH"]
    assert env["LC_ALL"] == "C.UTF-8"


def test_a_cpu_slot_is_no_leave_to_take_a_gpu(mark: Mark) -> None:
    assert environment(mark, 1, [], {"CUDA_VISIBLE_DEVICES": "0"})["CUDA_VISIBLE_DEVICES"] == ""


def test_cores_are_shared_out() -> None:
    assert threads_per_rank(ranks=2, devices=2, slots=2, cores=2) == 1
    assert threads_per_rank(ranks=1, devices=1, slots=2, cores=8) == 4
    assert threads_per_rank(ranks=4, devices=4, slots=8, cores=64) == 8
    assert threads_per_rank(ranks=8, devices=8, slots=8, cores=4) == 1
