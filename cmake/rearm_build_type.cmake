# Warns, once, a project that uses rearm and is about to compile without optimization without having said so. Used by the
# build tree and by the installed package.
get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
get_property(warned GLOBAL PROPERTY rearm_build_type_warning)
if(NOT multi_config AND NOT warned AND "${CMAKE_BUILD_TYPE}" STREQUAL "" AND NOT "${CMAKE_CXX_FLAGS}" MATCHES "(^| )-O")
  set_property(GLOBAL PROPERTY rearm_build_type_warning ON)
  message(WARNING "rearm: no build type is chosen, so programs that use rearm are compiled without optimization and train \
several times slower. Configure with -D CMAKE_BUILD_TYPE=Release")
endif()
unset(multi_config)
unset(warned)
