// The JavaScript that scripts add to Orthanc Explorer.
//
// Orthanc keeps one text for a plugin, and the next one takes its place. Here each script has a
// text of its own, and so has each part of orthanc_async; Orthanc gets them joined.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "call_scope.hpp"

namespace orthanc_async::sdk {

class ExplorerPieces {
public:
    static ExplorerPieces& get(); // never destroyed

    // Puts an owner's text in the place of its earlier one, and hands all to Orthanc. GIL: not
    // held, as the mutex is held while Orthanc is called.
    OrthancPluginErrorCode set(OrthancPluginContext* context, const std::string& owner,
                               const char* javascript) noexcept;
    // For another start of Orthanc. GIL: not held.
    void clear();

private:
    ExplorerPieces() = default;
    std::mutex mutex_;
    std::vector<std::pair<std::string, std::string>> pieces_; // by owner, in the order of coming
};

// The name of a plugin. The official plugin's name, which its scripts give, means this one.
class PluginNameArgument : public StringArgument {
public:
    const char* get() const;
    bool ours() const;
};

// Adds _extend_explorer(owner, javascript), for orthanc_async itself. GIL: held. Throws.
void add_explorer(py::module_& module);

namespace ops {

struct ExtendOrthancExplorer {
    static constexpr const char* name = "ExtendOrthancExplorer";
    static constexpr const char* awaitable = "extend_orthanc_explorer";
    static constexpr const char* label = "ExtendOrthancExplorer";
    static constexpr const char* awaitable_label = "extend_orthanc_explorer";
    static constexpr const char* parameters = "javascript";
    static constexpr Py_ssize_t arity = 1;
    static constexpr Kind kind = Kind::Blocking;
    static constexpr const char* since = "";

    void parse(const Arguments& in);
    OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept;
    static py::object result() { return py::none(); }
    std::string describe() const { return Description(label).add(javascript_).text(); }

    std::string owner_;
    StringArgument javascript_;
};

// Not in every header, so it is written without the SDK's own function.
struct ExtendOrthancExplorer2 {
    static constexpr const char* name = "ExtendOrthancExplorer2";
    static constexpr const char* awaitable = "extend_orthanc_explorer2";
    static constexpr const char* label = "ExtendOrthancExplorer2";
    static constexpr const char* awaitable_label = "extend_orthanc_explorer2";
    static constexpr const char* parameters = "plugin, javascript";
    static constexpr Py_ssize_t arity = 2;
    static constexpr Kind kind = Kind::Blocking;
    static constexpr const char* since = "";

    void parse(const Arguments& in);
    OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept;
    static py::object result() { return py::none(); }
    std::string describe() const {
        return Description(label).add(plugin_).add(javascript_).text();
    }

    std::string owner_;
    PluginNameArgument plugin_;
    StringArgument javascript_;
};

} // namespace ops
} // namespace orthanc_async::sdk
