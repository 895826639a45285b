#!/usr/bin/env python3
"""The report in a real browser, of groups and of shops in their place: in light and dark, on a phone and on paper, in both
languages charts are drawn and everything can be read, and nothing leaves the machine. Takes the built huopan, a lake that
`huopan demo` filled, and a folder for screenshots.

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
# A4 without the margins that the page asks for, in CSS pixels.
PAPER_WIDTH = 703
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
        """Loads a page and waits for its charts; in another language than its own where one is named."""
        self.size(width, height)
        self.events.clear()
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.read())
        own = self.run("document.documentElement.dataset.lang")
        self.settle(own)
        if language and language != own:
            self.run(f'document.querySelector("[data-switch={language}]").click()')
            self.settle(language)

    def size(self, width, height):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)

    def media(self, theme, media=""):
        self.ask("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": theme}])

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


def report(name, lake, *arguments):
    path = work / f"{name}.html"
    subprocess.run([huopan, "report", "--quiet", "--lake", lake, "-o", path, *arguments], check=True)
    return path


# What is drawn in the boxes of the charts.
CHARTS = """[...document.querySelectorAll(".chart")].map((box) => ({
    svgs: box.querySelectorAll("svg").length, kind: box.dataset.chart, group: box.closest("section").querySelector("h2").innerText,
    lines: [...box.querySelectorAll('g[aria-label="line"] path')].filter((path) => path.getAttribute("d")?.length > 5).length,
    letters: box.querySelectorAll("text[data-letter]").length, box: box.getBoundingClientRect().width,
    width: box.querySelector("svg")?.getBoundingClientRect().width }))"""

# What a reader could not read: texts with too little contrast to what is behind them, texts on each other in a chart or in
# neighbouring cells, texts that are cut off or stand outside of the page.
UNREADABLE = """(() => {
    const faults = [];
    const color = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    const over = ([r, g, b, a = 1], under) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a));
    const behind = (element) => element === null ? [255, 255, 255]
        : over(color(getComputedStyle(element).backgroundColor), behind(element.parentElement));
    const light = (rgb) => { const [r, g, b] = rgb.map((part) => (part /= 255) <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const contrast = (one, other) => { const [low, high] = [light(one), light(other)].sort((a, b) => a - b); return (high + 0.05) / (low + 0.05); };
    const said = (element) => element.textContent.trim().slice(0, 30);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const seen = new Set();
    const scroll = [...document.querySelectorAll(".scroll")];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.data.trim() || element.closest("script, style, noscript, .skip, details:not([open]) > :not(summary)")) continue;
        const range = document.createRange(); range.selectNodeContents(node);
        const boxes = [...range.getClientRects()].filter((box) => box.width > 1 && box.height > 1);
        if (!boxes.length) continue;
        const right = Math.max(...boxes.map((box) => box.right)), left = Math.min(...boxes.map((box) => box.left));
        const rolls = scroll.some((box) => box.contains(element) && getComputedStyle(box).overflowX === "auto");
        if (left < -1 || (right > innerWidth + 1 && !rolls)) faults.push(`outside of the page: ${said(element)}`);
        if (seen.has(element)) continue;
        seen.add(element);
        const style = getComputedStyle(element);
        const ink = color(element.ownerSVGElement ? style.fill : style.color), ground = behind(element);
        const found = contrast(over(ink, ground), ground);
        if (found < 4.5 && !(found >= 3 && parseFloat(style.fontSize) >= 24)) faults.push(`contrast ${found.toFixed(2)}: ${said(element)}`);
    }
    const apart = (boxes, where) => boxes.forEach(([box, text], at) => boxes.slice(at + 1).forEach(([other, on]) => {
        const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const high = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (wide > 1.5 && high > 3.5) faults.push(`${where}: ${text} on ${on}`);
    }));
    const boxes = (elements) => [...elements].filter((element) => element.textContent.trim())
        .map((element) => [element.getBoundingClientRect(), said(element)]);
    for (const svg of document.querySelectorAll(".chart svg")) {
        const texts = boxes(svg.querySelectorAll("text"));
        apart(texts, `chart of ${svg.closest("section").querySelector("h2").innerText}`);
        const frame = svg.getBoundingClientRect();
        for (const [box, text] of texts)
            if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
                faults.push(`outside of its chart: ${text}`);
    }
    for (const row of document.querySelectorAll("tr")) {
        apart([...row.cells].map((cell) => {
            const range = document.createRange(); range.selectNodeContents(cell);
            const { left, right, top, bottom } = range.getBoundingClientRect(), box = cell.getBoundingClientRect();
            // Lines of a long title that are not shown have their place below.
            return [{ left, right, top: Math.max(top, box.top), bottom: Math.min(bottom, box.bottom) }, said(cell)];
        }), "row");
    }
    for (const cell of document.querySelectorAll("th, td, dd, dt, .badge, button, h1, h2, h3, figcaption"))
        if (cell.scrollWidth > cell.clientWidth + 1 && cell.clientWidth > 0) faults.push(`wider than its box: ${said(cell)}`);
    return [...new Set(faults)];
})()"""


def is_drawn(browser, groups, lines):
    """Two charts of each group, with at least so many lines."""
    drawn = browser.run(CHARTS)
    check("every group has its two charts", len(drawn) == 2 * groups, drawn)
    for chart in drawn:
        check("a chart is one SVG with lines and letters", chart["svgs"] == 1 and min(chart["lines"], chart["letters"]) >= lines, chart)
        check("a chart fits its box", chart["width"] <= chart["box"] + 1, chart)


def is_readable(browser, name):
    browser.shoot(name)
    wide, room = browser.run("[document.documentElement.scrollWidth, innerWidth]")
    check(f"{name}: nothing is wider than the window", wide <= room, (wide, room))
    faults = browser.run(UNREADABLE)
    check(f"{name}: everything can be read", not faults, "\n  " + "\n  ".join(faults))


def is_said_in(browser, language):
    head, pieces, other = {"zh": ("比价报告", "件数", "en"), "en": ("Price report", "pieces", "zh")}[language]
    check(f"it speaks {language}", browser.run('document.querySelector("h1").innerText') == head)
    check(f"so do the charts in {language}", browser.run('document.querySelector(".chart").innerText').find(pieces) >= 0)
    hidden = browser.run(f'[...document.querySelectorAll("span[lang={other}]")].every((word) => !word.offsetParent || word.closest(".brand"))')
    check("only one language is seen", hidden)


def looks(browser, name, page, groups, lines=2):
    """A page in both languages: light and dark, on a phone and on paper."""
    grounds = {}
    for language in ("zh", "en"):
        for theme in ("light", "dark"):
            browser.media(theme)
            browser.open(page, language)
            is_drawn(browser, groups, lines)
            is_said_in(browser, language)
            grounds[theme] = browser.run("getComputedStyle(document.body).backgroundColor")
            is_readable(browser, f"{name}-{language}-{theme}")
            check("no script failed", not browser.complaints(), browser.complaints())
            check("the page asked for nothing", browser.asked_for() == [], browser.asked_for())
        check("dark is dark", grounds["dark"] != grounds["light"], grounds)
        for theme in ("light", "dark"):
            browser.media(theme)
            browser.open(page, language, width=390, height=800)
            is_drawn(browser, groups, lines)
            is_readable(browser, f"{name}-{language}-phone-{theme}")
        on_paper(browser, name, page, language, groups)


def on_paper(browser, name, page, language, groups):
    """Printed from a window that is dark, as the reader's may be: the charts are drawn for the screen, and fit the paper."""
    browser.media("dark")
    browser.open(page, language)
    browser.media("dark", "print")
    browser.size(PAPER_WIDTH, 1000)
    is_readable(browser, f"{name}-{language}-print")
    check("paper is white", browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)")
    browser.size(1280, 1000)
    browser.media("dark")
    paper = base64.b64decode(browser.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])
    (shots / f"{name}-{language}.pdf").write_bytes(paper)
    pages = len(re.findall(rb"/Type\s*/Page[^s]", paper))
    check("it prints on a few pages", paper.startswith(b"%PDF") and 3 <= pages <= 2 + 4 * groups, pages)


def switches(browser, page):
    """A click changes the language of the text and of the charts."""
    browser.media("light")
    browser.open(page, "zh")
    is_said_in(browser, "zh")
    browser.run('document.querySelector("[data-switch=en]").click()')
    browser.settle("en")
    is_said_in(browser, "en")
    points(browser)


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
    browser.shoot("tip", whole=False)


def strangers(browser):
    """What a title says is never run, and what the policy forbids is never asked for."""
    page = report("hostile", lake, "--title", HOSTILE, "--title", GOODS, "--lang", "en")
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


def copied(name, groups=None):
    """A lake like the given one, with the groups of a file, or without any."""
    copy = work / name
    shutil.copytree(lake, copy)
    (copy / "_huopan" / "groups.json").unlink()
    if groups:
        file = work / f"{name}.csv"
        file.write_text(groups)
        subprocess.run([huopan, "groups", "load", "--lake", copy, file], check=True, stdout=subprocess.DEVNULL)
    return copy


def asked(query):
    """The rows of a query."""
    answer = subprocess.run([huopan, "sql", "--lake", lake, "--format", "json", "-c", query], check=True, stdout=subprocess.PIPE)
    return json.loads(answer.stdout)


def demo_groups(browser):
    """The sample's groups as the demo loads them, one more that states no quantity, and one whose pack size the gateway does
    not state."""
    sample = subprocess.run([huopan, "groups", "example"], check=True, stdout=subprocess.PIPE, text=True).stdout
    boxes = asked("""select offer_id from latest_offers where pieces_per_unit is null and moq_status = 'unknown_pack'
                     and status = 'on_sale' and tier_count > 1 order by offer_id limit 4""")
    check("the demo has offers in boxes that nobody counts", len(boxes) >= 2, boxes)
    more = [f"没有数量,,,{GOODS},,,"] + [f"按箱,,{box['offer_id']},,{'yes' if at == 0 else ''},500,24" for at, box in enumerate(boxes)]
    page = report("groups", copied("own", sample + "\n".join(more) + "\n"))
    check("the page is of a sane size", 100_000 < page.stat().st_size < 3_000_000, page.stat().st_size)
    looks(browser, "groups", page, 5)
    browser.media("light")
    browser.open(page)
    sections = dict(browser.run('[...document.querySelectorAll("section.group")].map((group) => [group.querySelector("h2").innerText, group.textContent])'))
    said = {name for name, text in sections.items() if "100 pieces is the default" in text and "100 件是默认值" in text}
    check("only the group without a quantity is at the default", said == {"没有数量"}, said)
    check("it is ranked at it", re.search(r"at 100 pieces · .* · [1-9]\d* can be bought", sections["没有数量"]), sections["没有数量"][:300])
    packed = {name: text.count("pack size of the groups file") for name, text in sections.items() if "pack size of the" in text}
    check("pack sizes of the file are told", set(packed) == {"按箱"} and packed["按箱"] >= len(boxes), packed)
    switches(browser, page)


try:
    browser = Browser()
    demo_groups(browser)
    looks(browser, "shops", report("shops", copied("bare")), 4)
    strangers(browser)
    browser.close()
finally:
    shutil.rmtree(work, ignore_errors=True)
print(f"{passed} passed, 0 failed")
