# Roles whose calls fail when the test says so (tests/support/fault.h).
if(TARGET fault-shim)
  function(keyd_fault_test name)
    keyd_system_test(${name} ${ARGN})
    target_sources(${name} PRIVATE ../support/fault.c ../support/fault_suite.c
                   ../support/check.c ../support/dmw.c ../support/letter.c ../support/load.c
                   ../support/people.c ../support/sg.c)
    target_link_libraries(${name} PRIVATE kd-audit dime-core Keyd::crypto Keyd::sqlite3 Keyd::secp256k1
                          Threads::Threads)
    add_dependencies(${name} fault-shim fault-role)
  endfunction()
  keyd_fault_test(test_fault_disk LABELS fault TIMEOUT 300)
  keyd_fault_test(test_fault_clock LABELS fault TIMEOUT 120)
  keyd_fault_test(test_fault_resources LABELS fault TIMEOUT 600)
endif()
# What one principal may do to the others of its class. Sanitizers change the figures.
if(NOT KEYD_SANITIZE AND NOT KEYD_FUZZ AND NOT KEYD_COVERAGE)
  keyd_system_test(test_abuse
    SOURCES abuse_tls.c abuse_unix.c abuse_ways.c ../support/ask.c ../support/certs.c
            ../support/people.c ../support/tls_peer.c
    LIBS dime-dkey-write dime-core kd-rpc Keyd::ssl Keyd::crypto Keyd::secp256k1
    LABELS fault abuse TIMEOUT 600)
  set_tests_properties(test_abuse PROPERTIES RUN_SERIAL ON) # it measures
endif()
keyd_test(test_fault_bits
  SOURCES test_fault_bits.c ../support/check.c ../support/registry.c ../support/shell.c
  LIBS kd-ledger dime-core Keyd::sodium Keyd::sqlite3
  ARGS $<TARGET_FILE:store_victim>
  LABELS fault TIMEOUT 300)
keyd_system_test(test_fault_state
  SOURCES ../support/ask.c ../support/people.c ../support/shell.c ../support/state.c
  LIBS dime-dkey-write dime-core kd-ledger Keyd::secp256k1 Keyd::sqlite3
  LABELS fault TIMEOUT 600)
if(TARGET test_fault_state)
  add_dependencies(test_fault_state keydctl)
endif()
keyd_system_test(test_uid
  SOURCES ../support/ask.c ../support/people.c
  LIBS dime-dkey-write dime-core kd-rpc Keyd::secp256k1 LABELS integration TIMEOUT 60)
