"""The console as a person sees it, in a real Chromium."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright, expect

from app.errors import DeviceLost
from tests.console.conftest import TRACES
from tests.fakes import FAIL, FakeRunner
from tests.running import Running

pytestmark = [pytest.mark.anyio, pytest.mark.live]

CHROMIUM = shutil.which("chromium") or "chromium"
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
DESKTOP = ViewportSize(width=1360, height=900)
TELEPHONE = ViewportSize(width=390, height=844)


class Visit:
    """A page, and what went wrong or abroad while it was looked at."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.context.on("request", lambda request: self.requests.append(request.url))

    async def goto(self, path: str = "/") -> None:
        response = await self.page.goto(self.url + path)
        assert response
        assert response.ok

    async def picture(self, name: str) -> None:
        """Keep what is seen, if somebody wants to look: CONSOLE_PICTURES names a folder."""
        if folder := os.environ.get("CONSOLE_PICTURES"):
            await self.page.screenshot(path=Path(folder) / f"{name}.png")

    def assert_clean(self) -> None:
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(self.url)] == []


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def desktop(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(viewport=DESKTOP)
    yield context
    await context.close()


@pytest.fixture
async def visit(desktop: BrowserContext, service: Running) -> Visit:
    return Visit(await desktop.new_page(), service.ops_url)


async def traffic(service: Running, runner: FakeRunner) -> None:
    """One request alone in its batch; behind it several, that share batches; and two that go wrong."""
    runner.hold.clear()
    alone = asyncio.create_task(service.embed("first", x_request_id="alone"))
    await asyncio.sleep(0.2)
    names = [f"shop-{number:02}" for number in range(16)]
    behind = [
        asyncio.create_task(service.embed(*["three short words"] * (1 + number % 3), x_request_id=name))
        for number, name in enumerate(names)
    ]
    async with asyncio.timeout(5):
        while service.app.batcher.snapshot().queued_inputs < 31:
            await asyncio.sleep(0.01)
    runner.hold.set()
    await asyncio.gather(alone, *behind)
    await service.embed(FAIL, x_request_id="bad")
    await service.client.post("/v1/embeddings", json={"input": 5}, headers={"x-request-id": "wrong"})


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_is_clean_and_legible(
    browser: Browser, service: Running, scheme: str, runner: FakeRunner
) -> None:
    await traffic(service, runner)
    context = await browser.new_context(color_scheme=scheme, viewport=DESKTOP)  # type: ignore[arg-type]
    visit = Visit(await context.new_page(), service.ops_url)
    await visit.goto()
    await visit.picture(scheme)
    ground = await visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    brightness = sum(int(part) for part in ground.removeprefix("rgb(").removesuffix(")").split(",")) / 3
    assert (brightness > 200) == (scheme == "light")
    assert await visit.page.evaluate(CONTRASTS) == []
    await visit.goto("/requests/shop-05")
    await visit.picture(f"{scheme}-request")
    assert await visit.page.evaluate(CONTRASTS) == []
    visit.assert_clean()
    assert any(url.endswith("/static/console.css") for url in visit.requests)
    await context.close()


# Texts whose contrast with what they stand on is less than 4.5, and bars with less than 3: WCAG 2's limits.
CONTRASTS = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const luminance = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((x) => x / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element);
    const texts = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const background = ground(element);
    if (texts && contrast(style.color, background) < 4.5)
      poor.push([element.outerHTML, style.color, background]);
    if (element.matches(".bar rect:not(.behind, .within)") && contrast(style.fill, background) < 3)
      poor.push([element.outerHTML, style.fill, background]);
  }
  return poor;
}"""


async def test_a_request_is_found_by_its_id_and_by_its_trace(
    service: Running, visit: Visit, runner: FakeRunner
) -> None:
    await traffic(service, runner)
    answer = await service.embed("needle", x_request_id="needle")
    for text in ("needle", answer.headers["x-trace-id"]):
        await visit.goto()
        await visit.page.get_by_label("Request or trace id").fill(text)
        await visit.page.get_by_role("button", name="Find").click()
        await expect(visit.page.get_by_role("heading", level=1)).to_have_text("needle")
    visit.assert_clean()


async def test_an_exemplar_of_the_metrics_leads_to_its_request(service: Running, visit: Visit) -> None:
    await service.embed("the one request", x_request_id="the-example")
    openmetrics = {"accept": "application/openmetrics-text"}
    metrics = (await service.client.get(f"{service.ops_url}/metrics", headers=openmetrics)).text
    exemplars = re.findall(r'stage="compute".* # \{trace_id="([0-9a-f]{32})"\}', metrics)
    assert len(exemplars) == 1
    await visit.goto()
    await visit.page.get_by_label("Request or trace id").fill(exemplars[0])
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.get_by_role("heading", level=1)).to_have_text("the-example")
    await expect(visit.page.get_by_role("link", name=exemplars[0])).to_have_attribute(
        "href", TRACES.replace("{trace_id}", exemplars[0])
    )


async def test_the_waterfall_shows_each_stage_where_it_was(
    service: Running, visit: Visit, runner: FakeRunner
) -> None:
    await traffic(service, runner)
    await visit.goto("/requests/shop-05")
    rows = visit.page.locator(".waterfall tbody tr:not(.part)")
    assert await rows.locator("th").all_inner_texts() == [
        *("Receive", "Tokenize", "Queue", "Compute", "Respond", "Send")
    ]
    right = 0.0
    for bar in await rows.locator("rect").all():
        box = await bar.bounding_box()
        assert box
        assert box["width"] >= 1
        assert box["height"] >= 8
        assert box["x"] >= right - 6  # the shortest are drawn wider than they are
        right = box["x"] + box["width"]
    mates = visit.page.get_by_role("table", name="Who was in batch").get_by_role("link")
    await mates.first.click()
    await expect(visit.page.get_by_role("heading", level=1)).not_to_have_text("shop-05")
    visit.assert_clean()


async def test_the_keyboard_leads_to_a_request_and_the_focus_is_seen(service: Running, visit: Visit) -> None:
    await service.embed("one", x_request_id="reached")
    await visit.goto()
    page = visit.page
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    for _ in range(10):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.matches('tbody a')"):
            break
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("reached")
    visit.assert_clean()


async def test_a_new_request_appears_by_itself(service: Running, visit: Visit) -> None:
    await visit.goto()
    latest = visit.page.locator("#latest")
    await expect(latest).to_contain_text("No request has come yet.")
    await service.embed("one", x_request_id="fresh")
    await expect(latest).to_contain_text("fresh", timeout=6000)
    visit.assert_clean()


async def test_what_the_reader_points_at_stays_and_the_rest_goes_on(service: Running, visit: Visit) -> None:
    await service.embed("one", x_request_id="first")
    await visit.goto()
    page = visit.page
    await page.locator("#latest a").focus()
    await service.embed("one", x_request_id="second")
    await expect(page.locator("#slowest")).to_contain_text("second", timeout=6000)
    await expect(page.locator("#latest")).not_to_contain_text("second")
    await expect(page.locator("#latest a")).to_be_focused()
    await page.get_by_label("Request or trace id").focus()
    await expect(page.locator("#latest")).to_contain_text("second", timeout=6000)


async def test_updates_can_be_paused_and_none_is_asked_for_then(service: Running, visit: Visit) -> None:
    await visit.goto()
    page = visit.page
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("status")).to_have_text("Paused")
    await asyncio.sleep(0.5)
    asked = len(visit.requests)
    await service.embed("one", x_request_id="meanwhile")
    await asyncio.sleep(3)
    assert len(visit.requests) == asked
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator("#latest")).to_contain_text("meanwhile")


async def test_a_page_that_nobody_sees_asks_for_nothing(service: Running, visit: Visit) -> None:
    await visit.goto()
    await visit.page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { get: () => globalThis.away, configurable: true });
          globalThis.away = true;
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    await asyncio.sleep(0.5)
    asked = len(visit.requests)
    await service.embed("one", x_request_id="unseen")
    await asyncio.sleep(3)
    assert len(visit.requests) == asked
    await visit.page.evaluate(
        "globalThis.away = false; document.dispatchEvent(new Event('visibilitychange'))"
    )
    await expect(visit.page.locator("#latest")).to_contain_text("unseen")


async def test_a_server_that_is_gone_leaves_its_last_page_marked_as_old(
    service: Running, visit: Visit
) -> None:
    await service.embed("one", x_request_id="before")
    await visit.goto()
    await visit.page.route("**/*", lambda route: route.abort())
    await expect(visit.page.get_by_role("status")).to_have_text(
        "The server does not answer: this is old", timeout=6000
    )
    await expect(visit.page.locator("#latest")).to_contain_text("before")
    await visit.page.unroute("**/*")
    await expect(visit.page.get_by_role("status")).to_have_text("Live", timeout=10_000)


async def test_a_failed_server_says_so_first(service: Running, visit: Visit, runner: FakeRunner) -> None:
    await traffic(service, runner)
    runner.dies_of = DeviceLost("The GPU fell off the bus: restart the process.")
    await service.embed("one", x_request_id="last")
    async with asyncio.timeout(5):
        while service.app.health.live() is None:
            await asyncio.sleep(0.01)
    await visit.goto()
    await visit.picture("failed")
    await expect(visit.page).to_have_title("fake · failed · Vitrine")
    await expect(visit.page.locator("#state")).to_contain_text("not ready: The GPU fell off the bus")
    await expect(visit.page.locator("#failed")).to_contain_text("worker_died")


async def test_it_works_without_scripts(browser: Browser, service: Running, runner: FakeRunner) -> None:
    await traffic(service, runner)
    context = await browser.new_context(java_script_enabled=False)
    visit = Visit(await context.new_page(), service.ops_url)
    await visit.goto()
    await visit.page.locator("#latest").get_by_role("link", name="shop-05").click()
    await expect(visit.page.get_by_role("heading", level=1)).to_have_text("shop-05")
    mates = visit.page.get_by_role("table", name="Who was in batch").first
    await expect(mates).to_be_visible()
    await visit.page.locator("summary").first.click()
    await expect(mates).not_to_be_visible()
    visit.assert_clean()
    await context.close()


async def test_it_fits_a_telephone(browser: Browser, service: Running, runner: FakeRunner) -> None:
    await traffic(service, runner)
    context = await browser.new_context(viewport=TELEPHONE, color_scheme="dark")
    visit = Visit(await context.new_page(), service.ops_url)
    for path in ("/", "/requests/shop-05", "/requests/unknown-" + "x" * 110):
        await visit.page.goto(service.ops_url + path)
        await visit.picture(f"telephone-{path[1:4]}")
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"]
        for part in await visit.page.locator("#slowest .id, #slowest .bar").all():
            box = await part.bounding_box()
            assert box
            assert box["width"] > 60
            assert box["x"] + box["width"] <= TELEPHONE["width"]
    await context.close()
