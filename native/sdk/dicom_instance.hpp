// orthanc.DicomInstance: owned, borrowed for one call, or a snapshot that stays valid.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "borrowed.hpp"

namespace orthanc_async::sdk {

// Valid while Orthanc waits for the handler.
class BorrowedInstance : public Borrowed<const OrthancPluginDicomInstance> {
public:
    using Borrowed::Borrowed;

    // See Turn in dicom_instance.cpp.
    std::recursive_mutex& reading() { return reading_; }

private:
    std::recursive_mutex reading_;
};

// What an `async def` handler gets: read while the core holds the instance. The data is not in it:
// a burst of events would hold them all in memory; it is read again when asked for.
struct InstanceSnapshot {
    std::string id;
    std::int64_t size = 0;
    int origin = 0;
    std::string remote_aet;
    std::string transfer_syntax;
    std::map<std::string, std::string> metadata;

    // Thread: Orthanc's, inside OnStoredInstance. GIL: not held.
    static std::shared_ptr<const InstanceSnapshot> take(OrthancPluginContext* context,
                                                        const OrthancPluginDicomInstance* instance,
                                                        const char* id);
};

// GIL: held.
pybind11::object make_borrowed_instance(std::shared_ptr<BorrowedInstance> instance);
pybind11::object make_instance_snapshot(std::shared_ptr<const InstanceSnapshot> snapshot);
void add_dicom_instance(pybind11::module_& module);

} // namespace orthanc_async::sdk
