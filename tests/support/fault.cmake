# A role with single calls that fail (fault_control.h). Sanitizers want to be first themselves.
if(NOT KEYD_SANITIZE AND NOT KEYD_FUZZ AND NOT KEYD_COVERAGE)
  add_library(fault-shim MODULE fault_shim.c)
  _keyd_common(fault-shim)
  set_target_properties(fault-shim PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_executable(fault-role fault_role.c)
  _keyd_common(fault-role)
  set_target_properties(fault-role PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
endif()
