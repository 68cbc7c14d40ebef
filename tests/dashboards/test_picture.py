"""The picture in the docs shows panels that there are."""

from monitoring.grafana.picture import PICTURE, ROWS
from tests.dashboards.boards import PANELS


def test_each_panel_of_the_picture_is_on_the_overview() -> None:
    titles = {panel.title for panel in PANELS if panel.dashboard == "overview"}
    assert {title for row in ROWS for title in row} <= titles


def test_the_picture_is_light_enough_for_a_page() -> None:
    assert PICTURE.stat().st_size < 200_000
