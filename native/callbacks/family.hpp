// The kinds of callbacks whose caller waits for an answer.
#pragma once

#include <cstddef>

namespace orthanc_async::callbacks {

enum class Family : std::size_t {
    HttpFilter,
    HttpAuthentication,
    AuditLog,
    DicomInstanceFilter,
    CStoreFilter,
    ReceivedInstance,
    Find,
    Worklist,
    Move,
    MoveSize,
    MoveApply,
    MoveFree,
    StorageCommitment,
    StorageCommitmentLookup,
    StorageCreate,
    StorageRead,
    StorageReadRange,
    StorageRemove,
    DecodeImage,
    Transcode,
    JobsUnserializer,
    RefreshMetrics,
    ChunkedRest,
    WebDav,
    Count, // not a family: how many there are
};

} // namespace orthanc_async::callbacks
