// The memory of images: read in place by Python, lent by Python, given to Orthanc.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>

namespace orthanc_async::sdk {

// Has `image` keep the memory that it was made over. GIL: held.
void keep_backing(const pybind11::object& image, std::unique_ptr<Py_buffer> view);

// Takes the image out of its Python object, which cannot be used any more, for Orthanc to keep and
// to free. The pixels are copied only where something in Python still holds them: a view, a call
// that runs, or the memory under CreateImageAccessor. `what` begins the message of an error.
// GIL: held, given up while it copies. Throws TypeError or RuntimeError.
OrthancPluginImage* give_image(const pybind11::object& object, const std::string& what);

} // namespace orthanc_async::sdk
