"""The admin API of a real node, held against its OpenAPI description.

Environment: SESSIONMESH (the program). Runs in a folder of its own, with what requirements.txt names."""

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request

from openapi_spec_validator import validate

PATIENCE = 60  # seconds; longer than anything here takes, also on a busy machine
EXAMPLES_MAX = 60  # requests that are made up for each operation, besides those that cover its description
SEED = 1

# Not for Schemathesis: what has no end is no answer that it can wait for, and after a drain there is no node. Both are looked at below.
EVENTS, DRAIN = "/v1/events", "/v1/drain"


def start():
    """A node with everything that the API can show: its process, and where visitors and operators reach it."""
    settings = {
        "NAME": "web-1", "HTTP": "127.0.0.1:0", "ADMIN": "127.0.0.1:0", "SEEDS": "127.0.0.1:1",
        "USER_ATTRIBUTE": "user", "ADMIN_REVEAL": "true",
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("SESSIONMESH_")}
    env |= {f"SESSIONMESH_{name}": value for name, value in settings.items()}
    command = [os.environ["SESSIONMESH"], "node", "--notice", "0s", "--log", "warn"]
    node = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    late = threading.Timer(PATIENCE, node.kill)
    late.start()
    line = node.stdout.readline()
    late.cancel()
    ready = re.search(r"is ready: (http://\S+), .*admin (http://\S+)", line)
    if not ready:
        node.kill()
        sys.exit(f"the node did not become ready: {line!r}")
    return node, *ready.groups()


def ask(url, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    return urllib.request.urlopen(request, timeout=PATIENCE)


def log_in(http, user):
    """The id of the session of a visitor who logs in."""
    with ask(f"{http}/login", "POST", {"user": user}) as answer:
        return re.search("SESSIONID=([^;]+)", answer.headers["set-cookie"])[1]


def give_examples(description, http):
    """Sessions and users that exist; what is made up names others, nearly always."""
    def example(path, *bodies):
        content = description["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        content["examples"] = {str(number): {"value": body} for number, body in enumerate(bodies)}

    example("/v1/sessions/find", *({"id": log_in(http, "ada"), "reveal": reveal} for reveal in (True, False)))
    example("/v1/sessions/end", {"id": log_in(http, "ada")})
    example("/v1/users/find", {"user": "ada"})
    example("/v1/users/end", {"user": "ada"})


def schemathesis(admin):
    command = [
        os.path.join(os.path.dirname(sys.executable), "schemathesis"), "--no-color", "run", "openapi.json", "--url", admin,
        "--exclude-path", EVENTS, "--exclude-path", DRAIN, "--seed", str(SEED), "--max-examples", str(EXAMPLES_MAX),
        "--generation-database", "none", "--workers", "1", "--max-failures", "1",
        "--request-timeout", str(PATIENCE), "--suppress-health-check", "all", "--warnings", "off",
    ]
    return subprocess.run(command, check=False).returncode


def events(admin):
    """The stream begins at once, as what the description says, and tells figures once a second if it is asked to."""
    for query, first in (("?figures=true&sessions=true", "event: figures"), ("?figures=true&sessions=false", "event: figures")):
        with ask(f"{admin}{EVENTS}{query}") as answer:
            assert answer.headers["content-type"] == "text/event-stream", answer.headers
            # Of a node that is left alone, nothing else is told.
            for line in answer:
                if line.decode().startswith(first):
                    break
            else:
                raise AssertionError(f"{query}: the stream ends without {first}")
            json.loads(next(answer).decode().removeprefix("data: "))


def drain(admin, node):
    with ask(admin + DRAIN, "POST") as answer:
        assert (answer.status, json.load(answer)) == (202, {"state": "leaving"}), answer.status
    # Nobody stays to take its sessions, which is what 4 says.
    code = node.wait(PATIENCE)
    assert code in (0, 4), f"the node ended with {code}"


def main():
    node, http, admin = start()
    try:
        with ask(f"{admin}/openapi.json") as answer:
            description = json.load(answer)
        validate(description)
        print(f"the description is valid OpenAPI {description['openapi']}", flush=True)
        give_examples(description, http)
        validate(description)
        with open("openapi.json", "w", encoding="utf-8") as file:
            json.dump(description, file)
        if schemathesis(admin) != 0:
            sys.exit("the admin API contradicts its description, as told above")
        events(admin)
        drain(admin, node)
        print("streams of events begin and figures come; a drain ends the node")
    finally:
        if node.poll() is None:
            node.kill()
            node.wait()


main()
