// The same counting operator new, in this test program.
#include "../model/count_allocations_test.cpp"
