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
#include <rearm/backend/cpu/knn.hpp>
#endif
#include <rearm/data/npy.hpp>
#include <rearm/graph/bipartite.hpp>
#include <rearm/graph/edge_sampling.hpp>
#include <rearm/graph/knn_graph.hpp>
#include <rearm/models/all.hpp>
#include <rearm/optim/adamw.hpp>
#include <rearm/run/settings.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <set>
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
  std::map<std::string, std::string> parameters;  // theirs -> ours; a leading "T " says that theirs is the transpose
  std::map<std::string, std::string> settings;    // theirs -> ours
  // loss_part.<theirs> -> ours, or "weight setting * part" as ours and "part + part" as theirs
  std::map<std::string, std::string> parts;
  std::map<std::string, Matrix<double> (*)(const Dataset&, const Oracle&)> graphs;
  // Theirs whose gradient is what is left of larger terms, and how far float may be off, as a share of the largest
  // entry.
  std::map<std::string, double> cancelled = {};
  std::map<std::string, std::string> frozen = {};  // frozen.<theirs> -> ours: random, and never trained
  std::map<std::string, std::string> given = {};   // ours that the folder stands for
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

// A model's loss of a step with what its authors' program drew: an overload for each model that draws.
template <class M, Backend B>
Loss<B> loss_with_their_draws(M& model, Tape<B>& tape, const Step<B>& step, const Dataset&, const Oracle&) {
  return model.loss(tape, step);
}
template <Backend B>
Loss<B> loss_with_their_draws(Bm3<B>& model, Tape<B>& tape, const Step<B>& step, const Dataset&, const Oracle& oracle) {
  using View = typename Bm3<B>::View;
  const View own = model.online(tape);
  std::vector<TestMatrix<Real<B>>> masks;  // targets have no gradient: only the forward pass reads them
  const auto dropped = [&](Var<B> x, const char* of) {
    const std::string array = "rand.step" + std::to_string(step.number + 1) + "." + of;
    masks.push_back(upload(cast_to<Real<B>>(shaped(oracle(array), x.rows(), x.cols(), false))));
    return mul(x.detach(), tape.constant(std::as_const(masks.back()).view()));
  };
  View target{dropped(own.users, "user"), dropped(own.items, "item"), tape.list()};
  target.contents.push_back(dropped(own.contents[0], "image"));
  target.contents.push_back(dropped(own.contents[1], "text"));
  return model.loss(own, target, step);
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
                              const Oracle& oracle) {
  if (step.number == 0) model.train_on(kept_pairs(data, oracle));
  return model.loss(tape, step);
}

template <class T, template <class> class M>
void compare(const fs::path& folder, const Names& names) {
  using B = TestBackend<T>;
  using Tolerance = Tolerances<T>;
  const Oracle oracle(folder);
  CAPTURE(folder.string());
  const Dataset data = read_data(folder.parent_path() / "data", oracle);
  const auto ours = [](const std::map<std::string, std::string>& of, const std::string& theirs) {
    const auto found = of.find(theirs);
    return found != of.end() ? found->second : theirs;
  };

  Settings<ModelConfig<M>> settings;
  for (const auto& [theirs, value] : oracle.manifest.at("settings").items()) {
    const std::string name = ours(names.settings, theirs == "embedding_size" ? "embedding_dim" : theirs);
    if (!setting_path(settings, "model." + name).empty()) update_settings(settings, {{"model", {{name, value}}}});
  }
  for (const auto& [name, value] : names.given) update_settings(settings, {{"model", {{name, value}}}});
  Context<B> ctx(test_options());
  M<B> model(ctx, data, settings.model);
  ParameterStore<B>& parameters = model.parameters();

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
    const bool transposed = name.starts_with("T ");
    if (transposed) name = name.substr(2);
    CAPTURE(theirs);
    parameters.for_each([&](auto& p) {
      if (p.name != name) return;
      set(p, cast_to<T>(shaped(oracle("param." + theirs), p.rows(), p.cols(), transposed)));
      places[name] = {theirs, transposed};
    });
    REQUIRE(places.contains(name));
  }
  for (const auto& [theirs, name] : names.frozen)
    parameters.for_each([&, array = "frozen." + theirs, own = name](auto& p) {
      if (p.name == own) set(p, cast_to<T>(shaped(oracle(array), p.rows(), p.cols(), false)));
    });
  parameters.for_each([&](const auto& p) {
    if (p.trainable) CHECK_MESSAGE(places.contains(p.name), p.name, " has no counterpart");
  });

  Tape<B> tape(ctx);
  {
    tape.set_recording(false);
    const Embeddings<B> e = model.embeddings(tape, {});
    const Matrix<T> users = to_host(e.users), items = to_host(e.items);
    if (oracle.has("eval.user_emb")) {
      const auto check = [&](const Matrix<T>& mine, const std::string& array) {
        CAPTURE(array);
        CHECK(max_difference(mine, shaped(oracle(array), mine.rows(), mine.cols(), false)) <= Tolerance::embeddings);
      };
      check(users, "eval.user_emb");
      check(items, "eval.item_emb");
    }
    const Matrix<double> scores = tabulate(users.rows(), items.rows(), [&](Index u, Index i) {
      return sum_of(users.cols(),
                    [&](Index j) { return static_cast<double>(users(u, j)) * static_cast<double>(items(i, j)); });
    });
    CHECK(max_difference(scores, shaped(oracle("eval.scores"), scores.rows(), scores.cols(), false)) <=
          Tolerance::embeddings);
    tape.set_recording(true);
  }

  const NpyArray<Id> batches = read_npy<Id>(oracle.dir / "batches.npy");
  const std::vector<double> total = oracle("loss").values;
  AdamW<B> optimizer({.learning_rate = oracle.manifest.at("optimiser").at("lr")});
  std::set<std::string> without_gradient;  // zero in exact arithmetic: rounding decides where Adam goes
  for (Index step = 0; step < batches.shape[0]; ++step) {
    CAPTURE(step);
    const BatchThere batch = read_batch(batches, step);
    tape.reset();
    const Step<B> now{batch, static_cast<std::uint32_t>(step), true};
    const Loss<B> loss = loss_with_their_draws(model, tape, now, data, oracle);
    const Var<B> sum = loss.total();
    CHECK(relative_error(scalar(sum), total[static_cast<std::size_t>(step)]) <= Tolerance::losses);
    for (const auto& part_of : names.parts) {
      CAPTURE(part_of.first);
      const std::string& mine = part_of.second;
      const std::size_t times = mine.find(" * ");
      double weight = 1;
      if (times != std::string::npos) weight = to_json(settings.model).at(mine.substr(0, times)).template get<double>();
      double want = 0;
      for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 3) {
        end = part_of.first.find(" + ", begin);
        const std::string array = "loss_part." + part_of.first.substr(begin, end - begin);
        want += weight * oracle(array).values[static_cast<std::size_t>(step)];
      }
      const Var<B> part = loss.part(times == std::string::npos ? mine : mine.substr(times + 3));
      CHECK(relative_error(scalar(part), want) <= Tolerance::losses);
    }
    tape.backward(sum);
    if (step == 0)
      parameters.for_each([&](const auto& p) {
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
    optimizer.step(ctx, parameters);
  }
  parameters.for_each([&](const auto& p) {
    if (!places.contains(p.name)) return;
    CAPTURE(p.name);
    if (without_gradient.contains(p.name) && std::is_same_v<T, float>) return;
    const Place& place = places.at(p.name);
    CHECK(max_difference(values_of(p), shaped(oracle("after." + place.array), p.rows(), p.cols(), place.transposed)) <=
          Tolerance::after);
  });
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
  return dense(knn_graph(ctx, data.modalities.at(modality), oracle.manifest.at("settings").at("knn_k").get<Index>()));
}
Matrix<double> graph_of(const Interactions& pairs, const Dataset& data) {
  return dense(interaction_graph(items_by_user(pairs, data.n_users), users_by_item(pairs, data.n_items), 1e-7));
}
Matrix<double> normalized_graph(const Dataset& data, const Oracle&) { return graph_of(data.train, data); }
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
// FREEDOM's item graph from these modalities.
Matrix<double> item_graph(const Dataset& data, const Oracle& oracle, std::vector<std::string> modalities) {
  Context<TestBackend<double>> ctx(test_options());
  FreedomConfig config;
  config.modalities = std::move(modalities);
  config.knn_k = oracle.manifest.at("settings").at("knn_k");
  config.image_weight = oracle.manifest.at("settings").at("mm_image_weight");
  return dense(Freedom<TestBackend<double>>::item_graph(ctx, data, config));
}
Matrix<double> image_graph(const Dataset& data, const Oracle& oracle) { return item_graph(data, oracle, {"image"}); }
Matrix<double> text_graph(const Dataset& data, const Oracle& oracle) { return item_graph(data, oracle, {"text"}); }
Matrix<double> joint_graph(const Dataset& data, const Oracle& oracle) { return item_graph(data, oracle, {}); }

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
      row<ApeGnn>("apegnn", ape_gnn("heat_kernel")),
      row<ApeGnn>("apegnn_appnp", ape_gnn("page_rank")),
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
