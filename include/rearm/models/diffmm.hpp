#pragma once
/// @file diffmm.hpp
/// DiffMM (Jiang et al., "DiffMM: Multi-modal diffusion model for recommendation", MM'24) with any modalities, as the
/// authors' program computes it. docs/models/diffmm.md.

#include <rearm/data/dataset.hpp>
#include <rearm/functors/sampling.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/options.hpp>
#include <rearm/loss/triplets.hpp>
#include <rearm/models/diffmm/config.hpp>
#include <rearm/models/diffmm/denoiser.hpp>
#include <rearm/nn/propagation.hpp>
#include <rearm/nn/raw_features.hpp>
#include <rearm/ops/top_k.hpp>
#include <rearm/train/recommender.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

template <Backend B>
class DiffMm {
 public:
  using T = Real<B>;
  using Config = DiffMmConfig;
  static constexpr std::string_view name = "diffmm";

  /// Throws ConfigError for settings out of range or that do not fit together, a modality that is not there, or data
  /// without features; DataError for ids out of range, or features that have not a row an item.
  static void check(const Config& config, const Dataset& data) {
    check_limits(config);
    detail::require_consistent(data);
    if (named_modalities(data, config.modalities).empty())
      throw ConfigError(detail::message("modalities: DiffMM needs features, but data set '", data.name, "' has none"));
    if (config.hidden_dims.empty() || std::ranges::min(config.hidden_dims) < 1)
      throw ConfigError("hidden_dims: must be one width or more, each at least 1");
    if (config.noise_min > config.noise_max || config.noise_scale * config.noise_max >= 1)
      throw ConfigError(detail::message("noise_min = ", config.noise_min, ", noise_max = ", config.noise_max,
                                        ", noise_scale = ", config.noise_scale,
                                        ": noise_min must be at most noise_max, and noise_max noise_scale below 1"));
    if (config.rebuild_k > data.n_items)
      throw ConfigError(
          detail::message("rebuild_k = ", config.rebuild_k, ": must be at most the ", data.n_items, " items"));
    if (data.n_items > Index{1} << 24)
      throw DataError(detail::message("DiffMM: ", data.n_items, " items are more than the 2^24 that it can name"));
  }

  DiffMm(Context<B>& ctx, const Dataset& data, const Config& config, const GraphOptions& = {}) try
      : config_((check(config, data), config)),
        schedule_(noise_schedule(config)),
        graph_(self_loop_interaction<B>(data, true)),
        users_(parameters_.add("user_id", data.n_users, config.embedding_dim)),
        items_(parameters_.add("item_id", data.n_items, config.embedding_dim)),
        rows_(ones(items_by_user(data.train, data.n_users), data.n_items)) {
    init_xavier_uniform(users_, ctx.seed());
    init_xavier_uniform(items_, ctx.seed());
    const auto modalities = named_modalities(data, config.modalities);
    for (const Modality* m : modalities) views_.emplace_back(parameters_, *m, data, config, ctx.seed());
    logits_ = &parameters_.add("modality_weights", 1, static_cast<Index>(modalities.size()));
    init_constant(*logits_, 1.0 / static_cast<double>(modalities.size()));
    draw_ = &parameters_.add("generated.draw", 1, 2);
    draw_->trainable = false;
    const auto table = [&](Index width, const auto& entry) {
      Matrix<T, Memory> out(config.n_steps, width);
      fill_on_host(out, [&](Index begin, Out<B> part) {
        for (Index t = 0; t < part.rows; ++t)
          for (Index j = 0; j < width; ++j) part(t, j) = static_cast<T>(entry(begin + t, j));
      });
      return out;
    };
    const auto at = [](const std::vector<double>& values, Index t) { return values[static_cast<std::size_t>(t)]; };
    signal_ = table(1, [&](Index t, Index) { return std::sqrt(at(schedule_.c, t)); });
    spread_ = table(1, [&](Index t, Index) { return std::sqrt(1 - at(schedule_.c, t)); });
    loss_weight_ = table(1, [&](Index t, Index) { return at(schedule_.loss_weight, t); });
    codes_ = table(config.time_dim, [&](Index t, Index j) { return time_code(t, j, config.time_dim); });
  } catch (const std::bad_alloc&) {
    detail::throw_out_of_memory("making DiffMm");
  }
  DiffMm(const DiffMm&) = delete;
  DiffMm& operator=(const DiffMm&) = delete;

  ParameterStore<B>& parameters() { return parameters_; }
  void train_on(const Interactions& pairs) { graph_.train_on(pairs); }
  std::vector<Trained<B>> inner_networks() {
    std::vector<Trained<B>> out;
    for (View& view : views_) out.push_back(view.denoiser.trained());
    return out;
  }

  /// Trains the denoisers with all users once, generates each user's items with them, and makes the modal graphs of
  /// these for the epoch and its evaluation.
  bool begin_epoch(Context<B>& ctx, int epoch) {
    const auto number = static_cast<std::uint32_t>(epoch);
    train_denoisers(ctx, number);
    generate(ctx);
    const RandomKey key{ctx.seed(), stream, number};
    fill_on_host<Memory>(draw_->value(), [&](Index, Out<B> draw) {
      draw(0, 0) = static_cast<T>(epoch + 1);
      draw(0, 1) = static_cast<T>(key.bits(0).word[0] >> 8U);  // 24 bits, which a float holds
    });
    make_graphs();
    return true;
  }
  /// The graphs lie in arrays of the store, the denoisers are those that the epoch began to use.
  void resume_epoch(Context<B>&, int /*epoch*/) { take_up_graphs(); }

  /// The loss of modality m's denoiser for b users (ids in the backend's memory): x_0 their rows of the 0/1 train
  /// matrix, x_t at `times` with `noise` (b x n_items), and `drop` what dropout leaves of the denoiser's input:
  ///     diffusion  mean_u w_t mean_j (y - x_0)_j^2,  y = denoiser(drop(x_t), t)
  ///     content    content_weight mean_u mean (y f_m - x_0 V)^2,  f_m and V constants
  template <class Drop>
  Loss<B> denoiser_loss(Tape<B>& tape, std::size_t m, std::span<const Id> users, const IndexList& times, Var<B> noise,
                        const Drop& drop) {
    const View& view = views_[m];
    const Var<B> start = tape.make(noise.rows(), noise.cols(), false);
    gather(tape.context(), rows_.view(), users, start.value());
    const auto of = [&](const Matrix<T, Memory>& table) { return gather(tape.constant(table.view()), times); };
    const Var<B> noisy = start * of(signal_) + noise * of(spread_);
    const Var<B> time = gather(view.denoiser.times(tape.constant(codes_.view())), times);
    const Var<B> y = view.denoiser(drop(input(noisy)), time);
    const Var<B> wrong = y - start;
    Loss<B> loss{{"diffusion",
                  scale(column_mean(row_dot(wrong, wrong) * of(loss_weight_)), T{1} / static_cast<T>(items_.rows()))}};
    if (config_.content_weight > 0) {
      const auto mixed = [](Var<B> x, Var<B> by) { return gemm(Op::none, Op::none, T{1}, x, by.detach()); };
      const Var<B> apart = mixed(y, view(tape)) - mixed(start, tape.parameter(items_));
      loss.add("content", sum_of_squares(apart, static_cast<T>(config_.content_weight) /
                                                    static_cast<T>(apart.rows() * apart.cols())));
    }
    return loss;
  }
  void denoiser_step(Context<B>& ctx, std::size_t m) { views_[m].denoiser.step(ctx); }

  /// For every user and modality the rebuild_k items with the largest entries in x_{-1}, from x_{T-1} = x_0 by
  ///     x_{t-1} = from_start_t denoiser(x_t, t) + from_noisy_t x_t
  /// Throws NumericError where they are not numbers.
  void generate(Context<B>& ctx) {
    std::vector<Id> all(static_cast<std::size_t>(users_.rows()));
    std::iota(all.begin(), all.end(), Id{0});
    const Buffer<Id, Memory> users(all);
    Matrix<T, Memory> rows(std::min<Index>(config_.denoiser_batch_size, users_.rows()), items_.rows());
    Tape<B> tape(ctx, false);
    for (View& view : views_) {
      Matrix<T> chosen(users_.rows(), config_.rebuild_k);
      for_each_batch([&](Index first, Index n, std::uint32_t) {
        const MatrixView<T> x = rows.view().row_block(0, n);
        gather(ctx, rows_.view(), part(users, first, n), x);
        for (std::size_t t = schedule_.c.size(); t-- > 0;) {
          tape.reset();
          const Var<B> time = view.denoiser.times(tape.constant(codes_.view())).rows(static_cast<Index>(t), 1);
          const Var<B> y = view.denoiser(input(tape.constant(x)), time);
          scaled_copy(ctx, static_cast<T>(schedule_.from_noisy[t]), In<B>(x), x);
          scaled_copy(ctx, static_cast<T>(schedule_.from_start[t]), In<B>(y.value()), add_to(x));
        }
        const MatrixView<Id> ids = ctx.arena().template matrix<Id>(n, config_.rebuild_k);
        row_top_k(ctx, In<B>(x), ids);
        const OnHost<Id, Memory> here{ConstView<Id>(ids)};
        for (Index u = 0; u < n; ++u)
          for (Index r = 0; r < ids.cols; ++r) {
            if (here.view()(u, r) < 0)
              throw NumericError(detail::message("the denoiser of the modality ", view.modality, " gives user ",
                                                 first + u,
                                                 " entries that are not finite; lower "
                                                 "denoiser_learning_rate or look at the features"));
            chosen(first + u, r) = static_cast<T>(here.view()(u, r));
          }
      });
      fill_on_host<Memory>(view.generated.value(),
                           [&](Index begin, Out<B> to) { std::copy_n(chosen.row(begin), to.size(), to.data); });
    }
    tape.reset();
  }

  /// Of modality m's generated pairs: D^-1/2 (A + I) D^-1/2. Throws DataError where a file gave others than items.
  Csr<double> generated_graph(std::size_t m) const {
    const Parameter<B>& generated = views_[m].generated;
    const OnHost<T, Memory> ids(generated.value());
    Interactions pairs;
    for (Index u = 0; u < generated.rows(); ++u)
      for (Index r = 0; r < generated.cols(); ++r) {
        const T item = ids.view()(u, r);
        if (!(item >= T{0} && item < static_cast<T>(items_.rows())))
          throw DataError(detail::message(generated.name, " of user ", u, " is ", item, ", which is no item"));
        pairs.users.push_back(static_cast<Id>(u));
        pairs.items.push_back(static_cast<Id>(item));
      }
    return self_loop_graph(items_by_user(pairs, users_.rows()), users_by_item(pairs, items_.rows()), true);
  }
  /// The modal graphs B_m: those of the generated pairs, of whose entries (row, column) only those stay for which
  /// keep(m, row, column), divided by keep_rate.
  template <class Keep>
  void make_graphs(const Keep& keep) {
    for (std::size_t m = 0; m < views_.size(); ++m) {
      const Csr<double> whole = generated_graph(m);
      std::vector<Index> offsets = {0};
      std::vector<Id> indices;
      std::vector<T> values;
      for (Index i = 0; i < whole.rows; ++i) {
        for (Index e = whole.offsets[i]; e < whole.offsets[i + 1]; ++e)
          if (keep(m, i, Index{whole.indices[e]})) {
            indices.push_back(whole.indices[e]);
            values.push_back(static_cast<T>(whole.values[e] / config_.keep_rate));
          }
        offsets.push_back(static_cast<Index>(indices.size()));
      }
      views_[m].graph = Graph::from_host(SparseOperator<T>::general(
          {whole.rows, whole.cols, Buffer<Index>(offsets), Buffer<Id>(indices), Buffer<T>(values)}));
    }
  }

  Embeddings<B> embeddings(Tape<B>& tape, const Step<B>& step) {
    if (!step.training) take_up_graphs();
    return split(nodes(tape, step, unit_contents(tape)));
  }

  /// bpr  -sum_b log sigma(e_u . e_p - e_u . e_n) / bpr_batch_size
  /// reg  reg_weight (||U||_F^2 + ||V||_F^2)
  /// cl   see `contrast`, of users and of items
  Loss<B> loss(Tape<B>& tape, const Step<B>& step) {
    const TripletIds<B> ids(tape.context(), step.batch, users_.rows(), items_.rows());
    const VarList<B> contents = unit_contents(tape);
    const Var<B> e = nodes(tape, step, contents);
    const auto [users, items] = split(e);
    const Triplets<B> rows = gather(users, items, ids);
    const Index divisor = config_.bpr_batch_size > 0 ? config_.bpr_batch_size : step.batch.size();
    Loss<B> loss{{"bpr", bpr(rows.users, rows.positives, rows.negatives, T{1} / static_cast<T>(divisor))}};
    if (const auto weight = static_cast<T>(config_.reg_weight); weight > 0)
      loss.add("reg",
               add(sum_of_squares(tape.parameter(users_), weight), sum_of_squares(tape.parameter(items_), weight)));
    if (config_.cl_weight > 0) {
      const VarList<B> views = contrast_views(tape, step, contents);
      const Var<B> unit = config_.contrast == DiffMmContrast::embeddings ? row_normalize(e, eps) : Var<B>();
      loss.add("cl_users", contrast(views, unit, 0, users_.rows(), ids.users));
      loss.add("cl_items", contrast(views, unit, users_.rows(), items_.rows(), ids.positives));
    }
    return loss;
  }

 private:
  using Memory = typename B::Memory;
  using Graph = SparseOperator<T, Memory>;
  static constexpr T eps = T(1e-12);
  /// Of random numbers, and those that follow it; from 0x100 on three for each modality.
  static constexpr std::uint32_t stream = 0x444D0000;

  /// What one modality has.
  struct View {
    std::string modality;
    bool activated;
    Matrix<T, Memory> features;
    Parameter<B>& weight;
    Parameter<B>* bias = nullptr;
    Denoiser<B> denoiser;
    Parameter<B>& generated;  ///< each user's items, as numbers
    Graph graph;              ///< of these; empty() before any epoch

    View(ParameterStore<B>& store, const Modality& of, const Dataset& data, const Config& config, std::uint64_t seed)
        : modality(of.name),
          activated(config.projection == DiffMmProjection::activated ||
                    (config.projection == DiffMmProjection::activated_image && of.name == "image")),
          features(raw_features<B>(of)),
          weight(store.add("item_projection." + of.name + ".weight", config.embedding_dim, of.features.cols())),
          denoiser("denoiser." + of.name, data.n_items, config, seed),
          generated(store.add("generated." + of.name, data.n_users, config.rebuild_k)) {
      generated.trainable = false;
      if (activated) {
        init_xavier_uniform(weight, seed);
        return;
      }
      bias = &store.add("item_projection." + of.name + ".bias", 1, config.embedding_dim);
      const double bound = 1.0 / std::sqrt(static_cast<double>(weight.cols()));
      init_uniform(weight, bound, seed);
      init_uniform(*bias, bound, seed);
    }
    /// f_m = leaky_relu_0.2(X W^T), or X W^T + b
    Var<B> operator()(Tape<B>& tape) const {
      const Var<B> x = tape.constant(features.view()), w = tape.parameter(weight);
      return activated ? leaky_relu(linear(x, w), 0.2) : linear(x, w, tape.parameter(*bias));
    }
  };

  static Csr<T, Memory> ones(const Adjacency& items, Index n_items) {
    const std::vector<T> values(items.ids.size(), T{1});
    return {items.rows(), n_items, Buffer<Index, Memory>(items.offsets), Buffer<Id, Memory>(items.ids),
            Buffer<T, Memory>(values)};
  }
  static std::span<const Id> part(const Buffer<Id, Memory>& ids, Index first, Index n) {
    return ids.span().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n));
  }
  /// f(first user, number of users, number of the batch)
  template <class F>
  void for_each_batch(const F& f) const {
    std::uint32_t batch = 0;
    for (Index first = 0; first < users_.rows(); first += config_.denoiser_batch_size)
      f(first, std::min<Index>(config_.denoiser_batch_size, users_.rows() - first), batch++);
  }
  /// What a denoiser reads of x.
  Var<B> input(Var<B> x) const { return config_.normalize_input ? row_normalize(x, eps) : x; }

  void train_denoisers(Context<B>& ctx, std::uint32_t epoch) {
    const auto n = static_cast<std::size_t>(users_.rows());
    const RandomKey shuffle{ctx.seed(), stream + 1, epoch};
    std::vector<std::pair<std::uint64_t, Id>> keys(n);
    for (std::size_t i = 0; i < n; ++i) keys[i] = {functors::shuffle_key(shuffle, i), static_cast<Id>(i)};
    std::sort(keys.begin(), keys.end());
    std::vector<Id> ids(n);
    for (std::size_t i = 0; i < n; ++i) ids[i] = keys[i].second;
    const Buffer<Id, Memory> users(ids);
    std::vector<Buffer<Id, Memory>> times;
    for (std::size_t m = 0; m < views_.size(); ++m) {
      const RandomKey key{ctx.seed(), of_modality(m), epoch};
      for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<Id>(key.below(i, std::uint32_t(config_.n_steps)));
      times.emplace_back(ids);
    }
    const auto n_batches = static_cast<std::uint32_t>((users_.rows() - 1) / config_.denoiser_batch_size + 1);
    Tape<B> tape(ctx);
    for_each_batch([&](Index first, Index size, std::uint32_t batch) {
      for (std::size_t m = 0; m < views_.size(); ++m) {
        tape.reset();
        const RandomKey key{ctx.seed(), of_modality(m) + 1, epoch * n_batches + batch};
        const Var<B> noise = tape.make(size, items_.rows(), false);
        fill_normal(ctx, key, noise.value());
        const IndexList at = make_index_list(ctx, part(times[m], first, size), codes_.rows());
        const Loss<B> loss = denoiser_loss(tape, m, part(users, first, size), at, noise, [&](Var<B> x) {
          return dropout(x, config_.dropout, key.for_stream(of_modality(m) + 2));
        });
        tape.backward(loss.total(), AfterBackward::release);
        denoiser_step(ctx, m);
      }
    });
    tape.reset();
  }
  static std::uint32_t of_modality(std::size_t m) { return stream + 0x100 + 3 * static_cast<std::uint32_t>(m); }

  using Draw = std::array<T, 2>;
  Draw draw() const {
    const OnHost<T, Memory> here(std::as_const(*draw_).value());
    return {here.view()(0, 0), here.view()(0, 1)};
  }
  /// The graphs that the arrays of the store say, `generated.draw` which entries stay.
  void make_graphs() {
    const Draw now = draw();
    const RandomKey key{static_cast<std::uint64_t>(now[1]), stream, static_cast<std::uint32_t>(now[0])};
    const auto n = static_cast<std::uint64_t>(graph_(false).rows());
    make_graphs([&](std::size_t m, Index row, Index column) {
      const std::uint64_t place = static_cast<std::uint64_t>(row) * n + static_cast<std::uint64_t>(column);
      return key.for_stream(of_modality(m)).uniform(place) < config_.keep_rate;
    });
    made_ = now;
  }
  /// The same where the store was given the arrays of another epoch or run since they were made; waits for the device.
  void take_up_graphs() {
    const Draw now = draw();
    if (now == made_) return;
    if (now[0] > 0) return make_graphs();
    made_ = now;
    for (View& view : views_) view.graph = {};
  }

  /// B_m x; x without a graph, as with one of loops alone.
  Var<B> through(const View& view, Var<B> x) const { return propagate(view.graph, x, 1); }

  VarList<B> unit_contents(Tape<B>& tape) const {
    VarList<B> out = tape.list();
    for (const View& view : views_) out.push_back(row_normalize(view(tape), eps));
    return out;
  }
  /// F_m = f_m with rows of length 1,  X = [U; V],  w = softmax(modality_weights)
  /// a_m = A [U; F_m],  E_m = a_m + A [users of a_m; V] + modal_graph_weight B_m X,  E_0 = sum_m w_m E_m
  /// E = E_0 + A E_0 + ... + A^L E_0 + residual_weight E_0 / |rows of E_0|
  Var<B> nodes(Tape<B>& tape, const Step<B>& step, const VarList<B>& contents) const {
    const Graph& graph = graph_(step.training);
    const Var<B> users = tape.parameter(users_), items = tape.parameter(items_);
    const Var<B> own = concat_rows<B>({users, items});
    const Var<B> weights = softmax(tape.parameter(*logits_), {logits_->cols(), 1});
    Var<B> start;
    for (std::size_t m = 0; m < views_.size(); ++m) {
      const Var<B> a = spmm(graph, concat_rows<B>({users, contents[m]}));
      const Var<B> b = spmm(graph, concat_rows<B>({a.rows(0, users.rows()), items}));
      const Var<B> both = add(a + b, through(views_[m], own), static_cast<T>(config_.modal_graph_weight));
      const Var<B> share = both * weights.cols(static_cast<Index>(m), 1);
      start = start.empty() ? share : start + share;
    }
    const Var<B> sum = scale(propagate_mean(graph, start, config_.n_layers), static_cast<T>(config_.n_layers + 1));
    return add(sum, row_normalize(start, eps), static_cast<T>(config_.residual_weight));
  }
  Embeddings<B> split(Var<B> e) const { return {e.rows(0, users_.rows()), e.rows(users_.rows(), items_.rows())}; }
  /// N_m = sum of A^l B_m [U; F_m], l = 0...L, with rows of length 1 (so that their mean serves as well).
  VarList<B> contrast_views(Tape<B>& tape, const Step<B>& step, const VarList<B>& contents) const {
    VarList<B> out = tape.list();
    for (std::size_t m = 0; m < views_.size(); ++m) {
      const Var<B> x = through(views_[m], concat_rows<B>({tape.parameter(users_), contents[m]}));
      out.push_back(row_normalize(propagate_mean(graph_(step.training), x, config_.n_layers), eps));
    }
    return out;
  }
  /// cl_weight sum of C(N_m, N_n) over pairs m < n, or of C(E, N_m) over m where E is given:
  /// C(x, y) = mean over the batch of -log(exp(x_b . y_b / temperature) / sum over all rows j of exp(x_b . y_j / ...))
  /// of the nodes [begin, begin + n).
  Var<B> contrast(const VarList<B>& views, Var<B> e, Index begin, Index n, const IndexList& ids) const {
    const auto scale = info_nce_scale(static_cast<T>(config_.cl_temperature), static_cast<T>(config_.cl_weight), true);
    Var<B> sum;
    const auto add_pair = [&](Var<B> x, Var<B> y) {
      const Var<B> pair = info_nce(gather(x.rows(begin, n), ids), y.rows(begin, n), ids, scale);
      sum = sum.empty() ? pair : sum + pair;
    };
    for (std::size_t y = 0; y < views.size(); ++y) {
      if (!e.empty()) add_pair(e, views[y]);
      for (std::size_t x = 0; x < y && e.empty(); ++x) add_pair(views[x], views[y]);
    }
    return sum;
  }

  Config config_;
  NoiseSchedule schedule_;
  InteractionGraph<B> graph_;
  ParameterStore<B> parameters_;
  Parameter<B>& users_;
  Parameter<B>& items_;
  Csr<T, Memory> rows_;  ///< the 0/1 train matrix, users x items
  std::deque<View> views_;
  Parameter<B>* logits_ = nullptr;
  Parameter<B>* draw_ =
      nullptr;      ///< the number of the epoch, from 1, that generated, and what drew its entries; else 0
  Draw made_ = {};  ///< that of the graphs there are
  Matrix<T, Memory> signal_, spread_, loss_weight_, codes_;  ///< a row each step of the diffusion
};

}  // namespace rearm::REARM_ABI
