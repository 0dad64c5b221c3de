"""A browser that is driven live: with a mouse, on paper, and where pages need real time, as those of a server."""

import json
import os
import select
import subprocess
import time

FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --window-size=1600,1300"


class Browser:
    """Headless Chromium over its DevTools pipe."""

    def __init__(self, profile):
        read_here, write_there = os.pipe()
        read_there, self._write = os.pipe()
        self._read = read_here
        pipes = f"--remote-debugging-pipe 3<&{read_there} 4>&{write_there}"
        command = f"exec chromium {FLAGS} --user-data-dir={profile} {pipes}"
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(read_there, write_there), stdout=quiet, stderr=quiet
        )
        os.close(read_there)
        os.close(write_there)
        self._buffer, self._last_id = b"", 0

    def call(self, method, session=None, **parameters):
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._last_id:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url):
        """A page, as the session to speak to it."""
        return self._attach(self.call("Target.createTarget", url=url)["targetId"])

    def frames(self):
        """Sessions of the frames that are documents of their own."""
        targets = self.call("Target.getTargets")["targetInfos"]
        return [self._attach(each["targetId"]) for each in targets if each["type"] == "iframe"]

    def evaluate(self, session, script):
        answer = self.call("Runtime.evaluate", session, expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, session, script, seconds=240):
        """What a script gives as soon as that is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(session, script)):
            if time.monotonic() > deadline:
                text = self.evaluate(session, "document.body?.innerText")
                raise TimeoutError(f"{script} is not true of {text[:2000]!r}")
            time.sleep(0.2)
        return value

    def click(self, session, x, y):
        """With the mouse, which is moved there first."""
        for kind, button in (("mouseMoved", "none"), ("mousePressed", "left"), ("mouseReleased", "left")):
            self.call("Input.dispatchMouseEvent", session, type=kind, x=x, y=y, button=button, clickCount=1)

    def close(self):
        self.call("Browser.close")
        self.process.wait(30)

    def _attach(self, target):
        return self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def _receive(self):
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], 60)[0], "the browser does not answer"
            self._buffer += os.read(self._read, 1 << 20)
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)
