#include "webdav.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "../runtime/gil.hpp"
#include "../sdk/call_scope.hpp"
#include "../sdk/server.hpp"
#include "webdav_question.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

// False: the client gets status 500, and the log says why. An action without a handler is refused.
bool put(void* payload, Action action, const std::shared_ptr<WebDavQuestion>& question) {
    const auto registry = Registry::current();
    if (!registry || !may_ask({})) {
        sdk::Server::get().log_warning(
            (question->describe() + " is refused: Orthanc starts or stops").c_str());
        return false;
    }
    const int form =
        static_cast<int>(reinterpret_cast<std::uintptr_t>(payload)) * Actions + action;
    for (const Handler* handler : handlers_of(registry, Family::WebDav)) {
        if (handler->form == form) {
            return ask(registry, *handler, question) == Outcome::Answered;
        }
    }
    return true;
}

// Despite the name that the SDK gives the flag of store, create and delete, every Orthanc so far
// takes 1 for "done" and 0 for "read-only" (status 403).
OrthancPluginErrorCode yes_or_no(std::uint8_t* flag, void* payload, Action action,
                                 const std::shared_ptr<WebDavQuestion>& question) {
    *flag = 0;
    if (!put(payload, action, question)) {
        return OrthancPluginErrorCode_Plugin;
    }
    *flag = question->yes() ? 1 : 0;
    return OrthancPluginErrorCode_Success;
}

template <Action action>
OrthancPluginErrorCode plain(std::uint8_t* flag, std::uint32_t size, const char* const* items,
                             void* payload) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        return yes_or_no(flag, payload, action,
                         std::make_shared<WebDavQuestion>(action, size, items));
    });
}

OrthancPluginErrorCode list_folder(std::uint8_t* is_existing,
                                   OrthancPluginWebDavCollection* collection,
                                   OrthancPluginWebDavAddFile add_file,
                                   OrthancPluginWebDavAddFolder add_folder, std::uint32_t size,
                                   const char* const* items, void* payload) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const auto question = std::make_shared<ListQuestion>(size, items);
        auto code = yes_or_no(is_existing, payload, ListFolder, question);
        for (const ListQuestion::Entry& entry : question->entries()) {
            if (code != OrthancPluginErrorCode_Success) {
                break;
            }
            code = entry.size ? add_file(collection, entry.name.c_str(), *entry.size,
                                         entry.mime_type.c_str(), entry.time.c_str())
                              : add_folder(collection, entry.name.c_str(), entry.time.c_str());
        }
        return code;
    });
}

OrthancPluginErrorCode retrieve_file(OrthancPluginWebDavCollection* collection,
                                     OrthancPluginWebDavRetrieveFile retrieve, std::uint32_t size,
                                     const char* const* items, void* payload) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const auto question = std::make_shared<RetrieveQuestion>(size, items);
        if (!put(payload, Retrieve, question)) {
            return OrthancPluginErrorCode_Plugin;
        }
        return question->yes()
                   ? retrieve(collection, question->content().data(), question->content().size(),
                              question->mime_type().c_str(), question->time().c_str())
                   : OrthancPluginErrorCode_Success; // status 404
    });
}

OrthancPluginErrorCode store_file(std::uint8_t* is_stored, std::uint32_t size,
                                  const char* const* items, const void* data,
                                  std::uint64_t data_size, void* payload) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        return yes_or_no(is_stored, payload, Store,
                         std::make_shared<StoreQuestion>(size, items, data, data_size));
    });
}

constexpr const char* name = "orthanc.RegisterWebDavCollection()";

// Whether Orthanc has its own collection at /webdav.
bool has_own(OrthancPluginContext* context) {
    char* const raw = OrthancPluginGetConfiguration(context);
    if (raw == nullptr) {
        return true;
    }
    const auto configuration = nlohmann::json::parse(raw, nullptr, false);
    OrthancPluginFreeString(context, raw);
    return !configuration.is_object() || configuration.value("WebDavEnabled", true);
}

// Orthanc asks the first collection whose URI a path begins with.
bool one_hides_the_other(const std::string& one, const std::string& other) {
    return (one + "/").compare(0, other.size() + 1, other + "/") == 0 ||
           (other + "/").compare(0, one.size() + 1, one + "/") == 0;
}

// Adds the handlers of one collection; returns its number. GIL: held. Throws.
std::uintptr_t add_collection(Registry& registry, OrthancPluginContext* context,
                              const std::string& uri, std::array<py::object, Actions>& handlers) {
    static std::vector<std::string> uris; // of this session. GIL: held
    if (registry.family(Family::WebDav).count == 0) {
        uris.clear();
    }
    if (uri.size() < 2 || uri[0] != '/' || uri.back() == '/') {
        throw py::value_error(std::string(name) + ": the URI is like \"/folder\", not \"" + uri +
                              "\"");
    }
    for (std::size_t action = 0; action < Actions; ++action) {
        const py::object& handler = handlers.at(action);
        const bool is_optional = action >= Store;
        if (PyCallable_Check(handler.ptr()) == 0 && !(is_optional && handler.is_none())) {
            throw py::type_error(std::string(name) + ": argument " + std::to_string(action + 2) +
                                 " is a function (def or async def)" +
                                 (is_optional ? " or None" : "") + ", not " +
                                 Py_TYPE(handler.ptr())->tp_name);
        }
    }
    if (one_hides_the_other(uri, "/webdav") && has_own(context)) {
        throw py::value_error(std::string(name) + ": \"" + uri +
                              "\" lies in Orthanc's own WebDAV folder, which is there unless the "
                              "configuration says \"WebDavEnabled\": false");
    }
    for (const std::string& other : uris) {
        if (one_hides_the_other(uri, other)) {
            std::string text(name);
            text.append(": of \"").append(uri).append("\" and \"").append(other);
            throw py::value_error(text.append("\", one would hide the other"));
        }
    }
    const std::uintptr_t number = uris.size();
    uris.push_back(uri);
    for (std::size_t action = 0; action < Actions; ++action) {
        if (!handlers.at(action).is_none()) {
            Registration registration{"RegisterWebDavCollection", "WebDAV", Family::WebDav};
            registration.form = static_cast<int>(number * Actions + action);
            add_handler(registration, std::move(handlers.at(action)));
        }
    }
    return number;
}

void register_collection(const std::string& uri, std::array<py::object, Actions> handlers) {
    const auto registry = Registry::current();
    if (!registry || !registry->loading) {
        throw std::runtime_error(std::string(name) + ": Orthanc looks for WebDAV folders only "
                                                     "while it starts: register while the script "
                                                     "is imported");
    }
    const sdk::CallScope scope("RegisterWebDavCollection", "RegisterWebDavCollection",
                               sdk::Kind::Pure);
    const std::uintptr_t number = add_collection(*registry, scope.context(), uri, handlers);
    auto code = OrthancPluginErrorCode_Success;
    {
        const runtime::WithoutGil without;
        code = OrthancPluginRegisterWebDavCollection(
            scope.context(), uri.c_str(), plain<IsFolder>, list_folder, retrieve_file, store_file,
            plain<CreateFolder>, plain<Delete>,
            reinterpret_cast<void*>(number)); // NOLINT(performance-no-int-to-ptr)
    }
    if (code != OrthancPluginErrorCode_Success) {
        sdk::throw_sdk_error(code, "RegisterWebDavCollection('" + uri + "')");
    }
}

} // namespace

void add_webdav(py::module_& module) {
    module.def(
        "RegisterWebDavCollection",
        [](const std::string& uri, py::object is_folder, py::object list, py::object retrieve,
           py::object store, py::object create, py::object remove) {
            register_collection(uri, {std::move(is_folder), std::move(list), std::move(retrieve),
                                      std::move(store), std::move(create), std::move(remove)});
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(),
        py::pos_only());
}

} // namespace orthanc_async::callbacks
