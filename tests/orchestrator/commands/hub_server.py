"""The part of the Hugging Face hub that an upload speaks to, on the loopback interface.

It keeps what `huggingface_hub` sends, by the hub's own protocol: large files by Git LFS, the others in the commit.
"""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_of_the_test"


class HubServer:
    """Repositories by name, each with its files; one that ``refuses`` can only be read."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Any]] = {}
        self.large: dict[str, bytes] = {}
        self.refuses = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"{asked['organization']}/{asked['name']}"
        self.repositories[name] = {"visibility": asked["visibility"], "files": {}, "message": None}
        return {"url": f"{self.url}/{name}"}

    def sort(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Tell large files from others."""
        paths = [file["path"] for file in asked["files"]]
        return {
            "files": [
                {
                    "path": path,
                    "uploadMode": "lfs" if path.endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for path in paths
            ]
        }

    def batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Say to which address the content of each large file goes."""
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.url}/large/{each['oid']}"}}}
            for each in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def commit(self, name: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        repository = self.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository["message"] = value["summary"]
            elif line["key"] == "file":
                repository["files"][value["path"]] = base64.b64decode(value["content"])
            else:
                repository["files"][value["path"]] = self.large[value["oid"]]
        return {"commitUrl": f"{self.url}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40}


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path = self.path.split("?")[0]
            lines = [json.loads(line) for line in body.splitlines()]
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._answer({"error": "Invalid username or password."}, 401)
            elif hub.refuses:
                self._answer({"error": "You may not write there."}, 403)
            elif path == "/api/repos/create":
                self._answer(hub.create(lines[0]))
            elif path == "/api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            elif path.endswith("/preupload/main"):
                self._answer(hub.sort(lines[0]))
            elif path.endswith(".git/info/lfs/objects/batch"):
                self._answer(hub.batch(lines[0]))
            else:
                name = path.removeprefix("/api/models/").removesuffix("/commit/main")
                self._answer(hub.commit(name, lines))

        def do_PUT(self) -> None:
            hub.large[self.path.rpartition("/")[2]] = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer({})

        def _answer(self, content: dict[str, Any], status: int = 200) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    return Handler
