# A BLAS with the C interface, OpenBLAS preferred: defines rearm::cblas, which carries REARM_HAS_BLAS and, for a library
# whose threads can be turned off, REARM_HAS_OPENBLAS_THREADS. CMake's own FindBLAS looks for the Fortran interface only.
#
# rearm calls BLAS from several threads at once. A serial OpenBLAS (Debian: libopenblas-serial-dev, Fedora:
# libopenblas.so) hands its work buffers out without a lock and then returns wrong products, so the threaded builds
# come first and a serial one is refused. -D RearmCblas_THREAD_SAFE=ON accepts one built with USE_LOCKING=1.
find_path(RearmCblas_INCLUDE_DIR cblas.h
  PATH_SUFFIXES openblas-pthread openblas-openmp openblas openblas-serial)
find_library(RearmCblas_LIBRARY NAMES openblasp openblaso openblas cblas blas
  PATH_SUFFIXES openblas-pthread openblas-openmp)
mark_as_advanced(RearmCblas_INCLUDE_DIR RearmCblas_LIBRARY)

if(RearmCblas_INCLUDE_DIR AND RearmCblas_LIBRARY)
  include(CheckCXXSourceCompiles)
  include(CheckCXXSourceRuns)
  include(CMakePushCheckState)
  cmake_push_check_state(RESET)
  set(CMAKE_REQUIRED_INCLUDES ${RearmCblas_INCLUDE_DIR})
  set(CMAKE_REQUIRED_LIBRARIES ${RearmCblas_LIBRARY})
  check_cxx_source_compiles("#include <cblas.h>
    int main() { const float x[2] = {1, 2}; return cblas_sdot(2, x, 1, x, 1) == 5.0f ? 0 : 1; }" RearmCblas_LINKS)
  check_cxx_source_compiles("#include <cblas.h>
    int main() { openblas_set_num_threads(1); }" RearmCblas_OPENBLAS_THREADS)
  if(RearmCblas_OPENBLAS_THREADS AND NOT CMAKE_CROSSCOMPILING)
    check_cxx_source_runs("#include <cblas.h>
      int main() { return openblas_get_parallel() == OPENBLAS_SEQUENTIAL; }" RearmCblas_THREAD_SAFE)
  else()
    set(RearmCblas_THREAD_SAFE TRUE)
  endif()
  cmake_pop_check_state()
endif()
# Fedora's and conda's packages hold headers, too; Homebrew's stands apart: -D CMAKE_PREFIX_PATH="$(brew --prefix openblas)".
set(reason "Install one: libopenblas-pthread-dev (Debian, Ubuntu), openblas-devel (Fedora), openblas (conda-forge, Homebrew)")
if(DEFINED RearmCblas_THREAD_SAFE AND NOT RearmCblas_THREAD_SAFE)
  set(reason "this OpenBLAS is serial and wrong when called from several threads. Install a threaded one (Debian: \
libopenblas-pthread-dev)")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(RearmCblas
  REQUIRED_VARS RearmCblas_LIBRARY RearmCblas_INCLUDE_DIR RearmCblas_LINKS RearmCblas_THREAD_SAFE
  REASON_FAILURE_MESSAGE "${reason}")
if(NOT RearmCblas_FOUND) # look again next time
  foreach(variable INCLUDE_DIR LIBRARY LINKS OPENBLAS_THREADS THREAD_SAFE)
    unset(RearmCblas_${variable} CACHE)
  endforeach()
endif()
if(RearmCblas_FOUND AND NOT TARGET rearm::cblas)
  add_library(rearm::cblas INTERFACE IMPORTED GLOBAL)
  target_include_directories(rearm::cblas INTERFACE ${RearmCblas_INCLUDE_DIR})
  target_link_libraries(rearm::cblas INTERFACE ${RearmCblas_LIBRARY})
  target_compile_definitions(rearm::cblas INTERFACE REARM_HAS_BLAS)
  if(RearmCblas_OPENBLAS_THREADS)
    target_compile_definitions(rearm::cblas INTERFACE REARM_HAS_OPENBLAS_THREADS)
  endif()
endif()
