"""What Prometheus reads: times of our own, and figures of the database at each scrape."""

import logging
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import DBAPIError

from api.health import free_bytes
from api.rates import StreamSlots
from store import figures
from store.database import is_away, sessions
from store.settings import settings

log = logging.getLogger("api.gauges")

_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30, 300)


class Gauges:
    """A registry of its own, so that two apps in one process do not meet."""

    def __init__(self, streams: StreamSlots) -> None:
        self._registry = CollectorRegistry()
        self.http = Histogram(
            "cmac_http_request_seconds",
            "Time to answer, by route template.",
            ("route", "method", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_Figures(lambda: streams.open))

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)


class _Figures(Collector):
    """Asked at each scrape. Without the database only cmac_database_up = 0 is left."""

    def __init__(self, streams: Callable[[], int]) -> None:
        self._streams = streams

    def describe(self) -> Iterable[Metric]:
        return ()  # registering must not ask the database

    def collect(self) -> Iterator[Metric]:
        free = float(free_bytes(settings().root))
        yield GaugeMetricFamily("cmac_disk_free_bytes", "Free space where the home is.", value=free)
        yield GaugeMetricFamily("cmac_streams", "Open event streams.", value=self._streams())
        up = GaugeMetricFamily("cmac_database_up", "Whether the database answers.")
        try:
            with sessions() as session:
                figures_now = figures.read(session)
        except DBAPIError as error:
            if not is_away(error):
                raise
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        for figure in figures_now:
            family = CounterMetricFamily if figure.counter else GaugeMetricFamily
            metric = family(figure.name, figure.help, labels=figure.labels)
            for labels, value in figure.values:
                metric.add_metric(labels, value)
            yield metric
