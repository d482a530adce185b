#include "storage.hpp"

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../sdk/call_scope.hpp"
#include "../sdk/server.hpp"
#include "storage_question.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

// Orthanc itself needs its files: before on_startup, and for what ends while it drains.
constexpr When always{false, true};

constexpr auto storage_failure = OrthancPluginErrorCode_StorageAreaPlugin;

// Asks the only handler of a family. What fails here fails in Orthanc: nothing is lost in silence.
OrthancPluginErrorCode put(Family family, const std::shared_ptr<FileQuestion>& question) {
    const auto registry = Registry::current();
    const auto handlers = handlers_of(registry, family);
    if (handlers.empty() || !may_ask(always)) {
        sdk::Server::get().log_error(
            (question->describe() +
             " fails: the storage area of the script is not there while Orthanc stops")
                .c_str());
        return storage_failure;
    }
    if (ask(registry, *handlers.front(), question) != Outcome::Answered) {
        return storage_failure;
    }
    if (question->code() != OrthancPluginErrorCode_Success) {
        sdk::Server::get().log_error((handlers.front()->name + ", " + question->describe() +
                                      ", has returned error code " +
                                      std::to_string(question->code()))
                                         .c_str());
    }
    return question->code();
}

OrthancPluginErrorCode fill(OrthancPluginMemoryBuffer64* target, const Content& content) {
    if (target->size != content.size()) {
        return OrthancPluginErrorCode_BadRange; // cannot be: take() has looked
    }
    if (content.size() > 0) {
        std::memcpy(target->data, content.data(), content.size());
    }
    return OrthancPluginErrorCode_Success;
}

OrthancPluginErrorCode create(const char* uuid, const void* content, std::int64_t size,
                              OrthancPluginContentType type) noexcept {
    return in_callback(storage_failure, [&] {
        return put(Family::StorageCreate,
                   std::make_shared<CreateQuestion>(uuid, type, content,
                                                    static_cast<std::uint64_t>(size)));
    });
}

OrthancPluginErrorCode read_whole(OrthancPluginMemoryBuffer64* target, const char* uuid,
                                  OrthancPluginContentType type) noexcept {
    return in_callback(storage_failure, [&] {
        const auto question = std::make_shared<ReadQuestion>(uuid, type);
        auto code = put(Family::StorageRead, question);
        if (code == OrthancPluginErrorCode_Success) {
            const sdk::WorkerScope scope;
            code = scope.context() == nullptr
                       ? storage_failure
                       : OrthancPluginCreateMemoryBuffer64(scope.context(), target,
                                                           question->content().size());
        }
        return code == OrthancPluginErrorCode_Success ? fill(target, question->content()) : code;
    });
}

OrthancPluginErrorCode read_range(OrthancPluginMemoryBuffer64* target, const char* uuid,
                                  OrthancPluginContentType type, std::uint64_t start) noexcept {
    return in_callback(storage_failure, [&] {
        const auto question = std::make_shared<ReadQuestion>(uuid, type);
        question->of_range(start, target->size);
        const auto code = put(Family::StorageReadRange, question);
        return code == OrthancPluginErrorCode_Success ? fill(target, question->content()) : code;
    });
}

OrthancPluginErrorCode remove(const char* uuid, OrthancPluginContentType type) noexcept {
    return in_callback(storage_failure, [&] {
        return put(Family::StorageRemove, std::make_shared<RemoveQuestion>(uuid, type));
    });
}

#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 8)

OrthancPluginErrorCode create_custom(OrthancPluginMemoryBuffer* custom_data, const char* uuid,
                                     const void* content, std::uint64_t size,
                                     OrthancPluginContentType type,
                                     OrthancPluginCompressionType compression,
                                     const OrthancPluginDicomInstance* instance) noexcept {
    return in_callback(storage_failure, [&] {
        const auto question = std::make_shared<CreateQuestion>(uuid, type, content, size);
        std::optional<sdk::Loan<sdk::BorrowedInstance>> loan;
        if (instance != nullptr) {
            loan.emplace(instance, question->describe());
        }
        question->extend(compression, loan ? loan->get() : nullptr);
        auto code = put(Family::StorageCreate, question);
        const Content& answer = question->custom_data();
        if (code == OrthancPluginErrorCode_Success && answer.size() > 0) {
            const sdk::WorkerScope scope;
            code =
                scope.context() == nullptr
                    ? storage_failure
                    : OrthancPluginCreateMemoryBuffer(scope.context(), custom_data,
                                                      static_cast<std::uint32_t>(answer.size()));
            if (code == OrthancPluginErrorCode_Success) {
                std::memcpy(custom_data->data, answer.data(), answer.size());
            }
        }
        return code;
    });
}

OrthancPluginErrorCode read_range_custom(OrthancPluginMemoryBuffer64* target, const char* uuid,
                                         OrthancPluginContentType type, std::uint64_t start,
                                         const void* custom_data,
                                         std::uint32_t custom_data_size) noexcept {
    return in_callback(storage_failure, [&] {
        const auto question = std::make_shared<ReadQuestion>(uuid, type);
        question->of_range(start, target->size);
        question->extend({custom_data, custom_data_size});
        const auto code = put(Family::StorageReadRange, question);
        return code == OrthancPluginErrorCode_Success ? fill(target, question->content()) : code;
    });
}

OrthancPluginErrorCode remove_custom(const char* uuid, OrthancPluginContentType type,
                                     const void* custom_data,
                                     std::uint32_t custom_data_size) noexcept {
    return in_callback(storage_failure, [&] {
        const auto question = std::make_shared<RemoveQuestion>(uuid, type);
        question->extend({custom_data, custom_data_size});
        return put(Family::StorageRemove, question);
    });
}

#endif

// A service of the SDK returns nothing where its inline function is void: it is called by hand.
// Thread: any. GIL: not held.
template <class Parameters>
void take_over(OrthancPluginContext* context, _OrthancPluginService service,
               const Parameters& parameters, const char* function, const char* since) {
    check_hooked(context, context->InvokeService(context, service, &parameters), function, since);
    storage_locks() = StorageLocks::find(context);
}

template <bool has_range> void take_over_2(OrthancPluginContext* context) {
    _OrthancPluginRegisterStorageArea2 parameters{};
    parameters.create = create;
    parameters.readWhole = read_whole;
    parameters.readRange = has_range ? read_range : nullptr;
    parameters.remove = remove;
    take_over(context, _OrthancPluginService_RegisterStorageArea2, parameters,
              "RegisterStorageArea2", "1.9.0");
}

using Parts = std::vector<std::pair<Family, py::object>>;

// Registers all or nothing: `parts` begins with the one for StorageCreate. GIL: held. Throws.
void add_area(const char* function, void (*hook)(OrthancPluginContext*), const Parts& parts) {
    for (const auto& part : parts) {
        if (PyCallable_Check(part.second.ptr()) == 0) {
            throw py::type_error(std::string("orthanc.") + function +
                                 "(): each part of a storage area is a function (def or async "
                                 "def), not " +
                                 Py_TYPE(part.second.ptr())->tp_name);
        }
    }
    const auto registry = Registry::current();
    if (registry && !registry->loading) {
        throw std::runtime_error(std::string("orthanc.") + function +
                                 "(): Orthanc looks for its storage area only while it starts: "
                                 "register while the script is imported");
    }
    Registration registration{function, "storage area", Family::StorageCreate};
    registration.only_one = true;
    registration.hook = hook;
    for (const auto& part : parts) {
        registration.family = part.first;
        add_handler(registration, part.second);
        registration.hook = nullptr;
    }
}

} // namespace

void add_storage(py::module_& module) {
    module.def(
        "RegisterStorageArea",
        [](py::object create, py::object read, py::object remove) {
            add_area("RegisterStorageArea", take_over_2<false>,
                     {{Family::StorageCreate, std::move(create)},
                      {Family::StorageRead, std::move(read)},
                      {Family::StorageRemove, std::move(remove)}});
        },
        py::arg(), py::arg(), py::arg(), py::pos_only());
    module.def(
        "RegisterStorageArea2",
        [](py::object create, py::object whole, py::object range, py::object remove) {
            Parts parts{{Family::StorageCreate, std::move(create)},
                        {Family::StorageRead, std::move(whole)},
                        {Family::StorageRemove, std::move(remove)}};
            const bool has_range = !range.is_none();
            if (has_range) {
                parts.emplace_back(Family::StorageReadRange, std::move(range));
            }
            add_area("RegisterStorageArea2", has_range ? take_over_2<true> : take_over_2<false>,
                     parts);
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::pos_only());
#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 8)
    module.def(
        "RegisterStorageArea3",
        [](py::object create, py::object range, py::object remove) {
            const auto hook = [](OrthancPluginContext* context) {
                _OrthancPluginRegisterStorageArea3 parameters{};
                parameters.create = create_custom;
                parameters.readRange = read_range_custom;
                parameters.remove = remove_custom;
                take_over(context, _OrthancPluginService_RegisterStorageArea3, parameters,
                          "RegisterStorageArea3", "1.12.8");
            };
            add_area("RegisterStorageArea3", hook,
                     {{Family::StorageCreate, std::move(create)},
                      {Family::StorageReadRange, std::move(range)},
                      {Family::StorageRemove, std::move(remove)}});
        },
        py::arg(), py::arg(), py::arg(), py::pos_only());
#endif
}

} // namespace orthanc_async::callbacks
