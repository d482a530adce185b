#include "webdav_question.hpp"

#include <array>
#include <cctype>

#include "../sdk/results.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

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

} // namespace

void WebDavQuestion::take(const py::object& result) {
    if (!py::isinstance<py::bool_>(result)) {
        throw py::type_error("a WebDAV collection answers this with True or False, not " +
                             std::string(py::repr(result)));
    }
    yes_ = result.cast<bool>();
}

std::string WebDavQuestion::describe() const {
    std::string text =
        std::string("WebDAV, ") + action_names.at(static_cast<std::size_t>(action_)) + " ";
    for (const std::string& item : path_) {
        text += "/" + item;
    }
    return path_.empty() ? text + "/" : text;
}

py::list WebDavQuestion::path() const {
    py::list path;
    for (const std::string& item : path_) {
        path.append(sdk::to_str(item.data(), item.size()));
    }
    return path;
}

py::tuple StoreQuestion::arguments() {
    return py::make_tuple(path(), sdk::to_bytes(data_, size_));
}

void ListQuestion::take(const py::object& result) {
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
            throw py::value_error("a name is not empty and without slashes, not \"" + entry.name +
                                  "\"");
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

void RetrieveQuestion::take(const py::object& result) {
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

} // namespace orthanc_async::callbacks
