"""Refreshing metrics: native/callbacks/metrics.cpp."""

from collections.abc import Callable

def RegisterRefreshMetricsCallback(callback: Callable[[], object], /) -> None:
    """Register a function that updates metrics each time that Orthanc is asked for them.

    The callback has no arguments and is a `def` or an `async def`, which sets metrics by
    `SetMetricsValue` or `await set_metrics_value(…)`. What it returns is ignored. All registered
    callbacks are called, one after another, and Orthanc waits for each, for 30 s at most; when one
    raises, that is logged and the metrics keep their last values. Inside, a request for the
    metrics raises, as it would wait for itself.

    Args:
        callback: What updates the metrics.

    Raises:
        TypeError: It is not callable.
        RuntimeError: Orthanc has stopped, or the first one came on the running event loop.

    SDK function: OrthancPluginRegisterRefreshMetricsCallback().
    """
