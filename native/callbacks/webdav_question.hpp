// What Orthanc asks of a WebDAV collection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "content.hpp"
#include "question.hpp"

namespace orthanc_async::callbacks {

// Orthanc hands back only a number with each question: which collection it is. A handler's form
// is the collection's number and what it does.
enum Action { IsFolder, ListFolder, Retrieve, Store, CreateFolder, Delete, Actions };

class WebDavQuestion : public Question {
public:
    WebDavQuestion(Action action, std::uint32_t size, const char* const* items)
        : action_(action), path_(items, items + size) {}

    pybind11::tuple arguments() override { return pybind11::make_tuple(path()); }
    void take(const pybind11::object& result) override;
    std::string describe() const override;
    bool yes() const { return yes_; }

protected:
    pybind11::list path() const;
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
    pybind11::tuple arguments() override;

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

    void take(const pybind11::object& result) override;
    const std::vector<Entry>& entries() const { return entries_; }

private:
    std::vector<Entry> entries_;
};

class RetrieveQuestion final : public WebDavQuestion {
public:
    RetrieveQuestion(std::uint32_t size, const char* const* items)
        : WebDavQuestion(Retrieve, size, items) {}

    void take(const pybind11::object& result) override;
    const Content& content() const { return content_; }
    const std::string& mime_type() const { return mime_type_; }
    const std::string& time() const { return time_; }

private:
    Content content_;
    std::string mime_type_;
    std::string time_;
};

} // namespace orthanc_async::callbacks
