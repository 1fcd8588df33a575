/// @file baselines_test.cpp
/// Models beside the numbers that their authors' programs computed: graphs, embeddings, scores, the losses of three
/// steps and their parts, the first step's gradients, and the parameters after three steps of Adam. One row a model in
/// the table below. $REARM_MODELS_DIR (else shared/models) holds `data` and a folder a model; every folder that the
/// table knows is read, whatever its sizes.

#include "tests/support/backend.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/matrices.hpp"
#include "tests/support/shared.hpp"

#if !defined(REARM_TEST_CUDA)
#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/knn.hpp>
#endif
#include <rearm/data/edge_sampling.hpp>
#include <rearm/data/npy.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/graph/user_mean.hpp>
#include <rearm/models/all.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/run/settings.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace parity_baselines_test {

namespace {

using namespace rearm;
using namespace rearm::test;
namespace fs = std::filesystem;

// One folder: `<name>.npy` by name, and what manifest.json says.
struct Oracle {
  fs::path dir;
  nlohmann::json manifest;

  explicit Oracle(fs::path folder) : dir(std::move(folder)) {
    std::ifstream in(dir / "manifest.json");
    manifest = nlohmann::json::parse(in);
  }
  bool has(const std::string& array) const { return fs::exists(dir / (array + ".npy")); }
  NpyArray<double> operator()(const std::string& array) const { return read_npy<double>(dir / (array + ".npy")); }
};

// What a row's own arrays are called, and where its graphs come from. Names that a map lacks are the same on both
// sides; settings that the model lacks are left out.
struct Names {
  // theirs -> ours; a leading "T " says that theirs is the transpose, no name that we have no such array: no result
  // depends on it
  std::map<std::string, std::string> parameters;
  std::map<std::string, std::string> settings;  // theirs -> ours
  // loss_part.<theirs> -> ours, or "weight setting * part" as ours and "part + part" as theirs
  std::map<std::string, std::string> parts;
  std::map<std::string, Matrix<double> (*)(const Dataset&, const Oracle&)> graphs;
  // Theirs whose gradient is what is left of larger terms, and how far float may be off, as a share of the largest
  // entry.
  std::map<std::string, double> cancelled = {};
  std::map<std::string, nlohmann::json> given = {};  // ours that the folder stands for
  std::string after = "after";                       // the arrays after three steps
  bool logistic_scores = false;                      // theirs are sigmoids of ours
  std::map<std::string, std::string> frozen = {};    // frozen.<theirs> -> ours: random, and never trained
};

template <class T>
struct Tolerances;
template <>
struct Tolerances<double> {
  static constexpr double graphs = 1e-9, embeddings = 1e-9, losses = 1e-9, gradients = 1e-9, after = 1e-8;
};
// Five times what the independent re-implementation in float32 was off by.
template <>
struct Tolerances<float> {
  static constexpr double graphs = 5e-7, embeddings = 5e-6, losses = 2e-6, gradients = 2.5e-5, after = 3e-5;
};

Dataset read_data(const fs::path& dir, const Oracle& oracle) {
  Dataset data;
  data.name = "oracle";
  data.n_users = oracle("eval.user_emb").shape[0];
  data.n_items = oracle("eval.item_emb").shape[0];
  const auto split = [&](const char* name) {
    const NpyArray<Id> pairs = read_npy<Id>(dir / (std::string(name) + ".npy"));
    const auto n = static_cast<std::ptrdiff_t>(pairs.shape[1]);
    return Interactions{{pairs.values.begin(), pairs.values.begin() + n},
                        {pairs.values.begin() + n, pairs.values.end()}};
  };
  data.train = split("train");
  data.valid = split("valid");
  data.test = split("test");
  for (const char* name : {"image", "text"})
    if (const fs::path file = dir / (std::string(name) + "_feat.npy"); fs::exists(file))
      data.modalities.push_back({name, "made up", FeatureMatrix::open(file), std::nullopt});
  return data;
}

double largest(const std::vector<double>& values) {
  double out = 0;
  for (const double x : values) out = std::max(out, std::abs(x));
  return out;
}

// As a matrix of ours; theirs may be its transpose, or a vector.
Matrix<double> shaped(const NpyArray<double>& a, Index rows, Index cols, bool transposed) {
  REQUIRE(static_cast<Index>(a.values.size()) == rows * cols);
  if (a.shape.size() == 2) REQUIRE(a.shape[0] == (transposed ? cols : rows));
  return tabulate(rows, cols, [&](Index i, Index j) {
    return a.values[static_cast<std::size_t>(transposed ? j * rows + i : i * cols + j)];
  });
}

template <class T>
double max_difference(const Matrix<T>& ours, const Matrix<double>& theirs) {
  REQUIRE(ours.rows() == theirs.rows());
  REQUIRE(ours.cols() == theirs.cols());
  double worst = 0;
  for (Index i = 0; i < theirs.size(); ++i) {
    const double difference = std::abs(static_cast<double>(ours.data()[i]) - theirs.data()[i]);
    worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
  }
  return worst;
}

template <class T>
Matrix<T> cast_to(const Matrix<double>& a) {
  Matrix<T> out(a.rows(), a.cols());
  std::transform(a.data(), a.data() + a.size(), out.data(), [](double x) { return static_cast<T>(x); });
  return out;
}

double relative_error(double ours, double theirs) {
  return ours == theirs ? 0 : std::abs(ours - theirs) / std::abs(theirs);
}

// Batch `step` of an array of (steps x 2 or 3 x size); without negatives the positives stand in for them.
BatchThere read_batch(const NpyArray<Id>& batches, Index step) {
  const Index kinds = batches.shape[1], size = batches.shape[2];
  const auto row = [&](Index r) {
    const auto begin = batches.values.begin() + static_cast<std::ptrdiff_t>((step * kinds + r) * size);
    return std::vector<Id>(begin, begin + static_cast<std::ptrdiff_t>(size));
  };
  return BatchThere({row(0), row(1), row(kinds == 3 ? 2 : 1)});
}

// A model's loss of a step with what its authors' program drew: an overload for each model that draws. `kept` keeps
// what the backward pass reads.
template <class M, Backend B>
Loss<B> loss_with_their_draws(M& model, Tape<B>& tape, const Step<B>& step, const Dataset&, const Oracle&,
                              std::vector<TestMatrix<Real<B>>>&) {
  return model.loss(tape, step);
}
template <Backend B>
Loss<B> loss_with_their_draws(Bm3<B>& model, Tape<B>& tape, const Step<B>& step, const Dataset&, const Oracle& oracle,
                              std::vector<TestMatrix<Real<B>>>& masks) {
  const auto own = model.online(tape, step);
  const IndexList users = make_index_list(tape.context(), step.batch.users, own.users.rows());
  const IndexList items = make_index_list(tape.context(), step.batch.positives, own.items.rows());
  const auto dropped = [&](Var<B> x, const IndexList& rows, const char* of) {
    const std::string array = "rand.step" + std::to_string(step.number + 1) + "." + of;
    masks.push_back(upload(cast_to<Real<B>>(shaped(oracle(array), x.rows(), x.cols(), false))));
    return gather(mul(x.detach(), tape.constant(std::as_const(masks.back()).view())), rows);
  };
  typename Bm3<B>::Rows target{dropped(own.users, users, "user"), dropped(own.items, items, "item"), tape.list()};
  target.contents.push_back(dropped(own.contents[0], items, "image"));
  target.contents.push_back(dropped(own.contents[1], items, "text"));
  return model.loss(own, target, users, items);
}
// The pairs that an epoch of FREEDOM kept.
Interactions kept_pairs(const Dataset& data, const Oracle& oracle) {
  Interactions kept;
  for (const Id e : read_npy<Id>(oracle.dir / "rand.kept_edge_index.npy").values) {
    kept.users.push_back(data.train.users[static_cast<std::size_t>(e)]);
    kept.items.push_back(data.train.items[static_cast<std::size_t>(e)]);
  }
  return kept;
}
template <Backend B>
Loss<B> loss_with_their_draws(Freedom<B>& model, Tape<B>& tape, const Step<B>& step, const Dataset& data,
                              const Oracle& oracle, std::vector<TestMatrix<Real<B>>>&) {
  if (step.number == 0) model.train_on(kept_pairs(data, oracle));
  return model.loss(tape, step);
}

std::string ours(const std::map<std::string, std::string>& of, const std::string& theirs) {
  const auto found = of.find(theirs);
  return found != of.end() ? found->second : theirs;
}
template <template <class> class M>
Settings<ModelConfig<M>> settings_of(const Oracle& oracle, const Names& names) {
  Settings<ModelConfig<M>> settings;
  for (const auto& [theirs, value] : oracle.manifest.at("settings").items()) {
    const std::string name = ours(names.settings, theirs == "embedding_size" ? "embedding_dim" : theirs);
    if (!setting_path(settings, "model." + name).empty()) update_settings(settings, {{"model", {{name, value}}}});
  }
  for (const auto& [name, value] : names.given) update_settings(settings, {{"model", {{name, value}}}});
  return settings;
}

// What LGMRec drew in a phase, of users and items together as ours is. Dropout's is 0 or 1 / keep_rate.
template <Backend B>
struct LgmRecDraws {
  const Oracle* oracle;
  std::string phase;
  std::vector<TestMatrix<Real<B>>>* arrays;

  Var<B> noisy(Var<B> logits, std::uint32_t m) const { return add(logits, drawn(logits, "gumbel", m)); }
  Var<B> dropped(Var<B> shares, std::uint32_t m) const {
    return phase == "eval" ? shares : mul(shares, drawn(shares, "drop", m));
  }

 private:
  Var<B> drawn(Var<B> like, const std::string& kind, std::uint32_t m) const {
    const std::string modality = m == 0 ? "image" : "text";
    const auto of = [&](const char* side) {
      return (*oracle)("rand." + phase + "." + kind + "_" + side + "_" + modality).values;
    };
    std::vector<double> both = of("user");
    const std::vector<double> items = of("item");
    both.insert(both.end(), items.begin(), items.end());
    REQUIRE(static_cast<Index>(both.size()) == like.rows() * like.cols());
    arrays->push_back(upload(cast_to<Real<B>>(tabulate(like.rows(), like.cols(), [&](Index i, Index j) {
      return both[static_cast<std::size_t>(i * like.cols() + j)];
    }))));
    return like.tape().constant(std::as_const(arrays->back()).view());
  }
};
template <Backend B>
Loss<B> loss_with_their_draws(LgmRec<B>& model, Tape<B>& tape, const Step<B>& step, const Dataset&,
                              const Oracle& oracle, std::vector<TestMatrix<Real<B>>>& kept) {
  return model.loss(tape, step, LgmRecDraws<B>{&oracle, "step" + std::to_string(step.number + 1), &kept});
}

// DualGNN and DRAGON: the neighbors of users that an epoch drew.
Csr<double> user_graph(const Oracle& oracle) {
  const NpyArray<double> a = oracle("graph.user_user");
  std::vector<Index> offsets = {0};
  std::vector<Id> ids;
  std::vector<double> values;
  for (Index i = 0; i < a.shape[0]; ++i) {
    for (Index j = 0; j < a.shape[1]; ++j)
      if (const double x = a.values[static_cast<std::size_t>(i * a.shape[1] + j)]; x != 0) {
        ids.push_back(static_cast<Id>(j));
        values.push_back(x);
      }
    offsets.push_back(static_cast<Index>(ids.size()));
  }
  return {a.shape[0], a.shape[1], Buffer<Index>(offsets), Buffer<Id>(ids), Buffer<double>(values)};
}
template <template <class> class M, Backend B>
Embeddings<B> with_user_graph(M<B>& model, Tape<B>& tape, const Oracle& oracle) {
  model.user_graph().set(user_graph(oracle));
  return model.embeddings(tape, {});
}

// A model's embeddings at evaluation, likewise.
template <class M, Backend B>
Embeddings<B> embeddings_with_their_draws(M& model, Tape<B>& tape, const Dataset&, const Oracle&,
                                          std::vector<TestMatrix<Real<B>>>&) {
  return model.embeddings(tape, {});
}
template <Backend B>
Embeddings<B> embeddings_with_their_draws(LgmRec<B>& model, Tape<B>& tape, const Dataset&, const Oracle& oracle,
                                          std::vector<TestMatrix<Real<B>>>& kept) {
  return model.embeddings(tape, {}, LgmRecDraws<B>{&oracle, "eval", &kept});
}

template <Backend B>
Embeddings<B> embeddings_with_their_draws(DualGnn<B>& model, Tape<B>& tape, const Dataset&, const Oracle& oracle,
                                          std::vector<TestMatrix<Real<B>>>&) {
  return with_user_graph(model, tape, oracle);
}
template <Backend B>
Embeddings<B> embeddings_with_their_draws(Dragon<B>& model, Tape<B>& tape, const Dataset&, const Oracle& oracle,
                                          std::vector<TestMatrix<Real<B>>>&) {
  return with_user_graph(model, tape, oracle);
}

// What a program drew in a phase ("step1", "eval"), in the arena.
template <Backend B>
struct Recorded {
  using T = Real<B>;
  Context<B>& ctx;
  const Oracle& oracle;
  std::string phase;

  template <class X>
  X* there(const std::vector<X>& here) const {
    X* const out = ctx.arena().template allocate<X>(static_cast<Index>(here.size()));
    B::Memory::copy_from_host(out, here.data(), here.size() * sizeof(X));
    return out;
  }
  std::string array(const std::string& of) const { return "rand." + phase + "." + of; }
  Var<B> dropped(Var<B> x, const std::string& of) const {
    const std::vector<double> mask = oracle(array(of)).values;
    REQUIRE(static_cast<Index>(mask.size()) == x.rows() * x.cols());
    const T* const factors = there(std::vector<T>(mask.begin(), mask.end()));
    return mul(x, x.tape().constant(ConstView<T>{factors, x.rows(), x.cols(), x.cols()}));
  }
  // Theirs has one factor an edge, in the order of graph.edge_src and edge_dst.
  Edges<T> edges(const SparseOperator<T, typename B::Memory>& graph, const std::string& of) const {
    const NpyArray<Id> from = read_npy<Id>(oracle.dir / "graph.edge_src.npy");
    const NpyArray<Id> to = read_npy<Id>(oracle.dir / "graph.edge_dst.npy");
    const NpyArray<double> mask = oracle(array(of));
    std::map<std::pair<Id, Id>, double> kept;
    for (std::size_t e = 0; e < mask.values.size(); ++e) kept[{to.values[e], from.values[e]}] = mask.values[e];
    REQUIRE(static_cast<Index>(kept.size()) == graph.nonzeros());
    const auto offsets = to_host(graph.view().offsets, graph.rows() + 1);
    const auto columns = to_host(graph.view().indices, graph.nonzeros());
    const auto values = to_host(graph.view().values, graph.nonzeros());
    std::vector<T> forward, backward;  // of a symmetric matrix
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
      for (auto e = static_cast<std::size_t>(offsets[i]); e < static_cast<std::size_t>(offsets[i + 1]); ++e) {
        forward.push_back(static_cast<T>(kept.at({static_cast<Id>(i), columns[e]}) * static_cast<double>(values[e])));
        backward.push_back(static_cast<T>(kept.at({columns[e], static_cast<Id>(i)}) * static_cast<double>(values[e])));
      }
    Edges<T> out = all_edges(graph);
    out.forward.values = there(forward);
    out.backward.values = there(backward);
    return out;
  }
  // Row i: first_i, then theirs, shifted.
  IndexList beside(const std::vector<Id>& first, const std::string& of, Id shift, Index table_rows) const {
    const NpyArray<Id> drawn = read_npy<Id>(oracle.dir / (array(of) + ".npy"));
    REQUIRE(drawn.shape[0] == static_cast<Index>(first.size()));
    const auto n = static_cast<std::size_t>(drawn.shape[1]);
    std::vector<Id> ids;
    for (std::size_t i = 0; i < first.size(); ++i) {
      ids.push_back(first[i]);
      for (std::size_t j = 0; j < n; ++j) ids.push_back(drawn.values[i * n + j] + shift);
    }
    return make_index_list(ctx, std::span<const Id>(there(ids), ids.size()), table_rows);
  }
};
template <Backend B>
struct MgdnDraws {
  Recorded<B> of;
  Index n_items;
  Var<B> inputs(Var<B> x) const { return of.dropped(x, "drop_x"); }
  Edges<Real<B>> edges(const typename Mgdn<B>::Graph& graph) const { return of.edges(graph, "drop_edge"); }
  Var<B> outputs(Var<B> h) const { return of.dropped(h, "drop_z"); }
  IndexList candidates(std::span<const Id> positives) const {
    return of.beside(to_host(positives.data(), static_cast<Index>(positives.size())), "negatives", 0, n_items);
  }
};
template <Backend B>
Loss<B> loss_with_their_draws(Mgdn<B>& model, Tape<B>& tape, const Step<B>& step, const Dataset& data,
                              const Oracle& oracle, std::vector<TestMatrix<Real<B>>>&) {
  const std::string phase = "step" + std::to_string(step.number + 1);
  return model.loss(tape, step, MgdnDraws<B>{{tape.context(), oracle, phase}, data.n_items});
}
template <Backend B>
struct MigGtDraws {
  using Part = typename MigGt<B>::Part;
  Recorded<B> of;
  Index n_users, n_items;
  bool training;
  Var<B> dropped(Var<B> x, Part part, std::size_t m) const {
    const std::string modality = m == 0 ? "image" : "text";
    return !training ? x
                     : of.dropped(x, part == Part::features ? "drop_feat_" + modality
                                     : part == Part::hidden ? "drop_hidden_" + modality
                                     : part == Part::users  ? "drop_user"
                                     : part == Part::items  ? "drop_item_" + modality
                                                            : "drop_z");
  }
  Edges<Real<B>> edges(const typename MigGt<B>::Graph& graph, std::size_t m) const {
    static const std::string of_branch[] = {"drop_edge_image", "drop_edge_text", "drop_edge_id"};
    return training ? of.edges(graph, of_branch[m]) : all_edges(graph);
  }
  IndexList attended() const {
    std::vector<Id> nodes(static_cast<std::size_t>(n_users + n_items));
    std::iota(nodes.begin(), nodes.end(), Id{0});
    return of.beside(nodes, "memory_index", static_cast<Id>(n_users), n_users + n_items);
  }
  IndexList candidates(std::span<const Id> positives) const {
    return of.beside(to_host(positives.data(), static_cast<Index>(positives.size())), "negatives", 0, n_items);
  }
};
template <Backend B>
void take_their_projection(MigGt<B>& model, Context<B>& ctx, const Dataset& data, const Oracle& oracle) {
  const NpyArray<double> theirs = oracle("rand.projection");
  const TestMatrix<Real<B>> g = upload(cast_to<Real<B>>(shaped(theirs, theirs.shape[0], theirs.shape[1], false)));
  model.project_features(ctx, data, 0, g.view());
}
template <Backend B>
Embeddings<B> embeddings_with_their_draws(MigGt<B>& model, Tape<B>& tape, const Dataset& data, const Oracle& oracle,
                                          std::vector<TestMatrix<Real<B>>>&) {
  take_their_projection(model, tape.context(), data, oracle);
  return model.embeddings(tape, MigGtDraws<B>{{tape.context(), oracle, "eval"}, data.n_users, data.n_items, false});
}
template <Backend B>
Loss<B> loss_with_their_draws(MigGt<B>& model, Tape<B>& tape, const Step<B>& step, const Dataset& data,
                              const Oracle& oracle, std::vector<TestMatrix<Real<B>>>&) {
  const std::string phase = "step" + std::to_string(step.number + 1);
  return model.loss(tape, step, MigGtDraws<B>{{tape.context(), oracle, phase}, data.n_users, data.n_items, true});
}

// What a model does before an epoch's first step, with what their program drew; `check_gradients` compares those that a
// backward pass left in a store. An overload for each model that trains or builds something then.
template <class M, Backend B, class F>
void begin_epoch_with_their_draws(M&, Context<B>&, const Oracle&, const F& /*check_gradients*/) {}
template <Backend B, class F>
void begin_epoch_with_their_draws(DiffMm<B>& model, Context<B>& ctx, const Oracle& oracle, const F& check_gradients) {
  using T = Real<B>;
  const NpyArray<Id> users = read_npy<Id>(oracle.dir / "diff_users.npy");
  const Index n_users = users.shape[1];
  const double content_weight = oracle.manifest.at("settings").at("e_loss");
  const std::vector<std::string> modalities = {"image", "text"};
  const auto upload_ids = [](const NpyArray<Id>& ids, Index first, Index n) {
    const auto begin = ids.values.begin() + static_cast<std::ptrdiff_t>(first);
    return upload(std::vector<Id>(begin, begin + static_cast<std::ptrdiff_t>(n)));
  };
  Tape<B> tape(ctx);
  for (Index step = 0; step < users.shape[0]; ++step)
    for (std::size_t m = 0; m < modalities.size(); ++m) {
      CAPTURE(step);
      CAPTURE(modalities[m]);
      const auto draws = [&](const std::string& of) {
        return "rand.diff" + std::to_string(step + 1) + "." + of + "_" + modalities[m];
      };
      const auto matrix = [&](const std::string& of) {
        const NpyArray<double> a = oracle(draws(of));
        return upload(cast_to<T>(shaped(a, a.shape[0], a.shape[1], false)));
      };
      tape.reset();
      const auto ids = upload_ids(users, step * n_users, n_users);
      const auto times = upload_ids(read_npy<Id>(oracle.dir / (draws("t") + ".npy")), 0, n_users);
      const TestMatrix<T> noise = matrix("noise"), mask = matrix("drop");
      const Loss<B> loss = model.denoiser_loss(
          tape, m, ids.span(), make_index_list(ctx, times.span(), Index{oracle.manifest.at("settings").at("steps")}),
          tape.constant(noise.view()), [&](Var<B> x) { return mul(x, tape.constant(mask.view())); });
      const auto check = [&](const char* part, const std::string& of, double weight) {
        const double want = weight * oracle("diffusion_part." + of).values[static_cast<std::size_t>(step)];
        CHECK(relative_error(scalar(loss.part(part)), want) <= Tolerances<T>::losses);
      };
      check("diffusion", "diff_" + modalities[m], 1);
      check("content", "gc_" + modalities[m] + "_unweighted", content_weight);
      tape.backward(loss.total());
      if (step == 0) check_gradients(*model.inner_networks()[m].parameters);
      model.denoiser_step(ctx, m);
    }
  tape.reset();
  model.generate(ctx);
  std::vector<Matrix<double>> kept;
  for (std::size_t m = 0; m < modalities.size(); ++m) {
    CAPTURE(modalities[m]);
    const Matrix<double> built = dense(model.generated_graph(m));
    const auto theirs = [&](const std::string& of) {
      return shaped(oracle("graph." + modalities[m] + of), built.rows(), built.cols(), false);
    };
    CHECK(max_difference(built, theirs("_ui_full")) <= Tolerances<T>::graphs);
    kept.push_back(theirs("_ui"));
  }
  model.make_graphs([&](std::size_t m, Index row, Index column) { return kept[m](row, column) != 0; });
}

/// A model with what is its own in a comparison. The comparison itself knows no model, and so is compiled once a
/// scalar.
template <class T>
struct Compared {
  using B = TestBackend<T>;
  using CheckGradients = std::function<void(ParameterStore<B>&)>;
  using Drawn = std::vector<TestMatrix<T>>;
  AnyRecommender<B> model;
  nlohmann::ordered_json settings;
  std::function<void(const CheckGradients&)> begin_epoch;
  std::function<Embeddings<B>(Tape<B>&, Drawn&)> embeddings;
  std::function<Loss<B>(Tape<B>&, const Step<B>&, Drawn&)> loss;
};

template <class T>
void compare(const Compared<T>& mine, Context<TestBackend<T>>& ctx, const Dataset& data, const Oracle& oracle,
             const Names& names) {
  using B = TestBackend<T>;
  using Tolerance = Tolerances<T>;
  ParameterStore<B>& parameters = mine.model.parameters();
  const auto for_each_parameter = [&](const auto& f) {
    parameters.for_each(f);
    for (const Trained<B>& inner : mine.model.inner_networks()) inner.parameters->for_each(f);
  };

  for (const auto& graph : names.graphs) {
    CAPTURE(graph.first);
    const NpyArray<double> theirs = oracle("graph." + graph.first);
    const Matrix<double> built = graph.second(data, oracle);
    CHECK(max_difference(built, shaped(theirs, built.rows(), built.cols(), false)) <= Tolerance::graphs);
  }

  // Theirs of each of ours.
  struct Place {
    std::string array;
    bool transposed;
  };
  std::map<std::string, Place> places;
  for (const auto& entry : oracle.manifest.at("parameters")) {
    const std::string theirs = entry.at("name");
    std::string name = ours(names.parameters, theirs);
    if (name.empty()) continue;
    const bool transposed = name.starts_with("T ");
    if (transposed) name = name.substr(2);
    CAPTURE(theirs);
    for_each_parameter([&](auto& p) {
      if (p.name != name) return;
      set(p, cast_to<T>(shaped(oracle("param." + theirs), p.rows(), p.cols(), transposed)));
      places[name] = {theirs, transposed};
    });
    const bool trained = entry.at("trained");
    REQUIRE((places.contains(name) || !trained));  // what theirs does not train ours need not have as a parameter
  }
  for (const auto& [theirs, name] : names.frozen)
    parameters.for_each([&, array = "frozen." + theirs, own = name](auto& p) {
      if (p.name == own) set(p, cast_to<T>(shaped(oracle(array), p.rows(), p.cols(), false)));
    });
  for_each_parameter([&](const auto& p) {
    if (p.trainable) CHECK_MESSAGE(places.contains(p.name), p.name, " has no counterpart");
  });

  std::set<std::string> without_gradient;  // zero in exact arithmetic: rounding decides where Adam goes
  const auto check_gradients = [&](ParameterStore<B>& store) {
    store.for_each([&](const auto& p) {
      if (!places.contains(p.name)) return;
      CAPTURE(p.name);
      const auto& [array, transposed] = places.at(p.name);
      CHECK(has_gradient(p) == oracle.has("grad." + array));
      if (!has_gradient(p) || !oracle.has("grad." + array)) return;
      const NpyArray<double> theirs = oracle("grad." + array);
      const double size = largest(theirs.values);
      if (size < 1e-12) without_gradient.insert(p.name);
      if (size < 1e-12 && std::is_same_v<T, float>) return;
      const auto cancelled = names.cancelled.find(array);
      const double tolerance =
          cancelled != names.cancelled.end() && std::is_same_v<T, float> ? cancelled->second : Tolerance::gradients;
      CHECK(max_difference(gradient_of(p), shaped(theirs, p.rows(), p.cols(), transposed)) <=
            (size < 1e-12 ? 1e-12 : tolerance * size));
    });
  };
  mine.begin_epoch(check_gradients);

  Tape<B> tape(ctx);
  {
    tape.set_recording(false);
    std::vector<TestMatrix<T>> drawn;
    const Embeddings<B> e = mine.embeddings(tape, drawn);
    const Matrix<T> users = to_host(e.users), items = to_host(e.items);
    if (oracle.has("eval.user_emb")) {
      const auto check = [&](const Matrix<T>& own, const std::string& array) {
        CAPTURE(array);
        CHECK(max_difference(own, shaped(oracle(array), own.rows(), own.cols(), false)) <= Tolerance::embeddings);
      };
      check(users, "eval.user_emb");
      check(items, "eval.item_emb");
    }
    const Matrix<double> scores = tabulate(users.rows(), items.rows(), [&](Index u, Index i) {
      const double score = sum_of(
          users.cols(), [&](Index j) { return static_cast<double>(users(u, j)) * static_cast<double>(items(i, j)); });
      return names.logistic_scores ? 1 / (1 + std::exp(-score)) : score;
    });
    CHECK(max_difference(scores, shaped(oracle("eval.scores"), scores.rows(), scores.cols(), false)) <=
          Tolerance::embeddings);
    tape.set_recording(true);
  }

  const NpyArray<Id> batches = read_npy<Id>(oracle.dir / "batches.npy");
  const std::vector<double> total = oracle("loss").values;
  const auto& adam = oracle.manifest.at("optimiser");
  AdamW<B> optimizer({.learning_rate = adam.at("lr"), .l2 = adam.value("weight_decay", 0.0)});
  for (Index step = 0; step < batches.shape[0]; ++step) {
    CAPTURE(step);
    const BatchThere batch = read_batch(batches, step);
    tape.reset();
    const Step<B> now{batch, static_cast<std::uint32_t>(step), true, step == 0};
    std::vector<TestMatrix<T>> drawn;
    const Loss<B> loss = mine.loss(tape, now, drawn);
    const Var<B> sum = loss.total();
    CHECK(relative_error(scalar(sum), total[static_cast<std::size_t>(step)]) <= Tolerance::losses);
    for (const auto& part_of : names.parts) {
      CAPTURE(part_of.first);
      const std::string& own = part_of.second;
      const std::size_t times = own.find(" * ");
      double weight = 1;
      if (times != std::string::npos) weight = mine.settings.at(own.substr(0, times)).template get<double>();
      double want = 0;
      for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 3) {
        end = part_of.first.find(" + ", begin);
        const std::string array = "loss_part." + part_of.first.substr(begin, end - begin);
        want += weight * oracle(array).values[static_cast<std::size_t>(step)];
      }
      const Var<B> part = loss.part(times == std::string::npos ? own : own.substr(times + 3));
      CHECK(relative_error(scalar(part), want) <= Tolerance::losses);
    }
    tape.backward(sum);
    if (step == 0) check_gradients(parameters);
    optimizer.step(ctx, parameters);
  }
  for (const auto& [theirs, name] : names.parameters)  // what steps write, which they do not call parameters
    if (oracle.has("after." + theirs)) places.try_emplace(name, Place{theirs, false});
  for_each_parameter([&](const auto& p) {
    if (!places.contains(p.name)) return;
    CAPTURE(p.name);
    if (without_gradient.contains(p.name) && std::is_same_v<T, float>) return;
    const Place& place = places.at(p.name);
    CHECK(max_difference(values_of(p), shaped(oracle(names.after + "." + place.array), p.rows(), p.cols(),
                                              place.transposed)) <= Tolerance::after);
  });
}

template <class T, template <class> class M>
void compare(const fs::path& folder, const Names& names) {
  using B = TestBackend<T>;
  using Drawn = typename Compared<T>::Drawn;
  const Oracle oracle(folder);
  CAPTURE(folder.string());
  const Dataset data = read_data(folder.parent_path() / "data", oracle);
  const Settings<ModelConfig<M>> settings = settings_of<M>(oracle, names);
  Context<B> ctx(test_options());
  M<B> model(ctx, data, settings.model);
  const Compared<T> mine{
      model, to_json(settings.model),
      [&](const typename Compared<T>::CheckGradients& check) {
        begin_epoch_with_their_draws(model, ctx, oracle, check);
      },
      [&](Tape<B>& tape, Drawn& drawn) { return embeddings_with_their_draws(model, tape, data, oracle, drawn); },
      [&](Tape<B>& tape, const Step<B>& step, Drawn& drawn) {
        return loss_with_their_draws(model, tape, step, data, oracle, drawn);
      }};
  compare(mine, ctx, data, oracle, names);
}

struct Row {
  const char* folder;
  void (*in_double)(const fs::path&, const Names&);
  void (*in_float)(const fs::path&, const Names&);
  Names names;
};
template <template <class> class M>
Row row(const char* folder, Names names) {
  return {folder, &compare<double, M>, &compare<float, M>, std::move(names)};
}

// LightGCN's has an epsilon, others have none.
Matrix<double> exact_graph(const Dataset& data, const Oracle&) {
  return dense(
      interaction_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 0.0));
}
Matrix<double> exact_users_block(const Dataset& data, const Oracle&) {
  return dense(users_block(
      interaction_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 0.0),
      data.n_users));
}
// Row i: the most alike of item i in a modality.
template <std::size_t modality>
Matrix<double> weighted_neighbors(const Dataset& data, const Oracle& oracle) {
  Context<TestBackend<double>> ctx(test_options());
  const auto& settings = oracle.manifest.at("settings");
  const Index k = settings.at(settings.contains("topk") ? "topk" : "knn_k");
  return dense(knn_graph(ctx, data.modalities.at(modality), k));
}
Matrix<double> graph_of(const Interactions& pairs, const Dataset& data) {
  return dense(interaction_graph(items_by_user(pairs, data.n_users), users_by_item(pairs, data.n_items), 1e-7));
}
Matrix<double> normalized_graph(const Dataset& data, const Oracle&) { return graph_of(data.train, data); }
Matrix<double> graph_with_smaller_epsilon(const Dataset& data, const Oracle&) {
  return dense(
      interaction_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 1e-8));
}
Matrix<double> user_sums(const Dataset& data, const Oracle&) {
  return dense(user_sum_operator<double>(items_by_user(data.train, data.n_users), data.n_items).matrix());
}
Matrix<double> self_looped(const Dataset& data, const Oracle&) {
  return dense(self_loop_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), true));
}
Matrix<double> kept_graph(const Dataset& data, const Oracle& oracle) {
  return graph_of(kept_pairs(data, oracle), data);
}
// In the order of the train pairs.
Matrix<double> edge_weights(const Dataset& data, const Oracle&) {
  const EdgeSampler sampler(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), 1e-7);
  std::map<std::pair<Id, Id>, double> weight;
  for (std::size_t e = 0; e < sampler.weights().size(); ++e)
    weight[{sampler.pairs().users[e], sampler.pairs().items[e]}] = sampler.weights()[e];
  return tabulate(1, data.train.size(), [&](Index, Index e) {
    return weight.at({data.train.users[static_cast<std::size_t>(e)], data.train.items[static_cast<std::size_t>(e)]});
  });
}
// The item graph of FREEDOM and DRAGON from these modalities.
Matrix<double> item_graph(const Dataset& data, const Oracle& oracle, const std::vector<std::string>& modalities) {
  Context<TestBackend<double>> ctx(test_options());
  const auto& settings = oracle.manifest.at("settings");
  return dense(mmrec::item_graph(ctx, data, modalities, settings.at("knn_k"), settings.at("mm_image_weight")));
}
Matrix<double> image_graph(const Dataset& data, const Oracle& oracle) { return item_graph(data, oracle, {"image"}); }
Matrix<double> text_graph(const Dataset& data, const Oracle& oracle) { return item_graph(data, oracle, {"text"}); }
Matrix<double> joint_graph(const Dataset& data, const Oracle& oracle) { return item_graph(data, oracle, {}); }

Matrix<double> mean_graph(const Dataset& data, const Oracle&) {
  return dense(
      self_loop_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items), false));
}

// How many train items two users have in common.
NeighborTable common(const Dataset& data) {
  Context<TestBackend<double>> ctx(test_options());
  return co_occurrence_neighbors(ctx, items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items),
                                 data.n_users - 1, Padding::none, {});
}
Matrix<double> common_items(const Dataset& data, const Oracle&) { return dense(to_csr(common(data))); }
// With the lists that the program had filled.
Matrix<double> built_user_graph(const Dataset& data, const Oracle& oracle) {
  const Matrix<double> counts = common_items(data, oracle);
  const NpyArray<Id> lists = read_npy<Id>(oracle.dir / "rand.user_neighbours.npy");
  NeighborTable table(data.n_users, lists.shape[1]);
  for (Index i = 0; i < table.rows(); ++i)
    for (Index j = 0; j < table.capacity(); ++j) {
      const Id id = lists.values[static_cast<std::size_t>(i * table.capacity() + j)];
      if (id < 0 || counts(i, id) == 0) continue;  // nobody to draw from
      table.ids(i, j) = id;
      table.values(i, j) = counts(i, id);
      ++table.counts[i];
    }
  return dense(softmax_graph(std::move(table)));
}

// Of models that train the items' features.
std::map<std::string, std::string> trained_features() {
  return {{"user_embedding.weight", "user_id"},
          {"item_id_embedding.weight", "item_id"},
          {"image_embedding.weight", "item_features.image"},
          {"image_trs.weight", "item_projection.image.weight"},
          {"image_trs.bias", "item_projection.image.bias"},
          {"text_embedding.weight", "item_features.text"},
          {"text_trs.weight", "item_projection.text.weight"},
          {"text_trs.bias", "item_projection.text.bias"}};
}

// DualGNN's and DRAGON's.
Names preference_views(bool dual) {
  Names names{.parameters = {{"weight_u", "user_modality_weights"},
                             {"v_gcn.preference", "user_preference.image"},
                             {"v_gcn.MLP.weight", "item_hidden.image.weight"},
                             {"v_gcn.MLP.bias", "item_hidden.image.bias"},
                             {"v_gcn.MLP_1.weight", "item_projection.image.weight"},
                             {"v_gcn.MLP_1.bias", "item_projection.image.bias"},
                             {"t_gcn.preference", "user_preference.text"},
                             {"t_gcn.MLP.weight", "item_hidden.text.weight"},
                             {"t_gcn.MLP.bias", "item_hidden.text.bias"},
                             {"t_gcn.MLP_1.weight", "item_projection.text.weight"},
                             {"t_gcn.MLP_1.bias", "item_projection.text.bias"}},
              .settings = {{"mm_image_weight", "image_weight"}, {"k_user", "user_k"}},
              .parts = {{"bpr_log2", "bpr"}},
              .graphs = {{"norm_adj", exact_graph}, {"user_user", built_user_graph}, {"user_counts", common_items}}};
  if (dual) {
    names.parameters["weight_i"] = "item_modality_weights";
    names.parts["reg_v + reg_t + reg_wu + reg_wi"] = "reg_weight * reg";
  } else {
    names.parts["reg_v + reg_t + reg_wu"] = "reg_weight * reg";
    names.graphs["image_knn"] = image_graph;
    names.graphs["text_knn"] = text_graph;
    names.graphs["mm_adj"] = joint_graph;
  }
  return names;
}

Matrix<double> projected_image(const Dataset& data, const Oracle& oracle) {
  using B = TestBackend<double>;
  Context<B> ctx(test_options());
  MigGt<B> model(ctx, data, {});
  take_their_projection(model, ctx, data, oracle);
  return to_host(model.features(0));
}

Names mig_gt() {
  Names names{
      .parameters = {{"user_embeddings", "user_id"},
                     {"item_embeddings", ""},
                     {"z_transformer.q_linear.weight", "attention.query.weight"},
                     {"z_transformer.q_linear.bias", "attention.query.bias"},
                     {"z_transformer.k_linear.weight", "attention.key.weight"},
                     {"z_transformer.k_linear.bias", ""}},
      .settings = {{"feat_hidden_units", "hidden_dim"},
                   {"k_e", "n_layers"},
                   {"k_v", "n_image_layers"},
                   {"k_t", "n_feature_layers"},
                   {"input_feat_drop_rate", "feature_dropout"},
                   {"feat_drop_rate", "hidden_dropout"},
                   {"user_x_drop_rate", "user_dropout"},
                   {"item_x_drop_rate", "item_dropout"},
                   {"edge_drop_rate", "edge_dropout"},
                   {"z_drop_rate", "output_dropout"},
                   {"num_samples", "n_samples"},
                   {"num_negs", "n_negatives"},
                   {"l2_coef", "reg_weight"}},
      .parts = {{"info_bpr_sum", "info_bpr"}, {"unsmooth_sum", "unsmooth"}, {"l2_unweighted", "reg_weight * reg"}},
      .graphs = {{"norm_adj", self_looped}, {"image_projected", projected_image}}};
  for (const std::string modality : {"image", "text"})
    for (const std::string layer : {"hidden", "output"}) {
      const std::string theirs = modality.substr(0, 1) == "i" ? "v_ff.0.model." : "t_ff.0.model.";
      const int first = layer == "hidden" ? 0 : 4;
      const auto at = [&](int i) { return theirs + std::to_string(first + i); };
      const std::string own = "projection." + modality + "." + layer;
      names.parameters[at(0) + ".weight"] = own + ".weight";
      names.parameters[at(0) + ".bias"] = "";
      for (const std::string array : {"weight", "bias", "running_mean"})
        names.parameters[at(1) + "." + array] = own + ".norm." + array;
      names.parameters[at(1) + ".running_var"] = own + ".norm.running_variance";
      names.parameters[at(2) + ".alpha"] = own + ".slope";
    }
  return names;
}

Matrix<double> neighbor_mean(const Dataset& data, const Oracle&) {
  return dense(neighbor_mean_graph(items_by_user(data.train, data.n_users), users_by_item(data.train, data.n_items)));
}
Names mmgcn() {
  Names names{.parameters = {{"v_gcn.MLP.weight", "item_projection.image.weight"},
                             {"v_gcn.MLP.bias", "item_projection.image.bias"}},
              .settings = {{"image_latent", "hidden_dim"}, {"n_layers", "their words"}},
              .parts = {{"bpr", "bpr"}, {"reg_id + reg_v_pref", "reg_weight * reg"}},
              .graphs = {{"mean_adj", neighbor_mean}},
              .frozen = {{"id_embedding", "node_id"},
                         {"v_gcn.preference", "user_preference.image"},
                         {"t_gcn.preference", "user_preference.text"}}};
  for (const std::string modality : {"image", "text"})
    for (const std::string k : {"1", "2", "3"}) {
      const std::string theirs = modality == "image" ? "v_gcn." : "t_gcn.", layer = "." + modality + "." + k;
      names.parameters[theirs + "conv_embed_" + k + ".weight"] = "T messages" + layer + ".weight";
      for (const std::string array : {".weight", ".bias"}) {
        names.parameters[theirs + "linear_layer" + k + array] = "own" + layer + array;
        names.parameters[theirs + "g_layer" + k + array] = "combination" + layer + array;
      }
    }
  return names;
}

// The noise schedule of DiffMM's settings, one of its numbers a step.
template <std::vector<double> NoiseSchedule::*numbers>
Matrix<double> schedule(const Dataset&, const Oracle& oracle) {
  const auto& settings = oracle.manifest.at("settings");
  DiffMmConfig config;
  config.n_steps = settings.at("steps");
  config.noise_scale = settings.at("noise_scale");
  config.noise_min = settings.at("noise_min");
  config.noise_max = settings.at("noise_max");
  const NoiseSchedule made = noise_schedule(config);
  const std::vector<double>& of = made.*numbers;
  return tabulate(1, config.n_steps, [&](Index, Index t) { return of[static_cast<std::size_t>(t)]; });
}
Names diffmm() {
  Names names{.parameters = {{"uEmbeds", "user_id"},
                             {"iEmbeds", "item_id"},
                             {"image_trans", "T item_projection.image.weight"},
                             {"text_trans", "T item_projection.text.weight"},
                             {"modal_weight", "modality_weights"}},
              .settings = {{"latdim", "embedding_dim"},
                           {"gnn_layer", "n_layers"},
                           {"reg", "reg_weight"},
                           {"ssl_reg", "cl_weight"},
                           {"temp", "cl_temperature"},
                           {"keepRate", "keep_rate"},
                           {"d_emb_size", "time_dim"},
                           {"norm", "normalize_input"},
                           {"steps", "n_steps"},
                           {"e_loss", "content_weight"},
                           {"ris_lambda", "residual_weight"},
                           {"ris_adj_lambda", "modal_graph_weight"},
                           {"batch", "bpr_batch_size"}},
              .parts = {{"bpr", "bpr"},
                        {"reg_weighted", "reg"},
                        {"cl_user_unweighted", "cl_weight * cl_users"},
                        {"cl_item_unweighted", "cl_weight * cl_items"}},
              .graphs = {{"norm_adj", self_looped},
                         {"betas", schedule<&NoiseSchedule::beta>},
                         {"alphas_cumprod", schedule<&NoiseSchedule::c>},
                         {"posterior_mean_coef1", schedule<&NoiseSchedule::from_start>},
                         {"posterior_mean_coef2", schedule<&NoiseSchedule::from_noisy>}},
              .given = {{"hidden_dims", {20}}}};
  for (const std::string modality : {"image", "text"})
    for (const auto& [theirs, ours] :
         {std::pair{"emb_layer", "time"}, std::pair{"in_layers.0", "in.0"}, std::pair{"out_layers.0", "out.0"}})
      for (const char* part : {".weight", ".bias"})
        names.parameters["denoise_" + modality + "." + theirs + part] = "denoiser." + modality + "." + ours + part;
  return names;
}

Names ape_gnn(const char* diffusion) {
  return {.parameters = {{"user_embed", "user_id"},
                         {"item_embed", "item_id"},
                         {"gcn.user_t", "user_t"},
                         {"gcn.item_t", "item_t"}},
          .settings = {{"dim", "embedding_dim"}, {"context_hops", "n_layers"}, {"l2", "reg_weight"}},
          .parts = {{"bpr", "bpr"}, {"emb_weighted", "reg"}},
          .graphs = {{"norm_adj", exact_graph}},
          .given = {{"diffusion", diffusion}}};
}

// Graphs of features that are trained, with their parameters: the graph times the identity.
Names lattice(bool momentum);
Names micro(bool momentum);
void take_parameters(ParameterStore<TestBackend<double>>& parameters, const Oracle& oracle, const Names& names) {
  for (const auto& [theirs, name] : names.parameters)
    parameters.for_each([&, array = "param." + theirs, own = name](auto& p) {
      if (p.name == own) set(p, shaped(oracle(array), p.rows(), p.cols(), false));
    });
}
Matrix<double> identity(Index n) {
  return tabulate(n, n, [](Index i, Index j) { return i == j ? 1.0 : 0.0; });
}
template <template <class> class M, class F>
Matrix<double> learned_graph(const Dataset& data, const Oracle& oracle, const Names& names, const F& times) {
  using B = TestBackend<double>;
  Context<B> ctx(test_options());
  M<B> model(ctx, data, settings_of<M>(oracle, names).model);
  take_parameters(model.parameters(), oracle, names);
  Tape<B> tape(ctx, false);
  const TestMatrix<double> unit = upload(identity(data.n_items));
  return to_host(times(model, tape, tape.constant(unit.view())));
}
template <std::size_t modality>
Matrix<double> learned_neighbors(const Dataset& data, const Oracle& oracle) {
  using B = TestBackend<double>;
  Context<B> ctx(test_options());
  ParameterStore<B> store;
  const auto& settings = oracle.manifest.at("settings");
  LearnedNeighbors<B> learned(store, data.modalities.at(modality), settings.at("feat_embed_dim"), settings.at("knn_k"),
                              ctx.seed());
  take_parameters(store, oracle, lattice(true));
  Tape<B> tape(ctx, false);
  const TestMatrix<double> unit = upload(identity(data.n_items));
  const Var<B> cosines = learned.cosines(tape, Neighbors::now);
  return to_host(spmm(learned.pattern(Neighbors::now), cosines, tape.constant(unit.view())));
}
Matrix<double> lattice_graph(const Dataset& data, const Oracle& oracle) {
  return learned_graph<Lattice>(data, oracle, lattice(true), [](auto& model, auto& tape, auto unit) {
    return model.propagate_items(tape, unit, 1, Neighbors::now);
  });
}
template <std::size_t modality>
Matrix<double> micro_graph(const Dataset& data, const Oracle& oracle) {
  return learned_graph<Micro>(data, oracle, micro(true), [](auto& model, auto& tape, auto unit) {
    return model.propagate_items(tape, modality, unit, 1, Neighbors::now);
  });
}
Names lattice(bool momentum) {
  Names names{.parameters = trained_features(),
              .settings = {{"feat_embed_dim", "feature_dim"},
                           {"n_ui_layers", "their words"},
                           {"train_batch_size", "reg_batch_size"}},
              .parts = {{"bpr", "bpr"}, {"emb_weighted", "reg"}},
              .graphs = {{"norm_adj", mean_graph},
                         {"image_original", weighted_neighbors<0>},
                         {"text_original", weighted_neighbors<1>},
                         {"image_learned_knn", learned_neighbors<0>},
                         {"text_learned_knn", learned_neighbors<1>},
                         {"item_adj", lattice_graph}},
              .given = {{"momentum_without_gradient", momentum}},
              .after = momentum ? "after_zero" : "after"};
  names.parameters["modal_weight"] = "modality_weights";
  return names;
}
Names micro(bool momentum) {
  Names names{.parameters = trained_features(),
              .settings = {{"topk", "knn_k"},
                           {"layers", "n_layers"},
                           {"decay", "reg_weight"},
                           {"batch_size", "reg_batch_size"},
                           {"loss_ratio", "cl_weight"}},
              .parts = {{"bpr", "bpr"},
                        {"emb_weighted", "reg"},
                        {"contrast_image_unweighted + contrast_text_unweighted", "cl_weight * contrast"}},
              .graphs = {{"norm_adj", mean_graph},
                         {"image_original", weighted_neighbors<0>},
                         {"text_original", weighted_neighbors<1>},
                         {"image_adj", micro_graph<0>},
                         {"text_adj", micro_graph<1>}},
              .given = {{"momentum_without_gradient", momentum}},
              .after = momentum ? "after_zero" : "after"};
  names.parameters["query.0.weight"] = "attention.weight";
  names.parameters["query.0.bias"] = "attention.bias";
  names.parameters["query.2.weight"] = "attention.vector";
  return names;
}

const std::vector<Row>& table() {
  static const std::vector<Row> rows = {
      row<BprMf>("bpr", {.parameters = {{"user_embedding.weight", "user_id"}, {"item_embedding.weight", "item_id"}},
                         .settings = {},
                         .parts = {{"bpr", "bpr"}, {"reg_unweighted", "reg_weight * reg"}},
                         .graphs = {}}),
      row<LightGcn>("lightgcn",
                    {.parameters = {{"embedding_dict.user_emb", "user_id"}, {"embedding_dict.item_emb", "item_id"}},
                     .settings = {},
                     .parts = {{"bpr", "bpr"}, {"reg_unweighted", "reg_weight * reg"}},
                     .graphs = {{"norm_adj", normalized_graph}}}),
      row<Mgcn>("mgcn", {.parameters = {{"user_embedding.weight", "user_id"},
                                        {"item_id_embedding.weight", "item_id"},
                                        {"image_embedding.weight", "item_features.image"},
                                        {"text_embedding.weight", "item_features.text"},
                                        {"image_trs.weight", "item_projection.image.weight"},
                                        {"image_trs.bias", "item_projection.image.bias"},
                                        {"text_trs.weight", "item_projection.text.weight"},
                                        {"text_trs.bias", "item_projection.text.bias"},
                                        {"gate_v.0.weight", "purifier.image.weight"},
                                        {"gate_v.0.bias", "purifier.image.bias"},
                                        {"gate_t.0.weight", "purifier.text.weight"},
                                        {"gate_t.0.bias", "purifier.text.bias"},
                                        {"gate_image_prefer.0.weight", "preference.image.weight"},
                                        {"gate_image_prefer.0.bias", "preference.image.bias"},
                                        {"gate_text_prefer.0.weight", "preference.text.weight"},
                                        {"gate_text_prefer.0.bias", "preference.text.bias"},
                                        {"query_common.0.weight", "attention.weight"},
                                        {"query_common.0.bias", "attention.bias"},
                                        {"query_common.2.weight", "attention.vector"}},
                         .settings = {{"cl_loss", "cl_weight"}, {"train_batch_size", "reg_batch_size"}},
                         .parts = {{"bpr", "bpr"},
                                   {"emb_weighted", "reg"},
                                   {"nce_item_unweighted", "cl_weight * cl_items"},
                                   {"nce_user_unweighted", "cl_weight * cl_users"}},
                         .graphs = {{"norm_adj", exact_graph},
                                    {"R", exact_users_block},
                                    {"image_knn", weighted_neighbors<0>},
                                    {"text_knn", weighted_neighbors<1>}},
                         .cancelled = {{"query_common.0.bias", 6e-4}}}),
      row<Vbpr>("vbpr", {.parameters = {{"u_embedding", "user_factors"},
                                        {"i_embedding", "item_id"},
                                        {"item_linear.weight", "item_projection.weight"},
                                        {"item_linear.bias", "item_projection.bias"}},
                         .settings = {},
                         .parts = {{"bpr", "bpr"}, {"reg_unweighted", "reg_weight * reg"}},
                         .graphs = {}}),
      row<Freedom>("freedom", {.parameters = trained_features(),
                               .settings = {{"mm_image_weight", "image_weight"}},
                               .parts = {{"bpr_id", "bpr"},
                                         {"bpr_text_unweighted + bpr_image_unweighted", "reg_weight * content"}},
                               .graphs = {{"norm_adj", normalized_graph},
                                          {"masked_adj", kept_graph},
                                          {"edge_weight", edge_weights},
                                          {"image_knn", image_graph},
                                          {"text_knn", text_graph},
                                          {"mm_adj", joint_graph}}}),
      row<Bm3>("bm3", {.parameters = trained_features(),
                       .settings = {},
                       .parts = {{"ui + iu", "rec"},
                                 {"t_i + v_i", "cl_weight * align"},
                                 {"t_t + v_v", "cl_weight * mask"},
                                 {"reg_unweighted", "reg_weight * reg"}},
                       .graphs = {{"norm_adj", normalized_graph}}}),
      row<LgmRec>(
          "lgmrec",
          {.parameters = {{"user_embedding.weight", "user_id"},
                          {"item_id_embedding.weight", "item_id"},
                          {"item_image_trs", "T item_projection.image.weight"},
                          {"item_text_trs", "T item_projection.text.weight"},
                          {"v_hyper", "T hyperedges.image.weight"},
                          {"t_hyper", "T hyperedges.text.weight"}},
           .settings = {{"n_hyper_layer", "n_hyper_layers"}, {"hyper_num", "n_hyperedges"}, {"alpha", "hyper_weight"}},
           .parts = {{"bpr", "bpr"},
                     {"hcl_user_unweighted", "cl_weight * cl_users"},
                     {"hcl_item_unweighted", "cl_weight * cl_items"},
                     {"reg_unweighted", "reg_weight * reg"}},
           .graphs = {{"norm_adj", normalized_graph}, {"adj", user_sums}}}),
      row<SlmRec>("slmrec",
                  {.parameters = {{"embedding_user.weight", "user_id"},
                                  {"embedding_item.weight", "item_id"},
                                  {"v_dense.weight", "item_projection.image.weight"},
                                  {"v_dense.bias", "item_projection.image.bias"},
                                  {"t_dense.weight", "item_projection.text.weight"},
                                  {"t_dense.bias", "item_projection.text.bias"},
                                  {"embedding_user_after_GCN.weight", "user_fusion.weight"},
                                  {"embedding_user_after_GCN.bias", "user_fusion.bias"},
                                  {"embedding_item_after_GCN.weight", "item_fusion.weight"},
                                  {"embedding_item_after_GCN.bias", "item_fusion.bias"},
                                  {"g_i_iv.weight", "joint.1.weight"},
                                  {"g_i_iv.bias", "joint.1.bias"},
                                  {"g_iv_iva.weight", "joint.2.weight"},
                                  {"g_iv_iva.bias", "joint.2.bias"},
                                  {"g_iva_ivat.weight", "joint.3.weight"},
                                  {"g_iva_ivat.bias", "joint.3.bias"},
                                  {"g_v_iv.weight", "view.image.weight"},
                                  {"g_v_iv.bias", "view.image.bias"},
                                  {"g_t_ivat.weight", "view.text.weight"},
                                  {"g_t_ivat.bias", "view.text.bias"}},
                   .settings = {{"recdim", "embedding_dim"},
                                {"layer_num", "n_layers"},
                                {"temp", "temperature"},
                                {"ssl_alpha", "ssl_weight"},
                                {"ssl_temp", "ssl_temperature"}},
                   .parts = {{"main", "main"}, {"ssl_image_unweighted + ssl_text_unweighted", "ssl_weight * ssl"}},
                   .graphs = {{"norm_adj", graph_with_smaller_epsilon}},
                   .logistic_scores = true}),
      row<DualGnn>("dualgnn", preference_views(true)),
      row<Dragon>("dragon", preference_views(false)),
      row<ApeGnn>("apegnn", ape_gnn("heat_kernel")),
      row<ApeGnn>("apegnn_appnp", ape_gnn("page_rank")),
      row<Lattice>("lattice", lattice(true)),
      row<Lattice>("lattice", lattice(false)),
      row<Micro>("micro", micro(true)),
      row<Micro>("micro", micro(false)),
      row<Mgdn>("mgdn", {.parameters = {{"embeddings", "node_id"}},
                         .settings = {{"k", "n_layers"},
                                      {"x_drop_rate", "input_dropout"},
                                      {"edge_drop_rate", "edge_dropout"},
                                      {"z_drop_rate", "output_dropout"},
                                      {"num_negs", "n_negatives"},
                                      {"l2_coef", "reg_weight"}},
                         .parts = {{"info_bpr_sum", "info_bpr"}, {"l2_unweighted", "reg_weight * reg"}},
                         .graphs = {{"norm_adj", self_looped}}}),
      row<MigGt>("mig_gt", mig_gt()),
      row<DiffMm>("diffmm", diffmm()),
      row<Mmgcn>("mmgcn", mmgcn()),
      row<Grcn>("grcn",
                {.parameters = {{"id_gcn.id_embedding", "node_id"},
                                {"model_specific_conf", "modality_confidence"},
                                {"v_gcn.preference", "user_preference.image"},
                                {"v_gcn.MLP.weight", "item_projection.image.weight"},
                                {"v_gcn.MLP.bias", "item_projection.image.bias"},
                                {"t_gcn.preference", "user_preference.text"},
                                {"t_gcn.MLP.weight", "item_projection.text.weight"},
                                {"t_gcn.MLP.bias", "item_projection.text.bias"}},
                 .settings = {{"latent_embedding", "content_dim"}, {"n_layers", "their words"}},
                 .parts = {{"bpr", "bpr"}, {"reg_id + reg_v_pref_all + reg_v_pref + reg_t_pref", "reg_weight * reg"}},
                 .graphs = {}}),
  };
  return rows;
}

// The number of folders that were compared.
int compare_all(void (*Row::*in)(const fs::path&, const Names&)) {
  int n = 0;
  for (const fs::path& folder : case_folders("REARM_MODELS_DIR", "models"))
    for (const Row& r : table())
      if (folder.filename() == r.folder) {
        (r.*in)(folder, r.names);
        ++n;
      }
  return n;
}

}  // namespace

TEST_CASE("baselines compute their authors' numbers in double") {
  REARM_SKIP_UNLESS(!case_folders("REARM_MODELS_DIR", "models").empty(), "no reference numbers of models");
  CHECK(compare_all(&Row::in_double) > 0);
}

TEST_CASE("baselines compute their authors' numbers in float, as near as float is") {
  REARM_SKIP_UNLESS(!case_folders("REARM_MODELS_DIR", "models").empty(), "no reference numbers of models");
  CHECK(compare_all(&Row::in_float) > 0);
}

}  // namespace parity_baselines_test
