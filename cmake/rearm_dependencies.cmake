# Finds what rearm::rearm links: `rearm_dependencies` lists the targets, `rearm_find_dependencies` the calls by which
# the installed package finds them again.

if(NOT TARGET nlohmann_json::nlohmann_json)
  find_package(nlohmann_json 3.7 REQUIRED)
endif()
find_package(Random123 REQUIRED)
set(rearm_dependencies nlohmann_json::nlohmann_json Random123::Random123)
set(rearm_find_dependencies "find_dependency(nlohmann_json)\nfind_dependency(Random123)\n")

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
list(APPEND rearm_dependencies Threads::Threads)
string(APPEND rearm_find_dependencies "set(THREADS_PREFER_PTHREAD_FLAG ON)\nfind_dependency(Threads)\n")
# OpenMP's hints for vector loops, not its threads: where the compiler knows none, loops that add up stay scalar.
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-fopenmp-simd REARM_HAS_OPENMP_SIMD)

if(REARM_USE_BLAS STREQUAL "AUTO")
  find_package(RearmCblas)
elseif(REARM_USE_BLAS)
  find_package(RearmCblas REQUIRED)
endif()
if(REARM_USE_BLAS AND RearmCblas_FOUND)
  list(APPEND rearm_dependencies rearm::cblas)
  string(APPEND rearm_find_dependencies "find_dependency(RearmCblas)\n")
else()
  if(NOT TARGET Eigen3::Eigen)
    find_package(Eigen3 3.4 QUIET NO_MODULE)
    if(NOT Eigen3_FOUND)
      message(FATAL_ERROR "rearm multiplies matrices by a BLAS with the C interface, or by Eigen 3.4 without one, and there \
is neither: install a BLAS (above), or Eigen (Debian, Ubuntu: libeigen3-dev) and set Eigen3_DIR where CMake does not look")
    endif()
  endif()
  if(REARM_USE_BLAS STREQUAL "AUTO")
    message(STATUS "rearm: without a BLAS Eigen multiplies matrices, by the instructions that a program is compiled for. \
-D REARM_USE_BLAS=ON requires a BLAS, OFF does without")
  endif()
  list(APPEND rearm_dependencies Eigen3::Eigen)
  string(APPEND rearm_find_dependencies "find_dependency(Eigen3 NO_MODULE)\n")
endif()
