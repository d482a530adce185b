#include "explorer.hpp"

#include <cstring>
#include <new>

#include "invoke.hpp"

namespace orthanc_async::sdk {

namespace {

// What scripts written for the official plugin call their plugin.
constexpr const char* official_name = "python";

// Between two texts: the first may end in a comment, or in a statement without its semicolon that
// the second one's parenthesis would continue.
constexpr const char* separator = "\n;\n";

OrthancPluginErrorCode extend(OrthancPluginContext* context, const char* plugin,
                              const char* javascript) noexcept {
    _OrthancPluginSetPluginProperty params{};
    params.plugin = plugin;
    params.property = _OrthancPluginProperty_OrthancExplorer;
    params.value = javascript;
    return context->InvokeService(context, _OrthancPluginService_SetPluginProperty, &params);
}

// The script whose code calls into the SDK now. GIL: held.
std::string script_of_caller() {
    return py::module_::import("orthanc_async._host.scripts").attr("caller")().cast<std::string>();
}

struct ExtendExplorer {
    static constexpr const char* label = "_extend_explorer";
    static constexpr const char* awaitable_label = "extend_orthanc_explorer";
    static constexpr const char* parameters = "owner, javascript";
    static constexpr Py_ssize_t arity = 2;
    static constexpr Kind kind = Kind::Blocking;
    static constexpr const char* since = "";

    void parse(const Arguments& in) {
        owner_.parse(in.at(0, "owner"));
        javascript_.parse(in.at(1, "javascript"));
    }
    OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept {
        return ExplorerPieces::get().set(context, owner_.get(), javascript_.get());
    }
    static py::object result() { return py::none(); }
    std::string describe() const { return Description(label).add(owner_).text(); }

    StringArgument owner_;
    StringArgument javascript_;
};

} // namespace

ExplorerPieces& ExplorerPieces::get() {
    static auto* const pieces = new ExplorerPieces; // NOLINT(cppcoreguidelines-owning-memory)
    return *pieces;
}

OrthancPluginErrorCode ExplorerPieces::set(OrthancPluginContext* context, const std::string& owner,
                                           const char* javascript) noexcept {
    try {
        const std::lock_guard<std::mutex> lock(mutex_);
        auto piece = pieces_.begin();
        while (piece != pieces_.end() && piece->first != owner) {
            ++piece;
        }
        if (piece == pieces_.end()) {
            piece = pieces_.emplace(piece, owner, std::string());
        }
        piece->second = javascript;
        std::string whole;
        for (const auto& [_, text] : pieces_) {
            whole += (whole.empty() ? "" : separator) + text;
        }
        return extend(context, OrthancPluginGetName(), whole.c_str());
    } catch (const std::bad_alloc&) {
        return OrthancPluginErrorCode_NotEnoughMemory;
    }
}

void ExplorerPieces::clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    pieces_.clear();
}

const char* PluginNameArgument::get() const {
    return ours() ? OrthancPluginGetName() : StringArgument::get();
}

bool PluginNameArgument::ours() const {
    const char* const given = StringArgument::get();
    return std::strcmp(given, official_name) == 0 ||
           std::strcmp(given, OrthancPluginGetName()) == 0;
}

void add_explorer(py::module_& module) {
    static PyMethodDef functions[] = {
        method("_extend_explorer", &blocking<ExtendExplorer>, nullptr),
        {nullptr, nullptr, 0, nullptr},
    };
    add_functions(module, functions);
}

namespace ops {

void ExtendOrthancExplorer::parse(const Arguments& in) {
    javascript_.parse(in.at(0, "javascript"));
    owner_ = script_of_caller();
}

OrthancPluginErrorCode ExtendOrthancExplorer::run(OrthancPluginContext* context) noexcept {
    return ExplorerPieces::get().set(context, owner_, javascript_.get());
}

void ExtendOrthancExplorer2::parse(const Arguments& in) {
    plugin_.parse(in.at(0, "plugin"));
    javascript_.parse(in.at(1, "javascript"));
    owner_ = script_of_caller();
}

OrthancPluginErrorCode ExtendOrthancExplorer2::run(OrthancPluginContext* context) noexcept {
    if (plugin_.ours()) {
        return ExplorerPieces::get().set(context, owner_, javascript_.get());
    }
    return extend(context, plugin_.get(), javascript_.get());
}

} // namespace ops
} // namespace orthanc_async::sdk
