#include "metrics.hpp"

#include <memory>
#include <string>

#include "../sdk/server.hpp"
#include "question.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

// Orthanc holds a lock meanwhile that is taken for each request for the metrics and is not
// recursive.
class RefreshQuestion final : public Question {
public:
    py::tuple arguments() override { return py::tuple(); }
    void take(const py::object& /*result*/) override {}
    std::string describe() const override { return "refreshing the metrics"; }
    bool would_hang(const std::string& call) const override {
        return call.find("RestApiGet") != std::string::npos &&
               call.find("'/tools/metrics-prometheus'") != std::string::npos;
    }
};

void refresh() {
    const auto registry = Registry::current();
    // Who asks while Orthanc starts or stops gets the last values.
    if (!registry || !may_ask({false, false})) {
        return;
    }
    for (const Handler* handler : handlers_of(registry, Family::RefreshMetrics)) {
        ask(registry, *handler, std::make_shared<RefreshQuestion>()); // a failure is logged
    }
}

void on_refresh() noexcept {
    in_callback(0, [] {
        refresh();
        return 0;
    });
}

} // namespace

void add_metrics(py::module_& module) {
    Registration registration{"RegisterRefreshMetricsCallback", "metrics", Family::RefreshMetrics};
    registration.hook = [](OrthancPluginContext* context) {
        OrthancPluginRegisterRefreshMetricsCallback(context, on_refresh);
    };
    define(module, registration);
}

} // namespace orthanc_async::callbacks
