// The cases of modality_losses_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../loss/modality_losses_test.cpp"
