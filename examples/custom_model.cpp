// A model of one's own, to copy: settings, two operators of its own, graphs, features, equations, a check of the
// gradients, and the program that trains it. docs/a_model_of_your_own.md goes through it part by part.
#include <rearm/rearm.hpp>

#include <own_models.hpp>  // of the target rearm::program, for run_with alone

#include <algorithm>
#include <cstdio>
#include <vector>

using namespace rearm;  // in a header write rearm:: instead

struct MyConfig {
  int embedding_dim = 32, n_layers = 2, knn_k = 10;
  double radius = 1, reg_weight = 1e-2;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {  // flags, files and limits are made from this list
    f(Field{"embedding_dim", "width of every embedding", between(1, 1024)}, c.embedding_dim);
    f(Field{"n_layers", "propagation layers", between(0, 100)}, c.n_layers);
    f(Field{"knn_k", "neighbors of an item, itself among them", at_least(1)}, c.knn_k);
    f(Field{"radius", "longest that an item's own vector may be", above(0)}, c.radius);
    f(Field{"reg_weight", "weight of the batch's mean squared norm", at_least(0)}, c.reg_weight);
  }
  static TrainConfig train_defaults() {  // optional: what differs from the library's
    return {.negatives = Negatives::exclude_train, .batch_size = 1024, .learning_rate = 5e-3, .epochs = 20};
  }
};

/// y = x sigmoid(x), element by element.
struct Swish {
  template <class T>
  REARM_HD static T value(T x) {
    return x * functors::Sigmoid::value(x);
  }
  template <class T>
  REARM_HD static T slope(T x, T y) {  // dy/dx at x, where the value is y
    const T s = functors::Sigmoid::value(x);
    return s + y * (T{1} - s);
  }
};

/// y_i = x_i min(1, radius / |x_i|), row by row.
template <class T>
struct ClipRow {
  T radius;
  ConstView<T> x;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T length = functors::row_length(x.row(i), x.cols, lane);
    const T factor = length > radius ? radius / length : T{1};
    for (Index j = lane.first(); j < x.cols; j += L::step) y(i, j) = factor * x(i, j);
  }
};

/// d_x (+)= d_y where |x| <= radius, else radius / |x| (d_y - x (x . d_y) / |x|^2).
template <class T>
struct ClipBackwardRow {
  T radius;
  ConstView<T> x, d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T length = functors::row_length(x.row(i), x.cols, lane);
    T dot{0};
    for (Index j = lane.first(); j < x.cols; j += L::step) dot += x(i, j) * d_y(i, j);
    dot = lane.sum(dot);
    const bool clipped = length > radius;
    const T factor = clipped ? radius / length : T{1};
    const T along = clipped ? dot / (length * length) : T{0};
    for (Index j = lane.first(); j < x.cols; j += L::step)
      functors::store(d_x.view(i, j), factor * (d_y(i, j) - along * x(i, j)), d_x.write);
  }
};

template <Backend B>
Var<B> clip_rows(Var<B> x, Real<B> radius) {
  using T = Real<B>;
  return apply(
      {x}, x.rows(), x.cols(),
      [&](Context<B>& ctx, Out<B> y) {
        B::for_each(ctx, x.rows(), ClipRow<T>{radius, x.value(), y});
      },
      [=](Context<B>& ctx, Var<B> y, Into<T> d_x) {
        B::for_each(ctx, x.rows(), ClipBackwardRow<T>{radius, x.value(), y.grad(), d_x});
      });
}

template <Backend B>
class MyModel {
 public:
  using T = Real<B>;
  using Config = MyConfig;
  static constexpr const char* name = "my_model";

  static void check(const Config& config, const Dataset& data) {  // optional: before anything is built or overwritten
    check_limits(config);
    if (data.modalities.empty()) throw ConfigError("my_model needs item features, and " + data.name + " has none");
  }
  MyModel(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& options = {})
      : config_((check(config, data), config)),
        graph_(data, 0.0),
        similar_(Graph::from_host(
            SparseOperator<T>::general(knn_graph(ctx, data.modalities.front(), config.knn_k, options)))),
        users_(parameters_.add("users", data.n_users, config.embedding_dim)),
        items_(parameters_.add("items", data.n_items, config.embedding_dim)) {
    init_xavier_uniform(users_, ctx.seed());
    init_xavier_uniform(items_, ctx.seed());
    for (const Modality& m : data.modalities) {
      features_.push_back(raw_features<B>(m));
      projections_.emplace_back(parameters_, "projection." + m.name, m.features.cols(), config.embedding_dim,
                                ctx.seed());
    }
  }
  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }  // optional: for edge_keep

  /// c = sum_m swish(X_m W_m^T + b_m),  e = mean over l <= L of A^l [U; clip(V + c)];  users e_u,  items e_i + (S e)_i
  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    Var<B> items = tape.parameter(items_);
    for (std::size_t m = 0; m < features_.size(); ++m)
      items = items + map<Swish>(projections_[m](tape.constant(features_[m].view())));
    items = clip_rows(items, static_cast<T>(config_.radius));
    const Var<B> nodes = concat_rows<B>({tape.parameter(users_), items});
    const Var<B> e = propagate_mean(graph_(step.training), nodes, config_.n_layers);
    const Var<B> own = e.rows(users_.rows(), items_.rows());
    return {e.rows(0, users_.rows()), own + spmm(similar_, own)};
  }
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const TripletIds<B> ids(tape.context(), step.batch, users_.rows(), items_.rows());
    const auto [users, items] = embeddings(tape, step);
    const Triplets<B> rows = gather(users, items, ids);
    return {{"bpr", bpr_mean(rows)}, {"reg", square_penalty(rows, config_.reg_weight)}};
  }

 private:
  using Graph = SparseOperator<T, typename B::Memory>;
  Config config_;
  InteractionGraph<B> graph_;
  Graph similar_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
  std::vector<Matrix<T, typename B::Memory>> features_;
  std::vector<Linear<B>> projections_;
};

/// The largest difference between an array's gradient and central differences, in double, on a small data set.
double gradient_error() {
  using B = CpuBackend<double>;
  SyntheticSettings small;
  small.n_users = 30;
  small.n_items = 40;
  small.widths = {6, 4};
  const Dataset data = make_synthetic(small);
  Context<B> ctx;
  MyConfig config;
  config.embedding_dim = 4;
  MyModel<B> model(ctx, data, config);
  double largest = 0;
  const Batch batch = {{0, 1, 2, 2}, {3, 4, 5, 6}, {7, 8, 9, 3}};  // users, positives, negatives
  for (const GradientError& array : gradient_errors(ctx, model, batch)) largest = std::max(largest, array.error);
  return largest;
}

int main(int argc, char** argv) try {
  if (argc > 1) return cli::run_with<MyModel>(argc, argv);  // train, sweep, evaluate, ...: `rearm` with one model more
  const double error = gradient_error();
  std::printf("gradients differ from central differences by at most %.1e of their length\n", error);
  if (!(error < 1e-6)) return 1;

  using B = CpuBackend<float>;
  const Dataset data = make_synthetic();  // or load_dataset("path/to/folder")
  const Settings<MyConfig> settings;
  Context<B> ctx({}, settings.train.seed);
  MyModel<B> model(ctx, data, settings.model);
  TrainOptions options;
  options.on_epoch = [](const EpochReport& r) {
    std::printf("epoch %2d  loss %.4f  valid recall@20 %.4f\n", r.epoch, r.losses.total, r.valid.at("recall@20"));
  };
  // {.directory = "out/my_model"} in place of {} would keep the model there.
  const TrainResult result = train(ctx, model, data, settings, {}, options);
  std::printf("best epoch %d, test recall@20 %.4f (synthetic data)\n", result.best_epoch, result.test.at("recall@20"));
  return std::fflush(stdout) != 0 || std::ferror(stdout) != 0 ? 1 : 0;
} catch (const Error& e) {
  std::fprintf(stderr, "custom_model: %s\n", e.what());
  return 2;
}
