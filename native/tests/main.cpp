// The program of the C++ unit tests: the runtime alone, without Python and without Orthanc.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
