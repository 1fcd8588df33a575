#pragma once
/// @file own_models.hpp
/// The program `rearm` with models of one's own beside the library's. Link the target rearm::program.

#include "typed_entry.hpp"

#include <memory>
#include <string_view>
#include <vector>

namespace rearm::cli {

/// A model on the CPU that is not in the library's list.
template <template <class> class M>
class OwnEntry final : public TypedEntry<M<Cpu>> {
 public:
  bool runs_on_cuda() const override { return false; }
  AnyRecommender<Cpu> make(Context<Cpu>& ctx, const Dataset& data, const GraphOptions& options) const override {
    return AnyRecommender<Cpu>(std::make_shared<M<Cpu>>(ctx, data, this->settings_.model, options));
  }
};

struct OwnModel {
  std::string_view name;
  std::unique_ptr<ModelEntry> (*make)();
};
/// Those that this program has.
std::vector<OwnModel>& own_models();

/// The program `rearm`; returns its exit status.
int run(int argc, char** argv);

/// The same with the models M, class templates of the backend that satisfy `Recommender`: all commands take them by
/// their `name`, which none of the library's models may have. Their constructors are called with (context, data,
/// config, graph options). They run on the CPU.
///
///     int main(int argc, char** argv) { return rearm::cli::run_with<MyModel>(argc, argv); }
template <template <class> class... M>
int run_with(int argc, char** argv) {
  (own_models().push_back(
       {M<Cpu>::name, []() -> std::unique_ptr<ModelEntry> { return std::make_unique<OwnEntry<M>>(); }}),
   ...);
  return run(argc, argv);
}

}  // namespace rearm::cli
