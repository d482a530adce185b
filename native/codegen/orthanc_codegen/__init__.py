"""From Orthanc's C header to a model of the SDK, and from the model to code."""
