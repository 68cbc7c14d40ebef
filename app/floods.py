"""What to keep of many things that are alike: in a flood the later ones tell nothing new."""


class FirstOfEachSecond:
    """Lets so many pass in each second. Instants come in order, or nearly so."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0
        self._count = 0

    def lets_pass(self, instant: float) -> bool:
        """Count one more, at `instant` in seconds."""
        if int(instant) != self._second:
            self._second, self._count = int(instant), 0
        self._count += 1
        return self._count <= self._most
