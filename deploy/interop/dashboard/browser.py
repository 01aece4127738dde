"""A headless Chromium, spoken to over its own pipe (the DevTools protocol, a message ended by a zero byte)."""
import base64
import json
import os
import subprocess
import threading
import time


class Browser:
    def __init__(self, chromium, folder):
        to_read, self.to = os.pipe()
        self.back, from_write = os.pipe()

        def at_three_and_four():
            # The ends may have these very numbers, in the other order.
            read, write = os.dup(to_read), os.dup(from_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=at_three_and_four, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.told, self.answers, self.complaints, self.number = threading.Condition(), {}, [], 0
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    session = None

    def _listen(self):
        rest = b""
        while True:
            try:
                read = os.read(self.back, 1 << 16)
            except OSError:
                return
            if not read:
                return
            *messages, rest = (rest + read).split(b"\0")
            for message in map(json.loads, messages):
                with self.told:
                    if "id" in message:
                        self.answers[message["id"]] = message
                    elif message["method"] == "Runtime.exceptionThrown":
                        self.complaints.append(message["params"]["exceptionDetails"].get("text", "an exception"))
                    elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                        self.complaints.append(message["params"]["entry"]["text"])
                    self.told.notify_all()

    def ask(self, method, **params):
        """Gives a command and waits for its answer."""
        self.number += 1
        number = self.number
        command = {"id": number, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.to, json.dumps(command).encode() + b"\0")
        with self.told:
            if not self.told.wait_for(lambda: number in self.answers, 30):
                raise TimeoutError(f"the browser does not answer {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def show(self, url, width, height, dark=False):
        """Opens a page in a window of this size."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=url)

    def value(self, expression):
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)["result"].get("value")

    def wait(self, expression, seconds=15):
        """Whether this comes to hold."""
        until = time.monotonic() + seconds
        while not self.value(expression):
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True

    def press(self, key, text=None):
        """Presses a key, as a keyboard does."""
        codes = {"Tab": 9, "Enter": 13}
        pressed = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper())), "text": "\r" if key == "Enter" else text or ""}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **pressed)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def screenshot(self, path):
        picture = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture))

    def end(self):
        try:
            self.ask("Browser.close")
            self.process.wait(10)
        except (OSError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
