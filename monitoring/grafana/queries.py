"""PromQL as the dashboards put it together."""

import re

from monitoring.slo import JOB

OF_SERVICE = f'job="{JOB}"'
OF_INSTANCES = f'{OF_SERVICE},namespace=~"$namespace",instance=~"$instance"'
OF_MODELS = f'{OF_INSTANCES},model_name=~"$model"'
OF_NAMESPACE = 'namespace=~"$namespace"'
OF_PODS = f'{OF_NAMESPACE},pod=~"$pod"'


def series(metric: str, *matchers: str) -> str:
    """The metric with these matchers."""
    return f"{metric}{{{','.join(matchers)}}}" if matchers else metric


def rate(metric: str, *matchers: str) -> str:
    """Its growth a second, over a window that fits the zoom and holds at least four scrapes."""
    return f"rate({series(metric, *matchers)}[$__rate_interval])"


def increase(metric: str, *matchers: str) -> str:
    """Its growth over the same window."""
    return f"increase({series(metric, *matchers)}[$__rate_interval])"


def total(expr: str, *labels: str) -> str:
    """The sum over all series, or for each value of the labels."""
    by = f" by ({', '.join(labels)}) " if labels else ""
    return f"sum{by}({expr})"


def quantile(share: float, histogram: str, *matchers: str) -> str:
    """The histogram's quantile, over all instances that are looked at."""
    return f"histogram_quantile({share:g}, {total(rate(f'{histogram}_bucket', *matchers), 'le')})"


def filled_in(expr: str, rate_interval: str) -> str:
    """The query as Grafana sends it while each variable is at All."""
    return re.sub(r"\$\w+", ".*", expr.replace("$__rate_interval", rate_interval))
