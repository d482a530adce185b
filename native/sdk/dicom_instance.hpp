// orthanc.DicomInstance: owned, borrowed for one call, or a snapshot that stays valid.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace orthanc_async::sdk {

// Orthanc's own object, valid while a callback of a plain handler runs. Each SDK call inside it is
// counted, and end() waits for them: the object must not vanish under another thread's feet.
class BorrowedInstance {
public:
    BorrowedInstance(const OrthancPluginDicomInstance* instance, std::string what)
        : instance_(instance), what_(std::move(what)) {}

    // Null once the call has ended. Thread: any. GIL: any (a leaf lock).
    const OrthancPluginDicomInstance* pin();
    void unpin();

    // Thread: Orthanc's. GIL: not held.
    void end();

    const std::string& what() const { return what_; }

    // See Turn in dicom_instance.cpp.
    std::recursive_mutex& reading() { return reading_; }

private:
    std::mutex mutex_;
    std::condition_variable unpinned_;
    const OrthancPluginDicomInstance* instance_;
    std::size_t pins_ = 0;
    const std::string what_;
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
