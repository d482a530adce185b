"""The Python half of the plugin: everything here runs inside Orthanc only."""
