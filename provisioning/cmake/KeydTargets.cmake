# keyd_library(NAME SOURCES ... LIBS ... [INCLUDE dir])   static library with one include root
# keyd_program(NAME SOURCES ... LIBS ... [INSTALL dir])   executable in build/<preset>/bin
# keyd_test(NAME SOURCES ... LIBS ... [LABELS ...])       cmocka program, run by ctest
# keyd_fuzz(NAME SOURCES ... LIBS ... [CORPUS dir])       libFuzzer target; always built as a
#                                                         replayer of its corpus for ctest

set(KEYD_TIMEOUT_FACTOR 1 CACHE STRING "Multiplies the time limit of every test (tests/soak.sh)")

function(_keyd_common target)
  target_link_libraries(${target} PRIVATE keyd_warnings keyd_hardening)
endfunction()

function(keyd_library name)
  cmake_parse_arguments(A "" "INCLUDE" "SOURCES;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  _keyd_common(${name})
  if(NOT A_INCLUDE)
    set(A_INCLUDE include)
  endif()
  target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/${A_INCLUDE})
  target_link_libraries(${name} PUBLIC ${A_LIBS} PRIVATE ${A_PRIVATE_LIBS})
endfunction()

function(keyd_program name)
  cmake_parse_arguments(A "" "INSTALL" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  _keyd_common(${name})
  target_link_libraries(${name} PRIVATE ${A_LIBS})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  if(A_INSTALL)
    install(TARGETS ${name} RUNTIME DESTINATION ${A_INSTALL})
  endif()
endfunction()

function(keyd_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LIBS;LABELS;ARGS" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  add_executable(${name} ${A_SOURCES})
  _keyd_common(${name})
  target_link_libraries(${name} PRIVATE ${A_LIBS} Keyd::cmocka)
  target_compile_definitions(${name} PRIVATE
      KEYD_VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors"
      KEYD_SHARED_VECTORS="${PROJECT_SOURCE_DIR}/../shared/vectors")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} ${A_ARGS})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  math(EXPR A_TIMEOUT "${A_TIMEOUT} * ${KEYD_TIMEOUT_FACTOR}")
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT}
                       SKIP_RETURN_CODE 77)
endfunction()

function(keyd_fuzz name)
  cmake_parse_arguments(A "" "CORPUS" "SOURCES;LIBS" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  if(KEYD_FUZZ)
    add_executable(${name} ${A_SOURCES} ${PROJECT_SOURCE_DIR}/tests/support/fuzz_oracle.c)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} ${A_SOURCES} ${PROJECT_SOURCE_DIR}/tests/support/fuzz_oracle.c
                   ${PROJECT_SOURCE_DIR}/tests/support/fuzz_replay.c)
  endif()
  if(NOT TARGET fuzz_targets)
    add_custom_target(fuzz_targets) # all of them and nothing else
  endif()
  add_dependencies(fuzz_targets ${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support)
  _keyd_common(${name})
  target_link_libraries(${name} PRIVATE ${A_LIBS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
  if(NOT KEYD_FUZZ)
    add_test(NAME replay_${name} COMMAND ${name} ${A_CORPUS})
    set_tests_properties(replay_${name} PROPERTIES LABELS replay TIMEOUT 120)
  endif()
endfunction()
