-- Printed by wrk when a load has ended. No request() or response() here on purpose: wrk then
-- never enters Lua while it loads, and leaves the machine to the server.
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "bad_status": %d, '
            .. '"socket_errors": %d, "timeouts": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
