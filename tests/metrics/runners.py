import threading

from tests.fakes import FakeRunner


class LoadingRunner(FakeRunner):
    """Loads until the test sets `loaded`, and knows nothing of itself before, like the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = threading.Event()
        self._known = self.info
        del self.info

    def load(self) -> None:
        self.loaded.wait(10)
        self.info = self._known
