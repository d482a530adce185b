# The C++ unit tests: the runtime alone, without Python and without Orthanc.
find_path(DOCTEST_INCLUDE_DIR doctest/doctest.h REQUIRED)
add_executable(runtime_tests native/tests/main.cpp ${runtime_sources})
target_link_libraries(runtime_tests PRIVATE Threads::Threads)
