"""The image's program as the image runs it: a read-only root, a number as its user, no capabilities, two places to write to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.client import Client
from gateway.client_rest import RestClient
from tests.deploy import dockerfile
from tests.deploy.files import documents, settings
from tests.e2e import contained, image
from tests.e2e.server import Server
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")

EVERYWHERE = """
import json, os, sys
def written(place):
    path = os.path.join(place, "probe")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL))
    except OSError:
        return False
    os.unlink(path)
    return True
places = []
for place, below, _ in os.walk("/"):
    below[:] = [name for name in below if place + name != "/proc"]
    places.append(place)
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "written": sorted(filter(written, places)), "user": os.getresuid() + os.getresgid(), "groups": os.getgroups(), "process": os.getpid(),
    "privileges": [status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "NoNewPrivs")],
    "shells": [name for name in ("/bin/sh", "/usr/bin/sh", "/usr/bin/env") if os.path.exists(name)],
}))
"""


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """Compiled as the image is built."""
    image.compile_kernels()


def infer(server: Server, model: str) -> tuple[list[float], list[list[float]]]:
    """What a model makes of [1, 2], over HTTP and over gRPC."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
    answer = RestClient(f"127.0.0.1:{server.http_port}").call("POST", f"/v2/models/{model}/infer", body)
    with Client(f"127.0.0.1:{server.grpc_port}", timeout_s=10.0) as client:
        return answer["outputs"][0]["data"], client.infer(model, {"x": [[1.0, 2.0]]}).outputs["y"].tolist()


def test_the_cell_is_what_it_is_meant_to_be(tmp_path: Path) -> None:
    """Two places can be written to, nothing else; and the kernels come out of the cache."""
    (tmp_path / "models").mkdir()
    cell = image.cell(tmp_path, "/models", [])
    seen = image.ran(cell, ["python", "-I", "-S", "-c", EVERYWHERE])
    assert 0 == seen.returncode, seen.stderr
    assert {
        "written": [image.TMP, image.STATE], "user": [cell.user] * 6, "groups": [], "process": 1,
        "privileges": ["0" * 16, "0" * 16, "0" * 16, "1"], "shells": [],
    } == json.loads(seen.stdout)  # fmt: skip
    found = image.ran(cell, ["tidegate", "doctor", "--json"])
    assert [("ok", "")] == [(each["state"], each["advice"]) for each in json.loads(found.stdout) if each["check"] == "kernels"]


def test_a_cell_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    """What it needs, and the step that failed."""
    (tmp_path / "models").mkdir()
    cell = image.cell(tmp_path, "/models", [])
    cell.shown.append((str(tmp_path / "nothing"), "/nothing"))
    seen = image.ran(cell, ["true"])
    assert contained.NO_CELL == seen.returncode
    assert re.search(r"needs mount, process and, without root, user namespaces: .*mount \S+/nothing", seen.stderr)


def test_the_image_serves_and_ends(tmp_path: Path) -> None:
    """From a registry that it cannot write to, over both transports; healthy by its own check; its totals are kept."""
    published(tmp_path / "models", "double", graphs.twice(), aliases={"champion": 1})
    check = dockerfile.Instruction("CMD", dockerfile.only(image.IMAGE, "HEALTHCHECK").arguments.partition(" ")[2]).words
    with image.running(tmp_path, []) as server:
        assert ([2.0, 4.0], [[2.0, 4.0]]) == infer(server, "double")
        check[-1] = check[-1].replace(str(settings("docker/tidegate.yaml").server.metrics_port), str(server.metrics_port))
        assert 0 == subprocess.run([sys.executable, *check[1:]], check=False).returncode
        assert 0 == server.child.stop()
        assert 0 != subprocess.run([sys.executable, *check[1:]], check=False, stderr=subprocess.DEVNULL).returncode
    assert [] == server.faults()
    assert (tmp_path / "state/totals.json").exists()


def test_kserve_s_model_directory_is_served_under_the_name_of_its_service(tmp_path: Path) -> None:
    """The arguments of the runtime, in the image, over the directory that KServe's storage initializer makes."""
    runtime = documents("kserve/clusterservingruntime.yaml")[0]["spec"]["containers"][0]
    graphs.saved(tmp_path / "models/model.onnx", graphs.twice())
    arguments = [word.replace("{{.Name}}", "double-it") for word in runtime["args"]]
    with image.running(tmp_path, arguments, models="/mnt/models") as server:
        assert ([2.0, 4.0], [[2.0, 4.0]]) == infer(server, "double-it")
        assert 0 == server.child.stop()
    assert [] == server.faults()
