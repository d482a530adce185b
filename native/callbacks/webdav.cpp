#include "webdav.hpp"

#include <array>
#include <cctype>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../sdk/call_scope.hpp"
#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "content.hpp"
#include "question.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

// Orthanc hands back only a number with each question: which collection it is. A handler's form
// is the collection's number and what it does.
enum Action { IsFolder, ListFolder, Retrieve, Store, CreateFolder, Delete, Actions };
constexpr std::array action_names{"a look at", "a list of",         "retrieving",
                                  "storing",   "creating a folder", "deleting"};

std::string text_of(const py::handle& value, const char* what) {
    if (PyUnicode_Check(value.ptr()) == 0) {
        throw py::type_error(std::string(what) + " is a str, not " + std::string(py::repr(value)));
    }
    const auto encoded = py::reinterpret_steal<py::bytes>(
        PyUnicode_AsEncodedString(value.ptr(), "utf-8", "surrogateescape"));
    if (!encoded) {
        throw py::error_already_set();
    }
    std::string text = encoded;
    if (text.find('\0') != std::string::npos) {
        throw py::value_error(std::string(what) + " holds NUL");
    }
    return text;
}

// Orthanc 1.10.1 takes a wrong time for no time at all: it is looked at here.
std::string time_of(const py::handle& value) {
    std::string text = text_of(value, "a time");
    bool right = text.size() >= 15 && text[8] == 'T';
    for (std::size_t i = 0; right && i < 15; ++i) {
        right = i == 8 || std::isdigit(static_cast<unsigned char>(text[i])) != 0;
    }
    if (!right) {
        throw py::value_error("a time is \"YYYYMMDDTHHMMSS\", in UTC, not \"" + text + "\"");
    }
    return text;
}

class WebDavQuestion : public Question {
public:
    WebDavQuestion(Action action, std::uint32_t size, const char* const* items)
        : action_(action), path_(items, items + size) {}

    py::tuple arguments() override { return py::make_tuple(path()); }
    void take(const py::object& result) override {
        if (!py::isinstance<py::bool_>(result)) {
            throw py::type_error("a WebDAV collection answers this with True or False, not " +
                                 std::string(py::repr(result)));
        }
        yes_ = result.cast<bool>();
    }
    std::string describe() const override {
        std::string text =
            std::string("WebDAV, ") + action_names.at(static_cast<std::size_t>(action_)) + " ";
        for (const std::string& item : path_) {
            text += "/" + item;
        }
        return path_.empty() ? text + "/" : text;
    }
    bool yes() const { return yes_; }

protected:
    py::list path() const {
        py::list path;
        for (const std::string& item : path_) {
            path.append(sdk::to_str(item.data(), item.size()));
        }
        return path;
    }
    bool yes_ = false;

private:
    const Action action_;
    const std::vector<std::string> path_;
};

// Borrowed: copied once, into the bytes of the handler.
class StoreQuestion final : public WebDavQuestion {
public:
    StoreQuestion(std::uint32_t size, const char* const* items, const void* data,
                  std::uint64_t data_size)
        : WebDavQuestion(Store, size, items), data_(data), size_(data_size) {}
    py::tuple arguments() override { return py::make_tuple(path(), sdk::to_bytes(data_, size_)); }

private:
    const void* const data_;
    const std::uint64_t size_;
};

class ListQuestion final : public WebDavQuestion {
public:
    ListQuestion(std::uint32_t size, const char* const* items)
        : WebDavQuestion(ListFolder, size, items) {}

    struct Entry {
        std::string name;
        std::string time;
        std::optional<std::uint64_t> size; // none for a folder
        std::string mime_type;
    };

    void take(const py::object& result) override {
        entries_.clear();
        if (result.is_none()) {
            return;
        }
        for (const py::handle item : result) {
            if (!py::isinstance<py::tuple>(item) || (py::len(item) != 2 && py::len(item) != 4)) {
                throw py::type_error("a listed folder is a tuple (name, time), a file (name, "
                                     "size, mimeType, time), not " +
                                     std::string(py::repr(item)));
            }
            const auto fields = py::reinterpret_borrow<py::tuple>(item);
            Entry entry;
            entry.name = text_of(fields[0], "a name");
            if (entry.name.empty() || entry.name.find('/') != std::string::npos) {
                throw py::value_error("a name is not empty and without slashes, not \"" +
                                      entry.name + "\"");
            }
            if (fields.size() == 4) {
                entry.size = fields[1].cast<std::uint64_t>();
                entry.mime_type = text_of(fields[2], "a MIME type");
            }
            entry.time = time_of(fields[fields.size() - 1]);
            entries_.push_back(std::move(entry));
        }
        yes_ = true;
    }
    const std::vector<Entry>& entries() const { return entries_; }

private:
    std::vector<Entry> entries_;
};

class RetrieveQuestion final : public WebDavQuestion {
public:
    RetrieveQuestion(std::uint32_t size, const char* const* items)
        : WebDavQuestion(Retrieve, size, items) {}

    void take(const py::object& result) override {
        if (result.is_none()) {
            return;
        }
        if (!py::isinstance<py::tuple>(result) || py::len(result) != 3) {
            throw py::type_error("a file is a tuple (content, mimeType, time), not " +
                                 std::string(py::repr(result)));
        }
        const auto fields = py::reinterpret_borrow<py::tuple>(result);
        content_.take(fields[0], "a WebDAV collection");
        mime_type_ = text_of(fields[1], "a MIME type");
        time_ = time_of(fields[2]);
        yes_ = true;
    }
    const Content& content() const { return content_; }
    const std::string& mime_type() const { return mime_type_; }
    const std::string& time() const { return time_; }

private:
    Content content_;
    std::string mime_type_;
    std::string time_;
};

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

template <class Body> OrthancPluginErrorCode guarded(Body&& body) noexcept {
    const sdk::InsideCallback inside;
    try {
        return body();
    } catch (const std::exception& error) {
        sdk::Server::get().log_error(error.what());
        return OrthancPluginErrorCode_Plugin;
    }
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
    return guarded([&] {
        return yes_or_no(flag, payload, action,
                         std::make_shared<WebDavQuestion>(action, size, items));
    });
}

OrthancPluginErrorCode list_folder(std::uint8_t* is_existing,
                                   OrthancPluginWebDavCollection* collection,
                                   OrthancPluginWebDavAddFile add_file,
                                   OrthancPluginWebDavAddFolder add_folder, std::uint32_t size,
                                   const char* const* items, void* payload) noexcept {
    return guarded([&] {
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
    return guarded([&] {
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
    return guarded([&] {
        return yes_or_no(is_stored, payload, Store,
                         std::make_shared<StoreQuestion>(size, items, data, data_size));
    });
}

constexpr const char* name = "orthanc.RegisterWebDavCollection()";

// Adds the handlers of one collection; returns its number. GIL: held. Throws.
std::uintptr_t add_collection(Registry& registry, const std::string& uri,
                              std::array<py::object, Actions>& handlers) {
    static std::set<std::string> uris; // of this session. GIL: held
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
    if (!uris.insert(uri).second) {
        throw py::value_error(std::string(name) + ": \"" + uri + "\" has a collection already");
    }
    const std::uintptr_t number = uris.size() - 1;
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
    const std::uintptr_t number = add_collection(*registry, uri, handlers);
    const sdk::CallScope scope("RegisterWebDavCollection", "RegisterWebDavCollection",
                               sdk::Kind::Pure);
    auto code = OrthancPluginErrorCode_Success;
    {
        const py::gil_scoped_release release;
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
