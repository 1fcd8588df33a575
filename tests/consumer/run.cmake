# cmake -D way=... -P run.cmake: builds and runs the consumer project in tests/consumer/<way>, or, for pkg_config,
# compiles its main.cpp by hand; then looks for flags that leaked out of rearm::rearm.
foreach(flags CFLAGS CXXFLAGS CPPFLAGS LDFLAGS) # only what rearm itself passes on is tested
  unset(ENV{${flags}})
endforeach()

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${work_dir})
set(prefix ${work_dir}/prefix)
if(way MATCHES "find_package|pkg_config")
  run(${CMAKE_COMMAND} --install ${rearm_binary_dir} --prefix ${prefix})
endif()

if(way STREQUAL "pkg_config")
  file(GLOB_RECURSE pc_file ${prefix}/*/rearm.pc)
  cmake_path(GET pc_file PARENT_PATH pc_dir)
  set(ENV{PKG_CONFIG_PATH} "${pc_dir}:$ENV{PKG_CONFIG_PATH}")
  execute_process(COMMAND pkg-config --cflags --libs rearm OUTPUT_VARIABLE command COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${command}")
  run(${compiler} -std=c++20 ${CMAKE_CURRENT_LIST_DIR}/main.cpp ${flags} -o ${work_dir}/consumer)
else()
  run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/${way} -B ${work_dir} -G ${generator}
    -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_CUDA_ARCHITECTURES=${cuda_architectures} -D CMAKE_EXPORT_COMPILE_COMMANDS=ON -D CMAKE_PREFIX_PATH=${prefix}
    -D REARM_SOURCE_DIR=${rearm_source_dir} -D REARM_USE_BLAS=${use_blas})
  run(${CMAKE_COMMAND} --build ${work_dir})
  file(READ ${work_dir}/compile_commands.json command)
endif()
run(${work_dir}/consumer)

string(REGEX MATCH " -(march|mtune|W|O|fsanitize|fno-|ffast)[^ \"]*" leaked "${command}")
if(leaked)
  message(FATAL_ERROR "the flag${leaked} leaks from rearm into the programs that link it:\n${command}")
endif()
