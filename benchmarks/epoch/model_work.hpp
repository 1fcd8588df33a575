#pragma once
/// @file model_work.hpp
/// What a step of a model cannot avoid.

#include <benchmarks/support/floor.hpp>

#include <string_view>

namespace rearm::bench {

/// Of one step of that model of the list with its default settings. Counted: dense products; the rows that sparse
/// products gather and what they write; values and moments of parameters that have a gradient, read and written. Not
/// counted: all else between the products, a batch's rows, and what an epoch begins with.
Work model_work(std::string_view model, const Dataset& data, const TrainConfig& c);

}  // namespace rearm::bench
