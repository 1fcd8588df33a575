# rearm::cuda: rearm::rearm with the CUDA libraries that include/rearm/cuda.cuh uses. A project that links it enables the
# CUDA language itself. Used by the build tree and by the installed package.
find_package(CUDAToolkit 12.4 REQUIRED)
if(NOT TARGET rearm::cuda)
  add_library(rearm::cuda INTERFACE IMPORTED GLOBAL)
  target_link_libraries(rearm::cuda INTERFACE rearm::rearm CUDA::cudart CUDA::cublas CUDA::cusparse)
  # CMake 3.25 knows no flag of nvcc for C++20.
  target_compile_options(rearm::cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
endif()
