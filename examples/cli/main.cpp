// The program `rearm`.
#include "own_models.hpp"

int main(int argc, char** argv) { return rearm::cli::run(argc, argv); }
