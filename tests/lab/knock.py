"""Knocks at every port of the cluster as one who has no token: `python knock.py HOST:PORT…` prints what each of them
said, as JSON.

A gRPC server is asked for every method that Ray's own interface files declare, with an empty request. One that it has
must be refused for the want of a token (UNAUTHENTICATED); one that it has not is UNIMPLEMENTED.
"""

import http.client
import importlib
import json
import pkgutil
import socket
import sys

import grpc
from ray.core import generated

UNDECLARED = (  # served, but without an interface file in Ray's package
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.ObjectManagerService/Push",
    "/ray.rpc.syncer.RaySyncer/StartSync",
)
NODE = (("node_id", "ab" * 28),)  # for StartSync, without which Ray 2.60's servers abort, before they ask for the token
PATHS = (
    "/",
    "/metrics",
    "/api/jobs/",
    "/api/job_agent/jobs/",
    "/get_or_create_runtime_env",
    "/logs",
    "/static/",
    "/api/v0/logs",
)


def methods() -> list[str]:
    """Return every method of Ray's gRPC services: /package.Service/Method."""
    files = [
        importlib.import_module(f"ray.core.generated.{each.name}") for each in pkgutil.iter_modules(generated.__path__)
    ]
    services = [
        service
        for file in files
        if hasattr(file, "DESCRIPTOR")
        for service in file.DESCRIPTOR.services_by_name.values()
    ]
    return [*UNDECLARED, *(f"/{service.full_name}/{method.name}" for service in services for method in service.methods)]


def banner(host: str, port: int) -> str:
    """Return what a server says of itself to one who says nothing."""
    with socket.create_connection((host, port), timeout=5) as door:
        door.settimeout(0.5)
        try:
            return door.recv(64).decode(errors="replace")
        except TimeoutError:
            return ""


def over_http(host: str, port: int) -> dict[str, int]:
    """Return the status of each path: {} where nobody speaks HTTP/1.1."""
    said = {}
    for path in PATHS:
        for method in ("GET", "POST"):
            asked = http.client.HTTPConnection(host, port, timeout=5)
            try:
                asked.request(
                    method, path, body=b"{}" if method == "POST" else None, headers={"Content-Type": "application/json"}
                )
                said[f"{method} {path}"] = asked.getresponse().status
            except (http.client.HTTPException, OSError):
                return said
            finally:
                asked.close()
    return said


def over_grpc(host: str, port: int) -> dict[str, str]:
    """Return the answer to each method that the server has: {} where nobody speaks gRPC."""
    said = {}
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for method in methods():
            try:
                channel.unary_unary(method)(b"", timeout=20, metadata=NODE)
                said[method] = "OK"
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE and not said:
                    return {}
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    said[method] = error.code().name
    return said


def main() -> None:
    found = {}
    for address in sys.argv[1:]:
        host, _, port = address.rpartition(":")
        try:
            said = banner(host, int(port))
        except OSError:
            found[address] = {"kind": "closed"}
            continue
        if said.startswith("SSH-"):
            found[address] = {"kind": "ssh"}
        elif statuses := over_http(host, int(port)):
            found[address] = {"kind": "http", "said": statuses}
        elif codes := over_grpc(host, int(port)):
            found[address] = {"kind": "grpc", "said": codes}
        else:
            found[address] = {"kind": "unknown", "said": repr(said)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
