# Compiler and linker flags of every target of ours. Generated code is built by
# KeydTargets without the warnings.

option(KEYD_WERROR "Turn warnings into errors" OFF)
option(KEYD_FUZZ "Build libFuzzer targets (clang)" OFF)
option(KEYD_ANALYZE "Run gcc -fanalyzer" OFF)
option(KEYD_COVERAGE "Instrument for gcov" OFF)
set(KEYD_SANITIZE "" CACHE STRING "Sanitizers, comma separated: address,undefined or thread")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
include(CheckCCompilerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

add_library(keyd_warnings INTERFACE)
set(_warnings
    -Wall -Wextra -Wformat=2 -Wconversion -Wsign-conversion -Wshadow -Wundef -Wvla -Walloca
    -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes -Wimplicit-fallthrough
    -Wnull-dereference -Wswitch-enum -Werror=implicit-function-declaration)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND _warnings -Wduplicated-cond -Wlogical-op -Wbidi-chars=any)
endif()
target_compile_options(keyd_warnings INTERFACE ${_warnings})
if(KEYD_WERROR)
  target_compile_options(keyd_warnings INTERFACE -Werror)
endif()

add_library(keyd_hardening INTERFACE)
target_compile_definitions(keyd_hardening INTERFACE _GNU_SOURCE)
target_compile_options(keyd_hardening INTERFACE
    -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
    -ftrivial-auto-var-init=zero -fno-strict-overflow -fno-delete-null-pointer-checks)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  # clang 14 takes =zero only together with this second flag.
  target_compile_options(keyd_hardening INTERFACE
      -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
endif()
if(NOT KEYD_SANITIZE AND NOT KEYD_FUZZ)
  # One option, in order: as a compile *definition* the value would land before
  # the -U and be silently off.
  target_compile_options(keyd_hardening INTERFACE
      $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=3>)
  target_link_options(keyd_hardening INTERFACE -Wl,--no-undefined)
endif()
target_link_options(keyd_hardening INTERFACE
    -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)

if(KEYD_SANITIZE)
  add_compile_options(-fsanitize=${KEYD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${KEYD_SANITIZE})
endif()
if(KEYD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()
if(KEYD_ANALYZE)
  target_compile_options(keyd_warnings INTERFACE -fanalyzer)
endif()
if(KEYD_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
