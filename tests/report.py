#!/usr/bin/env python3
"""The report in a real browser: charts are drawn, both languages and both themes show, it fits a phone and paper, and
nothing leaves the machine. Takes the built huopan, a lake that `huopan demo` filled, and a folder for screenshots.

The browser is Chromium, driven over its own protocol through two pipes: nothing but the standard library is needed.
"""
import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

huopan, lake, shots = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
shots.mkdir(parents=True, exist_ok=True)
work = pathlib.Path(tempfile.mkdtemp(prefix="huopan-report-"))
GOODS = "304不锈钢保温杯500ml"
HOSTILE = "</script><script>document.title='broken'</script><img/src=x/onerror=alert(1)>"
passed = 0


def check(claim, holds, said=""):
    global passed
    if not holds:
        sys.exit(f"report: NOT SO: {claim} {said}")
    passed += 1


class Browser:
    """One headless Chromium and one page of it."""

    def __init__(self):
        program = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
        if program is None:
            sys.exit("report: no chromium is installed")
        theirs_in, self.to = os.pipe()
        self.out, theirs_out = os.pipe()

        def pipes():
            # The browser reads commands from 3 and writes answers to 4.
            kept_in, kept_out = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(kept_in, 3)
            os.dup2(kept_out, 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--disable-default-apps", "--no-pings", "--disable-extensions",
             "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={work / 'profile'}",
             "--remote-debugging-pipe", "about:blank"],
            close_fds=False, preexec_fn=pipes, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.number, self.rest, self.session, self.events = 0, b"", None, []
        page = next(target for target in self.ask("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def read(self):
        while b"\0" not in self.rest:
            more = os.read(self.out, 1 << 20)
            if not more:
                sys.exit("report: the browser is gone")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"report: {method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def run(self, script):
        """The value of a script of ours, which the page's policy does not hold back."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            sys.exit(f"report: {script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def settle(self, language):
        """Waits until the charts stand in a language (the page says so), and two frames more for sizes to settle."""
        self.run(f"""new Promise((done) => {{
            const look = () => document.documentElement.dataset.drawn === "{language}"
                ? requestAnimationFrame(() => requestAnimationFrame(done)) : requestAnimationFrame(look);
            look();
        }})""")

    def open(self, path, language=None, width=1280, height=1000):
        self.size(width, height)
        self.events.clear()
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())
        if language:
            self.settle(language)

    def size(self, width, height):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)

    def theme(self, theme):
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def point(self, x, y):
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def asked_for(self):
        """Addresses that the page asked for, other than files and data of its own."""
        urls = [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("file:", "data:"))]

    def complaints(self):
        """Exceptions, and errors on the console."""
        thrown = [event["params"] for event in self.events if event.get("method") == "Runtime.exceptionThrown"]
        logged = [event["params"]["entry"] for event in self.events if event.get("method") == "Log.entryAdded"]
        return thrown + [entry for entry in logged if entry["level"] == "error"]

    def shoot(self, name, whole=True):
        picture = base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"])
        (shots / f"{name}.png").write_bytes(picture)
        return picture

    def close(self):
        self.process.terminate()
        self.process.wait(20)


def report(name, *arguments):
    path = work / f"{name}.html"
    subprocess.run([huopan, "report", "--quiet", "--lake", lake, "-o", str(path), *arguments], check=True)
    return path


def charts(browser):
    return browser.run("""[...document.querySelectorAll(".chart")].map((box) => ({
        svgs: box.querySelectorAll("svg").length, kind: box.dataset.chart,
        lines: [...box.querySelectorAll('g[aria-label="line"] path')].filter((path) => path.getAttribute("d")?.length > 5).length,
        letters: box.querySelectorAll("text[data-letter]").length, box: box.getBoundingClientRect().width,
        width: box.querySelector("svg")?.getBoundingClientRect().width }))""")


def is_drawn(browser, expected):
    drawn = charts(browser)
    check("every group has its two charts", len(drawn) == expected, drawn)
    for chart in drawn:
        check("a chart is one SVG with lines and letters", chart["svgs"] == 1 and chart["lines"] >= 2 and chart["letters"] >= 2, chart)
        check("a chart fits its box", chart["width"] <= chart["box"] + 1, chart)


def fits(browser):
    wide, room = browser.run("[document.documentElement.scrollWidth, innerWidth]")
    check("nothing is wider than the window", wide <= room, (wide, room))


def looks(browser, page):
    browser.theme("light")
    browser.open(page, "zh")
    is_drawn(browser, 4)
    fits(browser)
    check("no script failed", not browser.complaints(), browser.complaints())
    check("it is Chinese", browser.run('document.querySelector("h1").innerText') == "比价报告")
    light = browser.run("getComputedStyle(document.body).backgroundColor")
    browser.shoot("report-zh-light")

    browser.run('document.querySelector("[data-switch=en]").click()')
    browser.settle("en")
    check("it is English after a click", browser.run('document.querySelector("h1").innerText') == "Price report")
    check("so are the charts", browser.run('document.querySelector(".chart").innerText').find("pieces") > 0)
    check("only one language is seen", browser.run('[...document.querySelectorAll("span[lang=zh]")].every((word) => !word.offsetParent)'))

    browser.theme("dark")
    check("dark is dark", browser.run("getComputedStyle(document.body).backgroundColor") != light)
    browser.shoot("report-en-dark")
    browser.theme("light")
    points(browser)
    check("the page asked for nothing", browser.asked_for() == [], browser.asked_for())
    return browser


def points(browser):
    """A row under the pointer stands out in the charts; a point of a chart tells its price."""
    x, y = browser.run("""(() => { const row = document.querySelector('tr[data-line="A"]'); row.scrollIntoView({ block: "center", behavior: "instant" });
        const box = row.getBoundingClientRect(); return [box.x + 60, box.y + box.height / 2]; })()""")
    browser.point(x, y)
    check("a row marks its line", browser.run('document.querySelectorAll(".chart.focused .focus").length') >= 4)
    x, y = browser.run("""(() => { const dot = document.querySelector('.chart g[aria-label="dot"] circle');
        dot.scrollIntoView({ block: "center", behavior: "instant" }); const box = dot.getBoundingClientRect(); return [box.x + 3, box.y + 3]; })()""")
    browser.point(x, y)
    tip = browser.run("""new Promise((done) => setTimeout(() => done(document.querySelector('.chart g[aria-label="tip"]')?.textContent ?? ""), 300))""")
    check("a point tells its price", "¥" in tip, tip)
    browser.shoot("report-en-tip", whole=False)


def on_a_phone_and_on_paper(browser, page):
    browser.open(page, "zh", width=390, height=800)
    fits(browser)
    is_drawn(browser, 4)
    browser.shoot("report-zh-phone")
    browser.open(page, "zh")
    paper = base64.b64decode(browser.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])
    (shots / "report-zh.pdf").write_bytes(paper)
    pages = len(re.findall(rb"/Type\s*/Page[^s]", paper))
    check("it prints on a few pages", paper.startswith(b"%PDF") and 3 <= pages <= 12, pages)


def strangers(browser):
    """What a title says is never run, and what the policy forbids is never asked for."""
    page = report("hostile", "--title", HOSTILE, "--title", GOODS, "--lang", "en")
    browser.open(page, "en")
    check("a hostile title is text", browser.run('[...document.querySelectorAll("h2")].some((head) => head.innerText.includes("<img/src=x/onerror"))'))
    check("it did not run", "broken" not in browser.run("document.title") and not browser.complaints(), browser.complaints())

    text = page.read_text()
    foreign = '<img src="http://127.0.0.1:9/seen.png"><script>document.title="broken"</script></main>'
    forced = work / "forced.html"
    forced.write_text(text.replace("</main>", foreign))
    browser.open(forced, "en")
    check("a script that is not ours is refused", "broken" not in browser.run("document.title") and len(browser.complaints()) >= 2)
    # What would be seen were there no policy: the watch over requests is awake.
    forced.write_text(re.sub("<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text).replace("</main>", foreign))
    browser.open(forced, "en")
    check("a request would be seen", browser.asked_for() == ["http://127.0.0.1:9/seen.png"], browser.asked_for())


try:
    browser = Browser()
    page = report("titles", "--title", GOODS, "--title", "Type-C 数据线", "--pieces", "500", "--lang", "zh")
    check("the page is of a sane size", 100_000 < page.stat().st_size < 3_000_000, page.stat().st_size)
    looks(browser, page)
    on_a_phone_and_on_paper(browser, page)
    strangers(browser)
    groups = report("groups", "--lang", "en")
    browser.open(groups, "en")
    check("each group of the lake is there", browser.run('document.querySelectorAll("section.group").length') == 3)
    is_drawn(browser, 6)
    check("no script failed", not browser.complaints() and not browser.asked_for())
    browser.shoot("report-en-groups")
    browser.close()
finally:
    shutil.rmtree(work, ignore_errors=True)
print(f"{passed} passed, 0 failed")
