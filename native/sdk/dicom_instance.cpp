#include "dicom_instance.hpp"

#include <optional>
#include <sdk_ops.hpp> // generated
#include <variant>

#include "../runtime/runtime.hpp"
#include "invoke.hpp"
#include "server.hpp"
#include "text.hpp"

namespace orthanc_async::sdk {

namespace {

// The metadata that Orthanc itself sets. The SDK can ask for a name, but not list the names.
constexpr const char* known_metadata[] = {
    "IndexInSeries", "ReceptionDate",  "RemoteAET",       "CalledAET", "RemoteIP",
    "Origin",        "TransferSyntax", "SopClassUid",     "HttpHost",  "HttpUsername",
    "ModifiedFrom",  "AnonymizedFrom", "PixelDataOffset",
};

struct Owned {
    OrthancPluginDicomInstance* instance;
    std::unique_ptr<std::recursive_mutex> reading = std::make_unique<std::recursive_mutex>();
};

using Source = std::variant<Owned, std::shared_ptr<BorrowedInstance>,
                            std::shared_ptr<const InstanceSnapshot>>;

struct InstanceObject {
    PyObject_HEAD Source* source;
};

PyTypeObject* instance_type = nullptr; // lives as long as the interpreter: the process

Source& source_of(PyObject* self) {
    return *reinterpret_cast<InstanceObject*>(self)->source;
}

py::object make_instance(Source source) {
    PyObject* const object = instance_type->tp_alloc(instance_type, 0);
    if (object == nullptr) {
        throw py::error_already_set();
    }
    auto owner = py::reinterpret_steal<py::object>(object);
    reinterpret_cast<InstanceObject*>(object)->source = new Source(std::move(source)); // NOLINT
    return owner;
}

// Orthanc parses an instance when it is first needed, and walks through it with cursors inside it,
// in both cases without a lock: two calls at once fail, or use freed memory. These four only look
// at what stands beside the file.
template <class Op> constexpr bool needs_turn = true;
template <> constexpr bool needs_turn<ops::GetInstanceRemoteAet> = false;
template <> constexpr bool needs_turn<ops::GetInstanceOrigin> = false;
template <> constexpr bool needs_turn<ops::HasInstanceMetadata> = false;
template <> constexpr bool needs_turn<ops::GetInstanceMetadata> = false;

// A pinned borrowed instance, or a pointer that needs no pin.
class Pinned {
public:
    Pinned(Source& source, const char* function) {
        if (auto* const borrowed = std::get_if<std::shared_ptr<BorrowedInstance>>(&source)) {
            borrowed_ = *borrowed;
            instance_ = borrowed_->pin();
            reading_ = &borrowed_->reading();
            if (instance_ == nullptr) {
                const std::string what = borrowed_->what();
                borrowed_.reset();
                throw_call_has_ended("DicomInstance." + std::string(function), what);
            }
        } else {
            const Owned& owned = std::get<Owned>(source);
            instance_ = owned.instance;
            reading_ = owned.reading.get();
        }
    }
    ~Pinned() {
        if (borrowed_) {
            borrowed_->unpin();
        }
    }
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;

    const OrthancPluginDicomInstance* get() const { return instance_; }
    std::recursive_mutex& reading() const { return *reading_; }

private:
    std::shared_ptr<BorrowedInstance> borrowed_;
    const OrthancPluginDicomInstance* instance_ = nullptr;
    std::recursive_mutex* reading_ = nullptr;
};

// An operation that waits for its turn, which may be long (a slow decoder): the GIL is not held.
// Recursive, because a decoder written in Python may come back to the instance on this thread.
template <class Op> struct Turn final : Op {
    OrthancPluginErrorCode run(OrthancPluginContext* context, const Pinned* pinned) noexcept {
        if constexpr (needs_turn<Op>) {
            const std::lock_guard<std::recursive_mutex> lock(pinned->reading());
            return Op::run(context, pinned->get());
        } else {
            return Op::run(context, pinned->get());
        }
    }
};

// The loop never waits: the call before may be waiting for the loop itself.
template <class Op> std::unique_lock<std::recursive_mutex> turn_on_loop(const Pinned& pinned) {
    std::unique_lock<std::recursive_mutex> lock(pinned.reading(), std::defer_lock);
    if (needs_turn<Op> && runtime::Runtime::get().on_running_loop() && !lock.try_lock()) {
        throw std::runtime_error("orthanc.DicomInstance." + std::string(Op::name) +
                                 "() has to wait for another call that reads the same instance, "
                                 "and would block the event loop: use `await dicom." +
                                 Op::awaitable + "(…)` here");
    }
    return lock;
}

// What a snapshot can tell without reading the data again.
template <class Op>
std::optional<py::object> recall(const InstanceSnapshot& /*snapshot*/, const Op& /*op*/) {
    return std::nullopt;
}
std::optional<py::object> recall(const InstanceSnapshot& snapshot,
                                 const ops::GetInstanceSize& /*op*/) {
    return py::int_(snapshot.size);
}
std::optional<py::object> recall(const InstanceSnapshot& snapshot,
                                 const ops::GetInstanceRemoteAet& /*op*/) {
    return to_text(snapshot.remote_aet.c_str());
}
std::optional<py::object> recall(const InstanceSnapshot& snapshot,
                                 const ops::GetInstanceOrigin& /*op*/) {
    return to_enum("InstanceOrigin", snapshot.origin);
}
std::optional<py::object> recall(const InstanceSnapshot& snapshot,
                                 const ops::GetInstanceTransferSyntaxUid& /*op*/) {
    return to_text(snapshot.transfer_syntax.c_str());
}
std::optional<py::object> recall(const InstanceSnapshot& snapshot,
                                 const ops::HasInstanceMetadata& op) {
    return py::int_(snapshot.metadata.count(op.metadata_.get()));
}
std::optional<py::object> recall(const InstanceSnapshot& snapshot,
                                 const ops::GetInstanceMetadata& op) {
    const auto found = snapshot.metadata.find(op.metadata_.get());
    return found == snapshot.metadata.end() ? py::none() : to_text(found->second.c_str());
}

template <class Op>
PyObject* blocking_method(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        Turn<Op> op;
        parse(op, values, count);
        Source& source = source_of(self);
        if (const auto* snapshot = std::get_if<std::shared_ptr<const InstanceSnapshot>>(&source)) {
            if (auto known = recall(**snapshot, static_cast<const Op&>(op))) {
                return *known;
            }
            throw std::runtime_error("orthanc.DicomInstance." + std::string(Op::name) +
                                     "() has to read the instance again: use `await dicom." +
                                     Op::awaitable + "(…)` in an `async def` handler");
        }
        const Pinned pinned(source, Op::name);
        const auto lock = turn_on_loop<Op>(pinned);
        return run_blocking(op, &pinned);
    });
}

// Awaits an operation on an instance that exists: keeps it alive, and pinned where it is borrowed.
template <class Op> class HeldCall final : public PendingCall {
public:
    explicit HeldCall(PyObject* self)
        : owner_(py::reinterpret_borrow<py::object>(self)), pinned_(source_of(self), Op::name) {}
    Turn<Op> op;

    void run() noexcept override {
        const WorkerScope scope;
        stopped_ = scope.context() == nullptr;
        if (!stopped_) {
            const FunctionHere here(Op::label);
            code_ = op.run(scope.context(), &pinned_);
        }
    }
    std::string describe() const override { return op.describe(); }

private:
    const char* since() const override { return Op::since; }
    py::object result() override { return op.result(); }

    py::object owner_;
    Pinned pinned_;
};

// Awaits an operation on a snapshot: reads the file again, on the worker. The error is Orthanc's
// UnknownResource when the instance has been deleted meanwhile.
template <class Op> class RereadCall final : public PendingCall {
public:
    explicit RereadCall(std::string id) : id_(std::move(id)) {}
    ~RereadCall() override {
        if (instance_ != nullptr) {
            const WorkerScope scope;
            if (scope.context() != nullptr) {
                OrthancPluginFreeDicomInstance(scope.context(), instance_);
            }
        }
    }
    RereadCall(const RereadCall&) = delete;
    RereadCall& operator=(const RereadCall&) = delete;
    Op op;

    void run() noexcept override {
        const WorkerScope scope;
        OrthancPluginContext* const context = scope.context();
        stopped_ = context == nullptr;
        if (stopped_) {
            return;
        }
        OrthancPluginMemoryBuffer file{};
        {
            const FunctionHere here("GetDicomForInstance");
            code_ = OrthancPluginGetDicomForInstance(context, &file, id_.c_str());
        }
        if (code_ == OrthancPluginErrorCode_Success) {
            instance_ = OrthancPluginCreateDicomInstance(context, file.data, file.size);
            OrthancPluginFreeMemoryBuffer(context, &file);
            code_ =
                instance_ == nullptr ? OrthancPluginErrorCode_BadFileFormat : run_here(context);
        }
    }
    std::string describe() const override { return op.describe() + " of instance " + id_; }

private:
    const char* since() const override { return Op::since; }
    py::object result() override { return op.result(); }
    OrthancPluginErrorCode run_here(OrthancPluginContext* context) noexcept {
        const FunctionHere here(Op::label);
        return op.run(context, instance_);
    }

    std::string id_;
    OrthancPluginDicomInstance* instance_ = nullptr; // until deliver(): results may point into it
};

template <class Op>
PyObject* awaitable_method(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        Source& source = source_of(self);
        const auto* snapshot = std::get_if<std::shared_ptr<const InstanceSnapshot>>(&source);
        if (snapshot == nullptr) {
            auto call = std::make_unique<HeldCall<Op>>(self);
            parse(call->op, values, count);
            return submit_call(Op::name, std::move(call));
        }
        auto call = std::make_unique<RereadCall<Op>>((*snapshot)->id);
        parse(call->op, values, count);
        if (auto known = recall(**snapshot, call->op)) {
            Awaiter awaiter;
            const auto future = py::reinterpret_borrow<py::object>(awaiter.future());
            awaiter.resolve(*known);
            return future;
        }
        return submit_call(Op::name, std::move(call));
    });
}

void deallocate_instance(PyObject* self) {
    Source* const source = reinterpret_cast<InstanceObject*>(self)->source;
    if (auto* const owned = std::get_if<Owned>(source)) {
        const WorkerScope scope; // frees memory only: no lock, so the GIL may be held
        if (scope.context() != nullptr) {
            OrthancPluginFreeDicomInstance(scope.context(), owned->instance);
        }
    }
    delete source; // NOLINT: owned by the object
    PyTypeObject* const type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

#define METHODS(Op, documentation)                                                                \
    method(ops::Op::name, blocking_method<ops::Op>, documentation),                               \
        method(ops::Op::awaitable, awaitable_method<ops::Op>, nullptr),

PyMethodDef instance_methods[] = {
    ORTHANC_ASYNC_DICOM_INSTANCE_OPS(METHODS){nullptr, nullptr, 0, nullptr},
};

#undef METHODS

} // namespace

std::shared_ptr<const InstanceSnapshot>
InstanceSnapshot::take(OrthancPluginContext* context, const OrthancPluginDicomInstance* instance,
                       const char* id) {
    auto snapshot = std::make_shared<InstanceSnapshot>();
    snapshot->id = id;
    snapshot->size = OrthancPluginGetInstanceSize(context, instance);
    snapshot->origin = static_cast<int>(OrthancPluginGetInstanceOrigin(context, instance));
    if (const char* const aet = OrthancPluginGetInstanceRemoteAet(context, instance)) {
        snapshot->remote_aet = aet;
    }
    if (char* const syntax = OrthancPluginGetInstanceTransferSyntaxUid(context, instance)) {
        snapshot->transfer_syntax = syntax;
        OrthancPluginFreeString(context, syntax);
    }
    for (const char* const name : known_metadata) {
        if (OrthancPluginHasInstanceMetadata(context, instance, name) == 1) {
            if (const char* const value =
                    OrthancPluginGetInstanceMetadata(context, instance, name)) {
                snapshot->metadata[name] = value;
            }
        }
    }
    return snapshot;
}

template <> py::object adopt_handle(OrthancPluginDicomInstance* pointer) {
    return make_instance(Owned{pointer});
}

py::object make_borrowed_instance(std::shared_ptr<BorrowedInstance> instance) {
    return make_instance(std::move(instance));
}

py::object make_instance_snapshot(std::shared_ptr<const InstanceSnapshot> snapshot) {
    return make_instance(std::move(snapshot));
}

void add_dicom_instance(py::module_& module) {
    PyType_Slot slots[] = {
        {Py_tp_dealloc, reinterpret_cast<void*>(&deallocate_instance)},
        {Py_tp_methods, instance_methods},
        {Py_tp_doc, const_cast<char*>("A DICOM instance that Orthanc has received, or that was "
                                      "made with CreateDicomInstance.")},
        {0, nullptr},
    };
    PyType_Spec spec = {"orthanc.DicomInstance", sizeof(InstanceObject), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    PyObject* const created = PyType_FromSpec(&spec);
    if (created == nullptr) {
        throw py::error_already_set();
    }
    instance_type = reinterpret_cast<PyTypeObject*>(created);
    module.add_object("DicomInstance", py::reinterpret_borrow<py::object>(created));
}

} // namespace orthanc_async::sdk
