# A BLAS with the C interface, OpenBLAS preferred: defines rearm::cblas, which carries REARM_HAS_BLAS and, for a library
# whose threads can be turned off, REARM_HAS_OPENBLAS_THREADS. CMake's own FindBLAS looks for the Fortran interface only.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(RearmCblas_PC QUIET openblas)
endif()
find_path(RearmCblas_INCLUDE_DIR cblas.h
  HINTS ${RearmCblas_PC_INCLUDE_DIRS} PATH_SUFFIXES openblas openblas-serial openblas-pthread openblas-openmp)
find_library(RearmCblas_LIBRARY NAMES openblas cblas blas HINTS ${RearmCblas_PC_LIBRARY_DIRS})
mark_as_advanced(RearmCblas_INCLUDE_DIR RearmCblas_LIBRARY)

if(RearmCblas_INCLUDE_DIR AND RearmCblas_LIBRARY)
  include(CheckCXXSourceCompiles)
  include(CMakePushCheckState)
  cmake_push_check_state(RESET)
  set(CMAKE_REQUIRED_INCLUDES ${RearmCblas_INCLUDE_DIR})
  set(CMAKE_REQUIRED_LIBRARIES ${RearmCblas_LIBRARY})
  check_cxx_source_compiles("#include <cblas.h>
    int main() { const float x[2] = {1, 2}; return cblas_sdot(2, x, 1, x, 1) == 5.0f ? 0 : 1; }" RearmCblas_LINKS)
  check_cxx_source_compiles("#include <cblas.h>
    int main() { openblas_set_num_threads(1); }" RearmCblas_OPENBLAS_THREADS)
  cmake_pop_check_state()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(RearmCblas
  REQUIRED_VARS RearmCblas_LIBRARY RearmCblas_INCLUDE_DIR RearmCblas_LINKS)
if(RearmCblas_FOUND AND NOT TARGET rearm::cblas)
  add_library(rearm::cblas INTERFACE IMPORTED GLOBAL)
  target_include_directories(rearm::cblas INTERFACE ${RearmCblas_INCLUDE_DIR})
  target_link_libraries(rearm::cblas INTERFACE ${RearmCblas_LIBRARY})
  target_compile_definitions(rearm::cblas INTERFACE REARM_HAS_BLAS)
  if(RearmCblas_OPENBLAS_THREADS)
    target_compile_definitions(rearm::cblas INTERFACE REARM_HAS_OPENBLAS_THREADS)
  endif()
endif()
