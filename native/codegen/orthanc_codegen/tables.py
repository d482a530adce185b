"""What the generator is told about single functions; everything else it sees in the header.

Generated, hand-written and excluded functions together are all functions of the header.
"""

from __future__ import annotations

# Bound by hand, beside the functions that stubs/ names.
HAND_WRITTEN = {
    "SendHttpStatus": "takes two or three arguments, as the official plugin's versions did",
}

_AUTOMATIC = "called when the Python object goes away"

EXCLUDED = {
    "RegisterRestCallbackNoLock": "RegisterRestCallback takes no lock either",
    "RegisterIncomingHttpRequestFilter": "its second form has the query too",
    "RegisterDatabaseBackendV4": "database back-ends are written in C++",
    "CreateJob2": "CreateJob does the same in every version",
    "FreeString": _AUTOMATIC,
    "FreeMemoryBuffer": _AUTOMATIC,
    "FreeMemoryBuffer64": _AUTOMATIC,
    "FreeImage": _AUTOMATIC,
    "FreeFindMatcher": _AUTOMATIC,
    "FreePeers": _AUTOMATIC,
    "FreeJob": _AUTOMATIC,
    "FreeDicomInstance": _AUTOMATIC,
    "FreeKeysValuesIterator": _AUTOMATIC,
}

# Objects that only callbacks hand out which are not yet bound; so are all their methods.
EXCLUDED_CLASSES = {
    "StorageArea": "handed out only to a database back-end, which is written in C++",
}

# Objects that Orthanc lends for one call, so that nothing frees them.
BORROWED_CLASSES = (
    "DicomConnection",
    "FindAnswers",
    "FindQuery",
    "WorklistAnswers",
    "WorklistQuery",
)

# What the official plugin has and the header has not, with the header's function behind it.
DERIVED = {
    "CreateImageFromBuffer": "",
    "GetFindQueryTagElement": "GetFindQueryTag",
    "GetFindQueryTagGroup": "GetFindQueryTag",
}

# Operations in native/sdk, written by hand because the header does not tell what their pointers
# mean, or because the scripts of one plugin share what Orthanc keeps once.
HAND_WRITTEN_OPERATIONS = (
    "CreateImageAccessor",
    "EncodeDicomWebJson",
    "EncodeDicomWebJson2",
    "EncodeDicomWebXml",
    "EncodeDicomWebXml2",
    "ExtendOrthancExplorer",
    "ExtendOrthancExplorer2",
    "GetImageBuffer",
    "GetInstanceData",
    "GetInstanceDicomWebJson",
    "GetInstanceDicomWebXml",
    "LookupDictionary",
)

# What several results are, in their order: the Python types and the C++ functions that give them.
TUPLES = {
    "AdoptDicomInstance": (("str", "str", "StoreStatus"), ("take_text", "take_text", "take")),
    "GetFindQueryTag": (("int", "int"), ("take", "take")),
}

# Functions whose first argument names a plugin: scripts give the official one's name.
NAME_A_PLUGIN = ("ExtendOrthancExplorer2", "SetDescription2", "SetRootUri2")

# What the CamelCase form gives where the official plugin gives something else than its twin: the
# Python type, C++ for the value, with the first result as {}, and a text.
OFFICIAL_RESULTS = {
    "SetStableStatus": (
        "tuple[int, int]",
        "py::make_tuple(0, static_cast<int>({}_.get()))",
        "0, and whether the status has changed, 1 or 0, as in the official plugin.",
    ),
}

# What is raised, where it is a subclass of OrthancException.
RAISED = {"LookupDictionary": "The tag is not known. This one is a TypeError, too."}

# Classes whose Python type is written by hand, with strategies of their own for each operation.
HAND_WRITTEN_CLASSES = ("DicomInstance", "RestOutput")

_MEMORY = "works in memory that the caller owns"
_LOG = "writes a line"
_CONSTANT = "reads what never changes while Orthanc runs"
_ANSWER = "handed to the Orthanc thread that waits"
_PARSED = "reads a DICOM file that is in memory"

# Allowed on the running event loop: no core lock that a handler's caller may hold, no input and
# output. Every other function is refused there, with the name of its awaitable twin.
PURE = {
    "AutodetectMimeType": _CONSTANT,
    "BufferCompression": _MEMORY,
    "CheckVersion": _CONSTANT,
    "CheckVersionAdvanced": _CONSTANT,
    "ClearCurrentThreadName": _MEMORY,
    "CompressJpegImage": _MEMORY,
    "CompressPngImage": _MEMORY,
    "ComputeMd5": _MEMORY,
    "ComputeSha1": _MEMORY,
    "ConvertPixelFormat": _MEMORY,
    "CreateDicomInstance": _MEMORY,
    "CreateFindMatcher": _PARSED,
    "CreateImage": _MEMORY,
    "CreateImageAccessor": _MEMORY,
    "CreateImageFromBuffer": _MEMORY,
    "CreateMemoryBuffer": _MEMORY,
    "CreateMemoryBuffer64": _MEMORY,
    "DicomBufferToJson": _PARSED,
    "DrawText": _MEMORY,
    "EncodeDicomWebJson": _PARSED,
    "EncodeDicomWebJson2": _PARSED,
    "EncodeDicomWebXml": _PARSED,
    "EncodeDicomWebXml2": _PARSED,
    "FindMatcherIsMatch": _PARSED,
    "GenerateUuid": _MEMORY,
    "GetConfiguration": "the configuration's lock is held only while it is read or replaced",
    "GetConfigurationPath": _CONSTANT,
    "GetErrorDescription": _CONSTANT,
    "GetExpectedDatabaseVersion": _CONSTANT,
    "GetFontName": _CONSTANT,
    "GetFontSize": _CONSTANT,
    "GetFontsCount": _CONSTANT,
    "GetImageBuffer": _MEMORY,
    "GetImageHeight": _MEMORY,
    "GetImagePitch": _MEMORY,
    "GetImagePixelFormat": _MEMORY,
    "GetImageWidth": _MEMORY,
    "GetInstanceAdvancedJson": _PARSED,
    "GetInstanceCalledAet": _MEMORY,
    "GetInstanceData": _MEMORY,
    "GetInstanceDicomWebJson": _PARSED,
    "GetInstanceDicomWebXml": _PARSED,
    "GetInstanceFramesCount": _PARSED,
    "GetInstanceJson": _PARSED,
    "GetInstanceMetadata": _MEMORY,
    "GetInstanceOrigin": _MEMORY,
    "GetInstanceRawFrame": _PARSED,
    "GetInstanceRemoteAet": _MEMORY,
    "GetInstanceRemoteIp": _MEMORY,
    "GetInstanceSimplifiedJson": _PARSED,
    "GetInstanceSize": _MEMORY,
    "GetInstanceTransferSyntaxUid": _PARSED,
    "GetOrthancDirectory": _CONSTANT,
    "GetOrthancPath": _CONSTANT,
    "GetPeerName": _MEMORY,
    "GetPeersCount": _MEMORY,
    "GetPeerUrl": _MEMORY,
    "GetPeerUserProperty": _MEMORY,
    "GetTagName": _CONSTANT,
    "HasInstanceMetadata": _MEMORY,
    "HasInstancePixelData": _PARSED,
    "LogError": _LOG,
    "LogInfo": _LOG,
    "LogMessage": _LOG,
    "LogWarning": _LOG,
    "LookupDictionary": _CONSTANT,
    "SerializeDicomInstance": _PARSED,
    "SetCurrentThreadName": _MEMORY,
    "UncompressImage": _MEMORY,
    "FindAddAnswer": _MEMORY,
    "FindMarkIncomplete": _MEMORY,
    "GetConnectionCalledAet": _MEMORY,
    "GetConnectionRemoteAet": _MEMORY,
    "GetConnectionRemoteIp": _MEMORY,
    "GetFindQuerySize": _MEMORY,
    "GetFindQueryTag": _MEMORY,
    "GetFindQueryTagElement": _MEMORY,
    "GetFindQueryTagGroup": _MEMORY,
    "GetFindQueryTagName": _CONSTANT,
    "GetFindQueryValue": _MEMORY,
    "WorklistAddAnswer": _PARSED,
    "WorklistGetDicomQuery": _PARSED,
    "WorklistIsMatch": _PARSED,
    "WorklistMarkIncomplete": _MEMORY,
    "AnswerBuffer": _ANSWER,
    "CompressAndAnswerJpegImage": _ANSWER,
    "CompressAndAnswerPngImage": _ANSWER,
    "Redirect": _ANSWER,
    "SendHttpStatusCode": _ANSWER,
    "SendMethodNotAllowed": _ANSWER,
    "SendMultipartItem": _ANSWER,
    "SendMultipartItem2": _ANSWER,
    "SendStreamChunk": _ANSWER,
    "SendUnauthorized": _ANSWER,
    "SetCookie": _ANSWER,
    "SetHttpErrorDetails": _ANSWER,
    "SetHttpHeader": _ANSWER,
    "StartMultipartAnswer": _ANSWER,
    "StartStreamAnswer": _ANSWER,
}

# Methods of RestOutput that are awaited in an `async def` handler: the back-pressure.
AWAITED_OUTPUT = ("SendMultipartItem", "SendMultipartItem2", "SendStreamChunk")

# Since which version of Orthanc's SDK there is what the oldest supported header (1.10.1) does not
# have, for the message to a script that asks for it and for `orthanc-async doctor`. A method is
# named with its class. Excluded functions are not here.
LATER = {
    "AcknowledgeQueueValue": "1.12.10",
    "AdoptDicomInstance": "1.12.8",
    "ClearCurrentThreadName": "1.13.0",
    "CreateKeysValuesIterator": "1.12.8",
    "DeleteKeyValue": "1.12.8",
    "DequeueValue": "1.12.8",
    "DicomConnection.GetConnectionCalledAet": "1.12.10",
    "DicomConnection.GetConnectionRemoteAet": "1.12.10",
    "DicomConnection.GetConnectionRemoteIp": "1.12.10",
    "EmitAuditLog": "1.12.9",
    "EnqueueValue": "1.12.8",
    "ExtendOrthancExplorer2": "1.12.4",
    "GetAttachmentCustomData": "1.12.8",
    "GetDatabaseServerIdentifier": "1.11.1",
    "GetKeyValue": "1.12.8",
    "GetQueueSize": "1.12.8",
    "KeysValuesIterator.KeysValuesIteratorGetKey": "1.12.8",
    "KeysValuesIterator.KeysValuesIteratorGetValue": "1.12.8",
    "KeysValuesIterator.KeysValuesIteratorNext": "1.12.8",
    "LoadDicomInstance": "1.12.1",
    "LogMessage": "1.12.4",
    "RegisterAuditLogHandler": "1.12.9",
    "RegisterFindCallback2": "1.12.10",
    "RegisterHttpAuthentication": "1.12.9",
    "RegisterMoveCallback2": "1.12.10",
    "RegisterStorageArea3": "1.12.8",
    "RegisterStorageCommitmentScpCallback2": "1.12.10",
    "RegisterWorklistCallback2": "1.12.10",
    "ReserveQueueValue": "1.12.10",
    "RestOutput.SendStreamChunk": "1.12.6",
    "RestOutput.StartStreamAnswer": "1.12.6",
    "SetAttachmentCustomData": "1.12.8",
    "SetCurrentThreadName": "1.12.2",
    "SetDescription2": "1.12.4",
    "SetMetricsIntegerValue": "1.12.1",
    "SetRootUri2": "1.12.4",
    "SetStableStatus": "1.12.9",
    "StoreKeyValue": "1.12.8",
}

# What several of those are together, under one name for people.
FEATURES = {
    "streamed answers": ("RestOutput.SendStreamChunk", "RestOutput.StartStreamAnswer"),
    "key-value stores": (
        "CreateKeysValuesIterator",
        "DeleteKeyValue",
        "GetKeyValue",
        "KeysValuesIterator.KeysValuesIteratorGetKey",
        "KeysValuesIterator.KeysValuesIteratorGetValue",
        "KeysValuesIterator.KeysValuesIteratorNext",
        "StoreKeyValue",
    ),
    "queues": ("DequeueValue", "EnqueueValue", "GetQueueSize"),
    "queues whose values are acknowledged": ("AcknowledgeQueueValue", "ReserveQueueValue"),
    "custom data of attachments": (
        "GetAttachmentCustomData",
        "RegisterStorageArea3",
        "SetAttachmentCustomData",
    ),
    "HTTP authentication": ("RegisterHttpAuthentication",),
    "audit logs": ("EmitAuditLog", "RegisterAuditLogHandler"),
    "DICOM servers that are told the connection": (
        "DicomConnection.GetConnectionCalledAet",
        "DicomConnection.GetConnectionRemoteAet",
        "DicomConnection.GetConnectionRemoteIp",
        "RegisterFindCallback2",
        "RegisterMoveCallback3",
        "RegisterStorageCommitmentScpCallback2",
        "RegisterWorklistCallback2",
    ),
}
