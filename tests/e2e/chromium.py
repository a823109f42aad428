"""Headless Chromium, driven over its debugging port: it opens pages, fills and submits forms, and takes pictures."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import aiohttp

from harness import die_with_parent

LIMIT_S = 60


class Chromium:
    """One tab of a fresh profile.  Every wait has an end; close() ends the browser."""

    def __init__(self, width=390, height=844):
        self.profile = Path(tempfile.mkdtemp(prefix="greenroom-chromium-"))
        self.loop = asyncio.new_event_loop()
        self.process = subprocess.Popen(
            [
                shutil.which("chromium"),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
                "--remote-debugging-port=0",
                f"--user-data-dir={self.profile}",
                f"--window-size={width},{height}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        self.number, self.faults = 0, []
        self.loop.run_until_complete(self.connect())

    async def connect(self):
        told = self.profile / "DevToolsActivePort"
        end = time.monotonic() + LIMIT_S
        while not (told.exists() and told.read_text().count("\n")):
            assert time.monotonic() < end and self.process.poll() is None, "Chromium does not start"
            await asyncio.sleep(0.02)
        self.http = aiohttp.ClientSession()
        async with self.http.get(f"http://127.0.0.1:{told.read_text().splitlines()[0]}/json/list") as answer:
            tab = next(t for t in await answer.json() if t["type"] == "page")
        self.socket = await self.http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(domain + ".enable", {})

    async def send(self, method, parameters):
        self.number += 1
        number = self.number
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            said = json.loads((await asyncio.wait_for(self.socket.receive(), LIMIT_S)).data)
            if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.faults.append(said["params"]["entry"]["text"])
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]

    def ask(self, method, **parameters):
        return self.loop.run_until_complete(self.send(method, parameters))

    def run(self, script):
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url):
        self.ask("Page.navigate", url=url)
        self.wait("document.readyState == 'complete' && location.href != 'about:blank'")
        return self

    def wait(self, condition):
        """Until the condition holds in the page, which may be another by then."""
        end = time.monotonic() + LIMIT_S
        while True:
            result = self.ask("Runtime.evaluate", expression=f"!!({condition})", returnByValue=True)
            if result["result"].get("value"):
                return
            assert time.monotonic() < end, f"{condition} does not come at {self.url()}: {self.text()}"
            time.sleep(0.02)

    def submit(self, button, **fields):
        """Types into fields by name, and presses the button with that text: another document comes."""
        for name, value in fields.items():
            field = f"document.querySelector('[name={name}]')"
            self.run(f"{field}.focus(); {field}.value = {json.dumps(value)}")
        self.run("window.before = true")
        pressed = f"[...document.querySelectorAll('button,a')].find(b => b.textContent.trim() == {json.dumps(button)})"
        assert self.run(f"!!{pressed}"), f"no button {button!r}: {self.text()}"
        self.ask("Runtime.evaluate", expression=f"{pressed}.click()")
        self.wait("!window.before && document.readyState == 'complete'")
        return self

    def url(self):
        return self.run("location.href")

    def text(self):
        return re.sub(r"\s+", " ", self.run("document.body.innerText"))

    def picture(self, path):
        shot = self.ask("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        async def end():
            await self.socket.close()
            await self.http.close()

        self.loop.run_until_complete(end())
        self.loop.close()
        self.process.terminate()
        self.process.wait(LIMIT_S)
        shutil.rmtree(self.profile, ignore_errors=True)
