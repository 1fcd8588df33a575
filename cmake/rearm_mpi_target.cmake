# rearm::mpi: rearm::rearm with the MPI library that rearm/backend/cpu/mpi.hpp uses. Used by the build tree and by the
# installed package.
find_package(MPI COMPONENTS CXX)
if(NOT MPI_CXX_FOUND)
  message(FATAL_ERROR "rearm: REARM_MPI, or the component MPI, needs an MPI library and its compiler wrapper: install one \
(Debian, Ubuntu: libopenmpi-dev openmpi-bin)")
endif()
if(NOT TARGET rearm::mpi)
  add_library(rearm::mpi INTERFACE IMPORTED GLOBAL)
  target_link_libraries(rearm::mpi INTERFACE rearm::rearm MPI::MPI_CXX)
  target_compile_definitions(rearm::mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX) # only C's interface
endif()
