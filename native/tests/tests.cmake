# The C++ unit tests: the runtime alone, without Python and without Orthanc.
find_path(DOCTEST_INCLUDE_DIR doctest/doctest.h)
if(NOT DOCTEST_INCLUDE_DIR)
  message(FATAL_ERROR "doctest/doctest.h is not there: install Debian's doctest-dev")
endif()

if(ORTHANC_ASYNC_SANITIZE STREQUAL "address")
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(ORTHANC_ASYNC_SANITIZE STREQUAL "thread")
  set(sanitizers -fsanitize=thread)
elseif(NOT ORTHANC_ASYNC_SANITIZE STREQUAL "")
  message(FATAL_ERROR "ORTHANC_ASYNC_SANITIZE is \"${ORTHANC_ASYNC_SANITIZE}\": use address, "
                      "thread or nothing")
endif()

enable_testing()
add_executable(
  runtime_tests
  native/tests/main.cpp native/tests/attached_pool_test.cpp native/tests/executor_test.cpp
  native/tests/gate_test.cpp native/tests/mailbox_test.cpp ${runtime_sources})
target_include_directories(runtime_tests PRIVATE native)
target_include_directories(runtime_tests SYSTEM PRIVATE "${DOCTEST_INCLUDE_DIR}")
target_link_libraries(runtime_tests PRIVATE Threads::Threads)
if(sanitizers)
  target_compile_options(runtime_tests PRIVATE ${sanitizers} -O1 -g -fno-omit-frame-pointer)
  target_link_options(runtime_tests PRIVATE ${sanitizers})
endif()
add_test(NAME runtime COMMAND runtime_tests)
