// What the callbacks of Orthanc's DICOM server share: C-FIND, worklists, C-MOVE, commitment.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "../sdk/handles.hpp"
#include "question.hpp"

// Older headers have no connections. The name alone lets one source build with each of them: no
// object of it is ever made there.
#define ORTHANC_ASYNC_HAS_CONNECTIONS ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 10)
#if !ORTHANC_ASYNC_HAS_CONNECTIONS
struct OrthancPluginDicomConnection;
#endif

namespace orthanc_async::callbacks {

using Connection = sdk::Borrowed<OrthancPluginDicomConnection>;

// Who has asked: two application entity titles, or the connection that Orthanc lends.
class Peer {
public:
    Peer(const char* remote, const char* called) : remote_(remote), called_(called) {}
    // Thread: Orthanc's, inside the callback. GIL: not held.
    explicit Peer(const OrthancPluginDicomConnection* connection);

    // The handler's arguments that tell it. GIL: held. Throws.
    pybind11::tuple arguments() const;
    const std::string& remote() const { return remote_; } // for messages

    // Orthanc takes the connection back at the end of the scope: its call. Thread: Orthanc's.
    // GIL: not held.
    class Call {
    public:
        explicit Call(const Peer& peer) : connection_(peer.connection_) {}
        ~Call() {
            if (connection_) {
                connection_->end();
            }
        }
        Call(const Call&) = delete;
        Call& operator=(const Call&) = delete;

    private:
        const std::shared_ptr<Connection> connection_;
    };

private:
    std::string remote_;
    std::string called_;
    std::shared_ptr<Connection> connection_; // null: titles
};

// Puts a question to a family's only handler. Thread: Orthanc's. GIL: not held.
Outcome ask_only(const std::shared_ptr<Registry>& registry, Family family,
                 const std::shared_ptr<Question>& question);

// check_hooked() for what only one plugin can handle. GIL: any.
void check_scp_hooked(OrthancPluginContext* context, OrthancPluginErrorCode code,
                      const char* function, const char* since);

} // namespace orthanc_async::callbacks
