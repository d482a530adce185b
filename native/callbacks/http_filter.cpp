#include <string>

#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "filters.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

constexpr std::int32_t refuse = 0; // HTTP 403
constexpr std::int32_t allow = 1;
constexpr std::int32_t not_decided = -1; // HTTP 500: the client sees that nothing was decided

class HttpFilterQuestion final : public Question {
public:
    struct Request {
        OrthancPluginHttpMethod method;
        HttpFields fields;
    };

    explicit HttpFilterQuestion(const Request& request)
        : request_(request), uri_(request.fields.uri) {}

    py::tuple arguments() override { return py::make_tuple(sdk::to_text(request_.fields.uri)); }
    py::dict keywords() override {
        py::dict fields;
        fields["method"] = sdk::to_enum("HttpMethod", request_.method);
        request_.fields.add_to(fields, request_.method == OrthancPluginHttpMethod_Get);
        return fields;
    }
    void take(const py::object& result) override {
        if (!py::isinstance<py::bool_>(result)) {
            throw py::type_error("an HTTP filter returns True or False, not " +
                                 std::string(py::repr(result)));
        }
        allowed_ = result.cast<bool>();
    }
    std::string describe() const override { return "HTTP request for " + uri_; }

    bool allowed() const { return allowed_; }

private:
    const Request request_;
    const std::string uri_;
    bool allowed_ = false;
};

std::int32_t decide(const HttpFilterQuestion::Request& request) {
    const auto registry = Registry::current();
    if (!registry || !may_ask({})) {
        return not_decided;
    }
    for (const Handler* handler : handlers_of(registry, Family::HttpFilter)) {
        const auto question = std::make_shared<HttpFilterQuestion>(request);
        const Verdict verdict = consult(registry, *handler, question);
        if (verdict == Verdict::Refused) {
            return not_decided;
        }
        if (verdict == Verdict::Answered && !question->allowed()) {
            return refuse;
        }
    }
    return allow;
}

std::int32_t on_request(OrthancPluginHttpMethod method, const char* uri, const char* ip,
                        std::uint32_t headers_count, const char* const* headers_keys,
                        const char* const* headers_values, std::uint32_t get_count,
                        const char* const* get_keys, const char* const* get_values) noexcept {
    return in_callback(not_decided, [&] {
        return decide({method,
                       {uri, ip, headers_count, headers_keys, headers_values, get_count, get_keys,
                        get_values}});
    });
}

} // namespace

void add_http_filter(py::module_& module) {
    Registration registration{"RegisterIncomingHttpRequestFilter", "HTTP filter",
                              Family::HttpFilter};
    registration.hook = [](OrthancPluginContext* context) {
        check_hooked(context, OrthancPluginRegisterIncomingHttpRequestFilter2(context, on_request),
                     "RegisterIncomingHttpRequestFilter", "1.3.0");
    };
    define(module, registration);
}

} // namespace orthanc_async::callbacks
