"""A headless Chromium that does what a person does, over the DevTools protocol's pipe."""

import json
import os
import select
import shutil
import subprocess

import pytest


def chromium(folder, *flags):
    """The command line of the program with a profile in this folder, or skip."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium on this machine")
    return [found, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", *flags]


class Browser:
    """One tab. As a context manager it ends the program."""

    def __init__(self, folder, url):
        read_by_it, self.to_it = os.pipe()
        self.from_it, written_by_it = os.pipe()
        # Chromium has the pipe's ends at the file numbers 3 and 4.
        ends = ["bash", "-c", f'exec "$@" 3<&{read_by_it} 4>&{written_by_it}', "bash"]
        self.process = subprocess.Popen(
            [*ends, *chromium(folder, "--remote-debugging-pipe")],
            pass_fds=(read_by_it, written_by_it),
            stderr=subprocess.DEVNULL,
        )
        os.close(read_by_it)
        os.close(written_by_it)
        self.buffer, self.number, self.session = b"", 0, {}
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self("Page.enable")
        self("Page.navigate", url=url)
        while self.message().get("method") != "Page.loadEventFired":
            pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self.to_it)
        os.close(self.from_it)

    def message(self):
        """The next one that it sends."""
        while b"\0" not in self.buffer:
            assert select.select([self.from_it], [], [], 60)[0], "no answer from Chromium in 60 seconds"
            part = os.read(self.from_it, 1 << 16)
            assert part, "Chromium has ended"
            self.buffer += part
        first, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(first)

    def __call__(self, method, **params):
        """The result of a command."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": params, **self.session}
        os.write(self.to_it, json.dumps(command).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            pass
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def run(self, script):
        """The value of a JavaScript expression, awaited."""
        done = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def click(self, selector):
        """Press the mouse on an element, as a person does."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.run(f"{element}.getBoundingClientRect().toJSON()")
        where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)
