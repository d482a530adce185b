#include "move.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "../runtime/kept.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "dicom_scp.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

using namespace std::chrono_literals;

// How a script handles C-MOVE: Handler::form.
enum Form : int {
    whole = 1,      // RegisterMoveCallback: one function does everything
    driver,         // RegisterMoveCallback2: four functions
    with_connection // RegisterMoveCallback3: the same, the first one gets the connection
};

// A request's own copy: a whole move is asked for after Orthanc's call that brought it.
struct MoveRequest {
    std::string level;
    std::string patient;
    std::string accession;
    std::string study;
    std::string series;
    std::string instance;
    std::string target;
    std::uint16_t originator;
    Peer peer;
    bool connected; // the peer is a connection, given as an argument

    std::string describe() const { return "C-MOVE by " + peer.remote() + " to " + target; }
};

std::string copy(const char* text) {
    return text == nullptr ? "" : text;
}

const char* level_name(OrthancPluginResourceType type) {
    switch (type) {
    case OrthancPluginResourceType_Patient:
        return "PATIENT";
    case OrthancPluginResourceType_Study:
        return "STUDY";
    case OrthancPluginResourceType_Series:
        return "SERIES";
    case OrthancPluginResourceType_Instance:
        return "INSTANCE";
    default:
        return nullptr;
    }
}

// What Orthanc holds between its calls for one request.
struct Driver {
    std::shared_ptr<Registry> registry;
    MoveRequest request;
    runtime::Kept object; // what the script has made; null for a whole move
    std::uint32_t size = 1;
};

class MoveQuestion final : public Question {
public:
    explicit MoveQuestion(MoveRequest request) : request_(std::move(request)) {}

    py::tuple arguments() override {
        return request_.connected ? request_.peer.arguments() : py::tuple();
    }
    py::dict keywords() override {
        py::dict fields;
        const auto set = [&](const char* name, const std::string& value) {
            fields[name] = sdk::to_text(value.c_str());
        };
        set("Level", request_.level);
        set("PatientID", request_.patient);
        set("AccessionNumber", request_.accession);
        set("StudyInstanceUID", request_.study);
        set("SeriesInstanceUID", request_.series);
        set("SOPInstanceUID", request_.instance);
        set("TargetAET", request_.target);
        fields["OriginatorID"] = request_.originator;
        if (!request_.connected) {
            const py::tuple titles = request_.peer.arguments();
            fields["OriginatorAET"] = titles[0];
            fields["SourceAET"] = titles[1];
        }
        return fields;
    }
    void take(const py::object& result) override { result_ = runtime::keep(result); }
    std::string describe() const override { return request_.describe(); }

    const runtime::Kept& result() const { return result_; }

private:
    const MoveRequest request_;
    runtime::Kept result_;
};

// A question about what the script has made for a request.
class DriverQuestion : public Question {
public:
    DriverQuestion(const Driver& driver, const char* step)
        : object_(driver.object), what_(driver.request.describe() + ": " + step) {}

    py::tuple arguments() override { return py::make_tuple(runtime::object_of(object_)); }
    void take(const py::object&) override {}
    std::string describe() const override { return what_; }

private:
    const runtime::Kept object_;
    const std::string what_;
};

class SizeQuestion final : public DriverQuestion {
public:
    explicit SizeQuestion(const Driver& driver) : DriverQuestion(driver, "size") {}
    void take(const py::object& result) override {
        if (PyIndex_Check(result.ptr()) == 0) {
            throw py::type_error("the number of C-MOVE sub-operations must be an int, not " +
                                 std::string(py::repr(result)));
        }
        const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(result.ptr()));
        const long long value = index ? PyLong_AsLongLong(index.ptr()) : -1;
        if (PyErr_Occurred() != nullptr) {
            throw py::error_already_set();
        }
        // DICOM counts sub-operations with 16 bits.
        if (value < 0 || value > std::numeric_limits<std::uint16_t>::max()) {
            throw py::value_error("the number of C-MOVE sub-operations must be from 0 to 65535, "
                                  "not " +
                                  std::to_string(value));
        }
        size_ = static_cast<std::uint32_t>(value);
    }
    std::uint32_t size() const { return size_; }

private:
    std::uint32_t size_ = 0;
};

class ApplyQuestion final : public DriverQuestion {
public:
    explicit ApplyQuestion(const Driver& driver) : DriverQuestion(driver, "sub-operation") {}
    // An ErrorCode that is no success fails; anything else is one, as in the official plugin.
    void take(const py::object& result) override {
        if (py::isinstance(result, py::module_::import("orthanc").attr("ErrorCode"))) {
            code_ = static_cast<OrthancPluginErrorCode>(result.cast<int>());
        }
    }
    OrthancPluginErrorCode code() const { return code_; }

private:
    OrthancPluginErrorCode code_ = OrthancPluginErrorCode_Success;
};

// Tells the script that its object is done with. Also while Orthanc stops: it may hold files.
void let_go(const Driver& driver) {
    if (driver.object && may_ask({false, true})) {
        ask_only(driver.registry, Family::MoveFree,
                 std::make_shared<DriverQuestion>(driver, "free"));
    }
}

// Null refuses: the client gets status 0xC000, "unable to process".
Driver* open_move(MoveRequest request) {
    const auto registry = Registry::current();
    if (!registry || !may_ask({})) {
        return nullptr;
    }
    if (request.level.empty()) {
        sdk::Server::get().log_error(
            (request.describe() + ": refused, as it has no QueryRetrieveLevel").c_str());
        return nullptr;
    }
    const auto handlers = handlers_of(registry, Family::Move);
    if (handlers.empty()) {
        return nullptr;
    }
    auto made = std::make_unique<Driver>(Driver{registry, std::move(request), nullptr, 1});
    if (handlers.back()->form == whole) {
        return made.release(); // asked in its only sub-operation, where it may take its time
    }
    const auto question = std::make_shared<MoveQuestion>(made->request);
    if (ask(registry, *handlers.back(), question) != Outcome::Answered) {
        return nullptr;
    }
    made->object = question->result();
    // Asked here and not in get_size(), which cannot fail.
    const auto size = std::make_shared<SizeQuestion>(*made);
    if (ask_only(registry, Family::MoveSize, size) != Outcome::Answered) {
        let_go(*made);
        return nullptr;
    }
    made->size = size->size();
    return made.release();
}

// The titles' and the connection's form of the request.
Driver* open_move(OrthancPluginResourceType type, const char* patient, const char* accession,
                  const char* study, const char* series, const char* instance, const char* target,
                  std::uint16_t originator, const Peer& peer, bool connected) {
    const char* const level = level_name(type);
    return open_move({copy(level), copy(patient), copy(accession), copy(study), copy(series),
                      copy(instance), copy(target), originator, peer, connected});
}

// Thread: Orthanc's, of one DICOM association. GIL: not held. The same for all that follows.
void* create_move(OrthancPluginResourceType type, const char* patient, const char* accession,
                  const char* study, const char* series, const char* instance,
                  const char* originator_aet, const char* source_aet, const char* target_aet,
                  std::uint16_t originator_id) noexcept {
    return in_callback<void*>(nullptr, [&] {
        return open_move(type, patient, accession, study, series, instance, target_aet,
                         originator_id, Peer(originator_aet, source_aet), false);
    });
}

#if ORTHANC_ASYNC_HAS_CONNECTIONS
void* create_connected_move(OrthancPluginResourceType type, const char* patient,
                            const char* accession, const char* study, const char* series,
                            const char* instance, const OrthancPluginDicomConnection* connection,
                            const char* target_aet, std::uint16_t originator_id) noexcept {
    return in_callback<void*>(nullptr, [&] {
        const Peer peer(connection);
        const Peer::Call call(peer);
        return open_move(type, patient, accession, study, series, instance, target_aet,
                         originator_id, peer, true);
    });
}
#endif

std::uint32_t get_size(void* driver) noexcept {
    return static_cast<Driver*>(driver)->size;
}

OrthancPluginErrorCode apply_move(void* pointer) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const Driver& driver = *static_cast<Driver*>(pointer);
        if (!may_ask({})) {
            return OrthancPluginErrorCode_Plugin;
        }
        if (!driver.object) {
            const auto question = std::make_shared<MoveQuestion>(driver.request);
            return ask_only(driver.registry, Family::Move, question) == Outcome::Answered
                       ? OrthancPluginErrorCode_Success
                       : OrthancPluginErrorCode_Plugin;
        }
        const auto question = std::make_shared<ApplyQuestion>(driver);
        return ask_only(driver.registry, Family::MoveApply, question) == Outcome::Answered
                   ? question->code()
                   : OrthancPluginErrorCode_Plugin;
    });
}

void free_move(void* pointer) noexcept {
    const std::unique_ptr<Driver> driver(static_cast<Driver*>(pointer));
    in_callback(0, [&] {
        let_go(*driver);
        return 0;
    });
}

// A handler that sends a whole study itself needs more than the usual half minute.
constexpr std::chrono::duration<double> whole_timeout = 10min;

Registration registration(const char* function, Form form) {
    Registration move{function, "C-MOVE", Family::Move};
    move.form = form;
    move.only_one = true;
    move.hook = [](OrthancPluginContext* context) {
        check_scp_hooked(context,
                         OrthancPluginRegisterMoveCallback(context, create_move, get_size,
                                                           apply_move, free_move),
                         "RegisterMoveCallback", "1.1.0");
    };
    return move;
}

void add_driver(Registration move, const py::object& create, const py::object& size,
                const py::object& apply, const py::object& free) {
    const auto registry = Registry::current();
    const bool taken = registry && registry->family(Family::Move).count > 0;
    if (!taken) { // else the last line says so
        const auto add = [&](Family family, const char* what, const py::object& callable) {
            add_handler({move.function, what, family}, callable);
        };
        if (registry) {
            (void)registry->make_handler(create, "C-MOVE"); // raises before anything is kept
        }
        add(Family::MoveSize, "C-MOVE size", size);
        add(Family::MoveApply, "C-MOVE sub-operation", apply);
        add(Family::MoveFree, "C-MOVE free", free);
    }
    // The last one: Orthanc hears of it when all four are there.
    add_handler(move, create);
}

} // namespace

void add_move(py::module_& module) {
    Registration whole_move = registration("RegisterMoveCallback", whole);
    whole_move.timeout = whole_timeout;
    define(module, whole_move);
    module.def(
        "RegisterMoveCallback2",
        [](const py::object& create, const py::object& size, const py::object& apply,
           const py::object& free) {
            add_driver(registration("RegisterMoveCallback2", driver), create, size, apply, free);
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::pos_only());
#if ORTHANC_ASYNC_HAS_CONNECTIONS
    module.def(
        "RegisterMoveCallback3",
        [](const py::object& create, const py::object& size, const py::object& apply,
           const py::object& free) {
            Registration move = registration("RegisterMoveCallback3", with_connection);
            move.hook = [](OrthancPluginContext* context) {
                check_scp_hooked(context,
                                 OrthancPluginRegisterMoveCallback2(context, create_connected_move,
                                                                    get_size, apply_move,
                                                                    free_move),
                                 "RegisterMoveCallback3", "1.12.10");
            };
            add_driver(move, create, size, apply, free);
        },
        py::arg(), py::arg(), py::arg(), py::arg(), py::pos_only());
#endif
}

} // namespace orthanc_async::callbacks
