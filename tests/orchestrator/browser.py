"""A browser that is driven live: with a mouse, on paper, and where pages need real time, as those of a server."""

import json
import os
import select
import subprocess
import time
from typing import NamedTuple

FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --window-size=1600,1300"
FIRST_PAGE = "about:blank"
"""Instead of the browser's own, which has frames too."""

URL, TEXT = "document.URL", "document.body?.innerText"


class BrowserError(Exception):
    """The browser refuses a command; of a frame often because its document has just been replaced."""


class Frame(NamedTuple):
    """A document inside a page: the session to speak to it, and where in it its scripts run, if not at the top."""

    session: str
    context: int | None = None


class Browser:
    """Headless Chromium over its DevTools pipe."""

    def __init__(self, profile):
        read_here, write_there = os.pipe()
        read_there, self._write = os.pipe()
        self._read = read_here
        pipes = f"--remote-debugging-pipe 3<&{read_there} 4>&{write_there}"
        command = f"exec chromium {FLAGS} --user-data-dir={profile} {FIRST_PAGE} {pipes}"
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(read_there, write_there), stdout=quiet, stderr=quiet
        )
        os.close(read_there)
        os.close(write_there)
        self._buffer, self._last_id = b"", 0
        self._inside = {}  # sessions of frames that are in a process of their own, by that of what they are in

    def call(self, method, session=None, **parameters):
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive(method)).get("id") != self._last_id:
            self._note(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, url):
        """A page, as the session to speak to it."""
        return self._attach(self.call("Target.createTarget", url=url)["targetId"])

    def frames(self, session):
        """Documents inside a page and no other, at any depth, in whatever process each of them is."""
        self.call(
            "Target.setAutoAttach", session, autoAttach=True, waitForDebuggerOnStart=False, flatten=True
        )
        found = [Frame(session, self._context(session, each)) for each in self._in_same_process(session)]
        for inner in list(self._inside.get(session, {}).values()):
            found += [Frame(inner), *self.frames(inner)]
        return found

    def evaluate(self, where, script):
        """What a script gives in a page, which is named by its session, or in a frame."""
        frame = where if isinstance(where, Frame) else Frame(where)
        context = {} if frame.context is None else {"contextId": frame.context}
        answer = self.call(
            "Runtime.evaluate", frame.session, expression=script, returnByValue=True, **context
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, session, script, seconds=240):
        """What a script gives as soon as that is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(session, script)):
            if time.monotonic() > deadline:
                text = self.evaluate(session, TEXT) or ""
                raise TimeoutError(f"{script} is not true of {text[:2000]!r}")
            time.sleep(0.2)
        return value

    def wait_in_frame(self, session, script, seconds=240):
        """The frame of a page in which a script is true first; an error says what was in each of them."""
        deadline = time.monotonic() + seconds
        while True:
            seen = []
            try:
                for frame in self.frames(session):
                    if self.evaluate(frame, script):
                        return frame
                    text = self.evaluate(frame, TEXT) or ""
                    seen.append(f"{self.evaluate(frame, URL)} {text[:500]!r}")
            except BrowserError as error:
                seen.append(str(error))
            if time.monotonic() > deadline:
                frames = "\n".join(seen) or f"no frame in {self.evaluate(session, TEXT)!r}"
                raise TimeoutError(f"{script} is not true in any frame; seen were:\n{frames}")
            time.sleep(0.2)

    def click(self, session, x, y):
        """With the mouse, which is moved there first."""
        for kind, button in (("mouseMoved", "none"), ("mousePressed", "left"), ("mouseReleased", "left")):
            self.call("Input.dispatchMouseEvent", session, type=kind, x=x, y=y, button=button, clickCount=1)

    def close(self):
        self.call("Browser.close")
        self.process.wait(30)

    def _attach(self, target):
        return self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def _in_same_process(self, session):
        """Identifiers of the frames below the top one of a session, as far as they share its process."""
        trees = self.call("Page.getFrameTree", session)["frameTree"].get("childFrames", [])
        while trees:
            tree = trees.pop()
            trees += tree.get("childFrames", [])
            yield tree["frame"]["id"]

    def _context(self, session, frame):
        named = {"frameId": frame, "worldName": "test"}
        return self.call("Page.createIsolatedWorld", session, **named)["executionContextId"]

    def _note(self, event):
        """Frames come and go."""
        inside = self._inside.setdefault(event.get("sessionId"), {})
        match event:
            case {"method": "Target.attachedToTarget", "params": {"sessionId": inner, "targetInfo": info}}:
                if info["type"] == "iframe":
                    inside[info["targetId"]] = inner
            case {"method": "Target.detachedFromTarget", "params": {"sessionId": gone}}:
                self._inside[event.get("sessionId")] = {k: v for k, v in inside.items() if v != gone}

    def _receive(self, asked):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], 240)
            assert ready, f"the browser does not answer to {asked}"
            self._buffer += os.read(self._read, 1 << 20)
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)
