"""Measure orthanc-async, the official Python plugin and a pure C++ plugin side by side."""
