import asyncio
import html
from html.parser import HTMLParser
from urllib.parse import quote

import httpx
import pytest

from app.batching import Reason
from app.console.pages import FRESH
from app.console.render import NOTHING, REASONS
from app.errors import DeviceLost
from app.main import create_app
from app.settings import Settings
from app.telemetry.gpu import DeviceStatus, GpuState, GpuStatus, GpuTelemetry, Sample
from tests.fakes import FAIL, FakeRunner
from tests.running import Running, running, settings_for

pytestmark = pytest.mark.anyio

HOSTILE = [
    "<script>alert(1)</script>",
    "\"onmouseover='alert(1)'",
    "{{7*7}}{%raise%}",
    "a/b/../c",
    "..",
    ".",
    "%2e%2e",
    "%00",
    "?q=1&n=2#x",
    "javascript:alert(1)",
    "state.json",
    "x" * 128,
]


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and the text."""

    def __init__(self, page: httpx.Response) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.text += " " if tag in {"td", "th", "dt", "dd", "li", "p", "small"} else ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.elements if tag == "a"]


async def test_the_overview_shows_state_model_and_requests(
    service: Running, console: httpx.AsyncClient
) -> None:
    await service.embed("one two three", x_request_id="the-request")
    page = await console.get("/")
    text = Page(page).text
    assert page.status_code == 200
    assert "Serving" in text
    assert "ready: the model answers" in text
    assert "FakeModel" in text
    assert "the-request" in text


async def test_the_overview_says_why_the_server_is_not_ready(
    service: Running, console: httpx.AsyncClient
) -> None:
    service.app.health.require(lambda: "GPU 0 is <lost>")
    page = await console.get("/")
    assert "not ready: GPU 0 is &lt;lost&gt;" in page.text


async def test_the_overview_shows_how_the_worker_died(
    service: Running, console: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.dies_of = DeviceLost("The GPU fell off the bus: restart the process.")
    await service.embed("one", x_request_id="last")
    async with asyncio.timeout(5):
        while service.app.health.live() is None:
            await asyncio.sleep(0.01)
    text = Page(await console.get("/")).text
    assert "Failed" in text
    assert "not ready: The GPU fell off the bus: restart the process." in text
    assert "worker_died" in text


async def test_before_the_model_is_loaded_there_is_a_page() -> None:
    app = create_app(settings_for(), runner=FakeRunner())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.ops), base_url="http://ops") as console:
        text = Page(await console.get("/")).text
    assert "Starting" in text
    assert "not ready: the model is loading" in text


async def test_a_request_shows_its_stages_batch_mates_and_trace(
    service: Running, console: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.hold.clear()
    blocker = asyncio.create_task(service.embed("blocker", x_request_id="blocker"))
    await asyncio.sleep(0.1)
    pair = [asyncio.create_task(service.embed("a b c", x_request_id=name)) for name in ("left", "right")]
    await asyncio.sleep(0.1)
    runner.hold.set()
    answer, *_ = await asyncio.gather(*pair, blocker)

    reply = await console.get("/requests/left")
    assert reply.status_code == 200
    page = Page(reply)
    stages_shown = ["Receive", "Tokenize", "Queue", "Compute", "Respond", "Send"]
    assert [word for word in page.text.split() if word in stages_shown] == stages_shown
    assert "behind batch" in page.text
    assert "in batch" in page.text
    assert "2 inputs of 2 requests, 6 tokens" in page.text
    assert any(link.startswith("/requests/right?n=") for link in page.links())
    trace_id = answer.headers["x-trace-id"]
    assert f"http://127.0.0.1:16686/trace/{trace_id}" in page.links()

    found = (await console.get("/requests.json", params={"q": "left"})).json()["requests"][0]
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    stages = {stage["name"]: stage["seconds"] * 1000 for stage in found["stages"]}
    assert {name: pytest.approx(float(ms), abs=0.006) for name, ms in timing.items()} == {
        name: stages[name] for name in timing
    }
    assert sum(stages.values()) == pytest.approx(found["seconds"] * 1000)


async def test_search_finds_by_request_and_by_trace_id(service: Running, console: httpx.AsyncClient) -> None:
    answer = await service.embed("one", x_request_id="searched")
    for text in ("searched", answer.headers["x-trace-id"], f"  {answer.headers['x-trace-id'].upper()} "):
        page = await console.get("/requests", params={"q": text})
        assert page.status_code == 200
        assert '<h1 id="request-title" class="id">searched</h1>' in page.text


async def test_several_of_one_id_are_listed_and_each_opens(
    service: Running, console: httpx.AsyncClient
) -> None:
    for words in ("one", "one two", "one two three"):
        await service.embed(words, x_request_id="retried")
    page = Page(await console.get("/requests/retried"))
    assert "3 requests" in page.text
    links = [link for link in page.links() if link.startswith("/requests/retried")]
    tokens = []
    for link in links:
        one = await console.get(link)
        assert "2 others" in one.text
        tokens.append(Page(one).text.partition("Tokens")[2].split()[0])
    assert tokens == ["3", "2", "1"]


async def test_what_is_not_there_is_a_404_page(console: httpx.AsyncClient) -> None:
    for path in ("/requests/unknown", "/requests?q=unknown", "/requests?q=", "/nowhere"):
        page = await console.get(path)
        assert page.status_code == 404
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert Page(page).links() == ["#content", "/", "/"]


@pytest.mark.parametrize("request_id", HOSTILE)
async def test_a_hostile_request_id_is_text_and_its_page_opens(
    service: Running, console: httpx.AsyncClient, request_id: str
) -> None:
    mate = asyncio.create_task(service.embed("two", x_request_id="mate"))
    await service.embed("one", x_request_id=request_id)
    await mate
    overview = await console.get("/")
    assert html.escape(request_id, quote=False).replace("'", "&#39;").replace('"', "&#34;") in overview.text
    assert request_id in Page(overview).text
    # What a browser opens: httpx leaves dots in paths as they are, and a browser does not.
    links = [httpx.URL(link) for link in Page(overview).links() if "n=" in link]
    pages = [await console.get(link) for link in links if "mate" not in str(link)]
    assert pages
    assert all(link.path not in {"/requests/..", "/requests/."} for link in links)
    for page in [*pages, await console.get("/requests", params={"q": request_id})]:
        assert page.status_code == 200
        parsed = Page(page)
        assert request_id in parsed.text
        own = [tag for tag, attributes in parsed.elements if "onmouseover" in attributes or tag == "script"]
        assert own == []


async def test_a_hostile_search_is_text(console: httpx.AsyncClient) -> None:
    page = await console.get("/requests", params={"q": "</p><script>alert(1)</script>\"'{{7*7}}"})
    assert page.status_code == 404
    assert "script" not in [tag for tag, _ in Page(page).elements]
    assert "{{7*7}}" in Page(page).text
    page = await console.get(f"/requests/{quote('<img src=x onerror=alert(1)>', safe='')}")
    assert "img" not in [tag for tag, _ in Page(page).elements]


async def test_a_browser_may_do_nothing_else_with_it(service: Running, console: httpx.AsyncClient) -> None:
    await service.embed("one", x_request_id="known")
    for path in ("/", "/requests/known", "/nowhere", "/state.json", "/static/console.css"):
        headers = (await console.get(path, headers={"origin": "http://evil.example"})).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert not [name for name in headers if name.startswith("access-control-")]


async def test_it_can_only_be_read(console: httpx.AsyncClient) -> None:
    for path in ("/", "/requests", "/requests/any", "/state.json", "/static/console.css"):
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert (await console.request(method, path)).status_code == 405, (method, path)


async def test_only_its_own_files_are_served(console: httpx.AsyncClient) -> None:
    for path in (b"/static/../pages.py", b"/static/%2e%2e/pages.py", b"/static/..%2fpages.py"):
        request = console.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=path)
        assert (await console.send(request)).status_code == 404


async def test_the_other_routes_of_the_port_are_not_hidden(console: httpx.AsyncClient) -> None:
    assert (await console.get("/readyz")).json() == {"status": "ok"}
    assert "inference_model_ready" in (await console.get("/metrics")).text


async def test_however_many_look_the_overview_is_made_twice_a_second(
    service: Running, console: httpx.AsyncClient
) -> None:
    first = await console.get("/")
    await service.embed("one", x_request_id="new-one")
    again = await asyncio.gather(*(console.get("/") for _ in range(20)))
    assert {page.text for page in again} == {first.text}
    await asyncio.sleep(FRESH)
    assert "new-one" in (await console.get("/")).text


async def test_nothing_that_was_sent_is_shown(service: Running, console: httpx.AsyncClient) -> None:
    secret, key = "Xylophone-4711-secret", "Bearer-key-0815"
    await service.embed(secret, authorization=f"Bearer {key}", x_request_id="one")
    await service.embed(f"{secret} {FAIL}", x_request_id="two")
    await service.client.post("/v1/embeddings", json={"input": [secret, 5], secret: secret})
    await service.client.post("/v1/embeddings", content=secret, headers={"content-type": "application/json"})
    await service.client.get(f"/{secret}?{secret}={key}")
    shown = await asyncio.gather(
        *(
            console.get(path)
            for path in ("/", "/state.json", "/requests.json", "/requests/one", "/requests/two")
        )
    )
    for request in shown[2].json()["requests"]:
        shown.append(await console.get("/requests", params={"q": request["request_id"]}))
    assert len(shown) == 10
    for page in shown:
        assert page.status_code == 200
        assert secret not in page.text
        assert key not in page.text


async def test_the_state_as_json_agrees_with_the_metrics(
    service: Running, console: httpx.AsyncClient
) -> None:
    await service.embed("one two", "three")
    state = (await console.get("/state.json")).json()
    assert state["phase"] == "serving"
    assert state["unready"] is None
    assert state["model"]["architecture"] == "FakeModel"
    minute = state["periods"][0]
    assert minute["requests_per_second"] > 0
    assert minute["padding_ratio"] == pytest.approx(1 / 4)
    assert minute["reasons"]["drained"] == 1
    assert sum(column["requests"] for column in state["history"]) == 1
    assert [stage["count"] for stage in state["stages"]] == [1] * 5


async def test_a_gpu_is_shown_with_what_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = (
        Sample("gpu_utilization_ratio", 0.93),
        Sample("gpu_memory_used_bytes", 20 * 2**30),
        Sample("gpu_memory_total_bytes", 80 * 2**30),
    )
    devices = (
        DeviceStatus("0", "GPU-0", "NVIDIA H100", up=True, samples=samples),
        DeviceStatus("1", "GPU-1", "NVIDIA H100", lost=True, reason="GPU is lost"),
    )
    monkeypatch.setattr(GpuTelemetry, "status", lambda _self: GpuStatus(GpuState.READY, "", devices))
    async with running() as service, httpx.AsyncClient(base_url=service.ops_url) as console:
        text = " ".join(Page(await console.get("/")).text.split())
    assert f"0 NVIDIA H100 93% 20.0 GiB of 80.0 GiB {NOTHING} {NOTHING}" in text
    assert "1 NVIDIA H100 down: GPU is lost" in text


async def test_without_a_gpu_there_is_no_word_of_one(console: httpx.AsyncClient) -> None:
    assert "GPU" not in (await console.get("/")).text


@pytest.mark.parametrize(
    "value", ["javascript:alert('{trace_id}')", "http://jaeger/trace/", "http://a b/{trace_id}", "{trace_id}"]
)
def test_a_trace_ui_is_a_web_address_with_a_place_for_the_id(value: str) -> None:
    with pytest.raises(ValueError, match="trace_ui_url"):
        Settings(model="fake", trace_ui_url=value)


def test_every_reason_for_letting_a_batch_go_has_its_words() -> None:
    assert set(REASONS) == set(Reason)
