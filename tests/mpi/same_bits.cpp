// mpirun -n R same_bits: what R processes train by MPI has the bits of R threads; messages longer than one piece
// arrive. With an argument: that rank throws, is silent, or ends, and the others must not wait for it.
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/mpi.hpp>
#include <rearm/backend/cpu/thread_ranks.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/models/bpr_mf.hpp>
#include <rearm/models/light_gcn.hpp>
#include <rearm/train/trainer.hpp>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

namespace {

using namespace rearm;
using B = CpuBackend<double>;

Dataset data() {
  SyntheticSettings s;
  s.n_users = 120;
  s.n_items = 90;
  s.pairs_per_user = 8;
  return make_synthetic(s);
}

/// All weights and metrics after two epochs.
template <template <class> class M>
std::vector<double> trained(Communicator& ranks, const Dataset& data) {
  Settings<typename M<B>::Config> settings;
  settings.model.embedding_dim = 8;
  settings.train.epochs = 2;
  settings.train.batch_size = 64;
  Context<B> ctx({.threads = 1}, settings.train.seed);
  ctx.set_ranks(&ranks);
  M<B> model(ctx, data, settings.model);
  const TrainResult result = Trainer<B>(ctx, model, data, settings.train).run();
  std::vector<double> out;
  for (const auto& [name, value] : result.test) out.push_back(value);
  for (const Parameter<B>& p : std::as_const(model.parameters())) {
    std::vector<double> all(static_cast<std::size_t>(p.rows() * p.cols()));
    const In<B> own = p.value();
    std::copy_n(own.data, own.size(), all.data() + p.blocks()->begin() * p.cols());
    ranks.all_gather(all.data(), p.blocks()->counts(p.cols()));
    out.insert(out.end(), all.begin(), all.end());
  }
  return out;
}

template <template <class> class M>
bool same_bits(Communicator& ranks, const Dataset& data) {
  const std::vector<double> own = trained<M>(ranks, data);
  std::vector<double> of_threads;
  run_ranks(ranks.size(), [&](Communicator& thread) {
    const std::vector<double> all = trained<M>(thread, data);
    if (thread.rank() == 0) of_threads = all;
  });
  return own == of_threads;
}

}  // namespace

int main(int argc, char** argv) {
  const MpiSession session;
  int failed = 0;
  try {
    MpiRanks ranks(session);
    if (argc > 1) {
      ranks.barrier();
      if (ranks.rank() == ranks.size() - 1) throw DataError(argv[1]);
      ranks.barrier();
      return 3;  // nobody comes here
    }
    const Dataset small = data();
    if (!same_bits<LightGcn>(ranks, small) || !same_bits<BprMf>(ranks, small)) failed = 1;
    double number = failed;
    ranks.sum(std::span<double>(&number, 1));
    failed = number > 0 ? 1 : 0;
    if (ranks.rank() == 0) std::printf("%d ranks: %s\n", ranks.size(), failed == 0 ? "same bits" : "OTHER BITS");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rank %d of %d: %s\n", session.rank(), session.size(), e.what());
    MpiSession::abort(1);
  }
  return failed;
}
