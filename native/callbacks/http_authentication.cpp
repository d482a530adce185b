#include "filters.hpp"

#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 9)

#include <string>
#include <utility>

#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "payloads.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

class AuthenticationQuestion final : public Question {
public:
    explicit AuthenticationQuestion(const HttpFields& request)
        : request_(request), uri_(request.uri) {}

    py::tuple arguments() override { return py::make_tuple(sdk::to_text(request_.uri)); }
    py::dict keywords() override {
        py::dict fields;
        request_.add_to(fields, true);
        return fields;
    }
    void take(const py::object& result) override {
        if (!py::isinstance<py::tuple>(result) || py::len(result) != 2) {
            throw py::type_error("an HTTP authentication returns a tuple "
                                 "(orthanc.HttpAuthenticationStatus, bytes, str or None), not " +
                                 std::string(py::repr(result)));
        }
        const py::tuple pair = result;
        const py::object status = pair[0];
        // A bool is an int too, and False the number of "granted".
        if (PyLong_Check(status.ptr()) == 0 || PyBool_Check(status.ptr()) != 0) {
            throw py::type_error("the status must be an orthanc.HttpAuthenticationStatus, not " +
                                 std::string(py::repr(status)));
        }
        const auto value = status.cast<int>();
        if (value < OrthancPluginHttpAuthenticationStatus_Granted ||
            value > OrthancPluginHttpAuthenticationStatus_Redirect) {
            throw py::value_error("the status must be an orthanc.HttpAuthenticationStatus, not " +
                                  std::string(py::repr(status)));
        }
        const py::object more = pair[1];
        if (!more.is_none() && !py::isinstance<py::str>(more) &&
            !py::isinstance<py::bytes>(more)) {
            throw py::type_error("the second of the tuple must be bytes, str or None, not " +
                                 std::string(Py_TYPE(more.ptr())->tp_name));
        }
        more_ = more.is_none() ? std::string() : more.cast<std::string>();
        if (value == OrthancPluginHttpAuthenticationStatus_Redirect && more_.empty()) {
            throw py::value_error("a redirection needs a path as the second of the tuple");
        }
        status_ = static_cast<OrthancPluginHttpAuthenticationStatus>(value);
    }
    std::string describe() const override { return "HTTP request for " + uri_; }

    OrthancPluginHttpAuthenticationStatus status() const { return status_; }
    const std::string& more() const { return more_; }

private:
    const HttpFields request_;
    const std::string uri_;
    OrthancPluginHttpAuthenticationStatus status_ =
        OrthancPluginHttpAuthenticationStatus_Unauthorized;
    std::string more_;
};

// Whatever OnFilterError says: without its answer nobody has been recognised.
OrthancPluginErrorCode decide(OrthancPluginHttpAuthenticationStatus* status,
                              OrthancPluginMemoryBuffer* payload,
                              OrthancPluginMemoryBuffer* redirection, const HttpFields& request) {
    const auto registry = Registry::current();
    const auto handlers = handlers_of(registry, Family::HttpAuthentication);
    if (handlers.empty() || !may_ask({})) {
        return OrthancPluginErrorCode_Plugin;
    }
    const auto question = std::make_shared<AuthenticationQuestion>(request);
    if (ask(registry, *handlers.front(), question) != Outcome::Answered) {
        return OrthancPluginErrorCode_Plugin;
    }
    *status = question->status();
    if (*status == OrthancPluginHttpAuthenticationStatus_Granted) {
        hand_over(payload, question->more());
    } else if (*status == OrthancPluginHttpAuthenticationStatus_Redirect) {
        hand_over(redirection, question->more());
    }
    return OrthancPluginErrorCode_Success;
}

OrthancPluginErrorCode
on_request(OrthancPluginHttpAuthenticationStatus* status, OrthancPluginMemoryBuffer* payload,
           OrthancPluginMemoryBuffer* redirection, const char* uri, const char* ip,
           std::uint32_t headers_count, const char* const* headers_keys,
           const char* const* headers_values, std::uint32_t get_count, const char* const* get_keys,
           const char* const* get_values) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        return decide(status, payload, redirection,
                      {uri, ip, headers_count, headers_keys, headers_values, get_count, get_keys,
                       get_values});
    });
}

} // namespace

void add_http_authentication(py::module_& module) {
    Registration registration{"RegisterHttpAuthentication", "HTTP authentication",
                              Family::HttpAuthentication};
    registration.only_one = true;
    registration.hook = [](OrthancPluginContext* context) {
        check_hooked(context, OrthancPluginRegisterHttpAuthentication(context, on_request),
                     "RegisterHttpAuthentication", "1.12.9",
                     "Another plugin authenticates, and Orthanc allows one only");
        requests_have_payloads = true;
    };
    define(module, registration);
}

} // namespace orthanc_async::callbacks

#else

namespace orthanc_async::callbacks {

void add_http_authentication(pybind11::module_& /*module*/) {}

} // namespace orthanc_async::callbacks

#endif
