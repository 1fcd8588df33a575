# rearm_dev: what our own programs are compiled with; private to tests, examples and benchmarks.
add_library(rearm_dev INTERFACE)
target_link_libraries(rearm_dev INTERFACE rearm::rearm)
set(warnings -Wall -Wextra -Wconversion -Wshadow $<$<BOOL:${REARM_WERROR}>:-Werror>)
target_compile_options(rearm_dev INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")
# nvcc's own warnings, and the host compiler's; -Wconversion and -Wshadow would report CUB.
target_compile_options(rearm_dev INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra;$<$<BOOL:${REARM_WERROR}>:--Werror=all-warnings>>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms on "literal" + std::string (gcc bug 105651) and, from nvcc's host code, inside CUB.
  target_compile_options(rearm_dev INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wno-restrict,-Wno-maybe-uninitialized>)
endif()
if(REARM_NATIVE)
  # errno and floating-point traps are never read; without them more loops vectorize. No -ffast-math: sums keep order.
  target_compile_options(rearm_dev INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-march=native;-fno-math-errno;-fno-trapping-math>"
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-march=native>) # or the sources would disagree about REARM_ABI
endif()
if(REARM_SANITIZE)
  set(sanitize -fsanitize=${REARM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  # clang reports every `omp simd` loop that instrumentation keeps from being vectorized
  target_compile_options(rearm_dev INTERFACE ${sanitize} $<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>)
  target_link_options(rearm_dev INTERFACE ${sanitize})
endif()
find_path(Tomlplusplus_INCLUDE_DIR toml++/toml.h) # of the program `rearm`, and of the fuzz targets that read its files
