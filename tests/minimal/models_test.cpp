// The cases of tests/models on a backend that has no more than it must.
#define REARM_TEST_MINIMAL
#include "../models/contract_test.cpp"
