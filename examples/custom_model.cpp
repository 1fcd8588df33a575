// A model of one's own: two embedding tables on the interaction graph, written as equations, trained like any other.
#include <rearm/rearm.hpp>

#include <cstdio>

struct MyConfig {
  int embedding_dim = 32, n_layers = 2;
  template <class Self, class F>
  static void fields(Self& c, F&& f) {  // flags, files and checks are made from this list
    f(rearm::Field{"embedding_dim", "width of every embedding", rearm::between(1, 1024)}, c.embedding_dim);
    f(rearm::Field{"n_layers", "propagation layers", rearm::between(0, 100)}, c.n_layers);
  }
};

template <rearm::Backend B>
class MyModel {
 public:
  using Config = MyConfig;
  static constexpr const char* name = "my_model";

  MyModel(rearm::Context<B>& ctx, const rearm::Dataset& data, const MyConfig& config)
      : n_users_(data.n_users), n_items_(data.n_items), n_layers_(config.n_layers) {
    graph_ = decltype(graph_)::from_host(
        rearm::SparseOperator<rearm::Real<B>>::symmetric(rearm::cast<rearm::Real<B>>(rearm::interaction_graph(
            rearm::items_by_user(data.train, n_users_), rearm::users_by_item(data.train, n_items_), 0.0))));
    nodes_ = &parameters_.add("nodes", n_users_ + n_items_, config.embedding_dim);
    rearm::init_normal(*nodes_, 0.1, ctx.seed());
  }
  rearm::ParameterStore<B>& parameters() { return parameters_; }
  rearm::Embeddings<B> embeddings(rearm::Tape<B>& tape, const rearm::Step<B>&) {
    const auto e = rearm::propagate_mean(graph_, tape.parameter(*nodes_), n_layers_);  // mean of A^l E over layers
    return {e.rows(0, n_users_), e.rows(n_users_, n_items_)};
  }
  rearm::Loss<B> loss(rearm::Tape<B>& tape, const rearm::Step<B>& step) {
    const auto [users, items] = embeddings(tape, step);
    const auto u = rearm::gather(users, step.batch.users), p = rearm::gather(items, step.batch.positives),
               n = rearm::gather(items, step.batch.negatives);
    return {{"bpr", rearm::bpr(u, p, n, rearm::Real<B>(1) / static_cast<rearm::Real<B>>(step.batch.size()))}};
  }

 private:
  rearm::Index n_users_, n_items_;
  int n_layers_;
  rearm::SparseOperator<rearm::Real<B>, typename B::Memory> graph_;
  rearm::ParameterStore<B> parameters_;
  rearm::Parameter<B>* nodes_ = nullptr;
};

int main() {
  using B = rearm::CpuBackend<float>;
  const rearm::Dataset data = rearm::make_synthetic();
  rearm::Settings<MyConfig> settings = {{.learning_rate = 3e-3, .weight_decay = 0.3, .epochs = 20}, {}};
  rearm::Context<B> ctx({}, settings.train.seed);
  MyModel<B> model(ctx, data, settings.model);
  const rearm::TrainResult result = rearm::train(ctx, model, data, settings);
  std::printf("best epoch %d, test recall@20 %.4f (synthetic data)\n", result.best_epoch, result.test.at("recall@20"));
  return std::fflush(stdout) != 0 || std::ferror(stdout) != 0 ? 1 : 0;
}
