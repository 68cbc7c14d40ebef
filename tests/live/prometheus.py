"""A real Prometheus, asked over HTTP as Grafana asks it."""

import json
import time
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

Sample = tuple[dict[str, str], float]


class Prometheus:
    """The one at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, query: str) -> list[Sample]:
        """The values now, by labels."""
        answer = self._get("query", query=query)
        if answer["resultType"] == "scalar":
            return [({}, float(answer["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in answer["result"]]

    def series(self, selector: str) -> list[dict[str, str]]:
        """The labels of all series that it knows of."""
        found: list[dict[str, str]] = self._get("series", **{"match[]": selector})
        return found

    def exemplar_traces(self, query: str, seconds: float) -> set[str]:
        """The traces of the exemplars that a panel with this query shows for the last seconds."""
        now = time.time()
        found = self._get("query_exemplars", query=query, start=now - seconds, end=now)
        return {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}

    def _get(self, what: str, **parameters: object) -> Any:
        with urlopen(f"{self._url}/api/v1/{what}?{urlencode(parameters)}", timeout=10) as reply:
            return json.load(reply)["data"]
