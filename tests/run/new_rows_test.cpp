/// @file new_rows_test.cpp
/// Users and items with whom a model was not trained: what their representations are, and that they are worth having.

#include <rearm/core/cholesky.hpp>
#include <rearm/eval/candidates.hpp>
#include <rearm/models/light_gcn.hpp>
#include <rearm/run/new_items.hpp>
#include <rearm/run/new_users.hpp>
#include <rearm/run/train.hpp>
#include <tests/data/folder.hpp>
#include <tests/support/small_data.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace run_new_rows_test {

namespace {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::Folder;
using rearm::test::has;
using B = CpuBackend<float>;
using D = CpuBackend<double>;

template <class T>
Matrix<T> rows_of(const std::vector<std::vector<double>>& rows) {
  Matrix<T> out(static_cast<Index>(rows.size()), static_cast<Index>(rows.front().size()));
  for (Index i = 0; i < out.rows(); ++i)
    for (Index c = 0; c < out.cols(); ++c)
      out(i, c) = static_cast<T>(rows[static_cast<std::size_t>(i)][static_cast<std::size_t>(c)]);
  return out;
}
template <class T>
Matrix<T> normal(Index rows, Index cols, std::uint32_t stream) {
  const RandomKey key{11, stream, 0};
  Matrix<T> out(rows, cols);
  for (Index i = 0; i < out.size(); ++i) out.data()[i] = static_cast<T>(key.normal(static_cast<std::uint64_t>(i)));
  return out;
}
Interactions filtered(const Interactions& pairs, const auto& keep) {
  Interactions out;
  for (std::size_t e = 0; e < pairs.users.size(); ++e)
    if (keep(pairs.users[e], pairs.items[e])) {
      out.users.push_back(pairs.users[e]);
      out.items.push_back(pairs.items[e]);
    }
  return out;
}
/// A model without a file, of three items in two columns; users 0 and 1 have items 0 and 1, nobody has item 2.
SavedModel<B> small_model(const std::vector<std::string>& names) {
  SavedModel<B> model;
  model.users = rows_of<float>({{1, 0}, {0, 1}});
  model.items = rows_of<float>({{1, 0}, {0, 2}, {9, 9}});
  model.seen = {{0, 1, 2}, {0, 1}};
  for (const std::string& name : names) model.item_names.add(name);
  return model;
}
ItemFolder folder_of(const std::vector<std::vector<double>>& features, const std::vector<std::string>& names) {
  ItemFolder out;
  out.name = "autumn";
  out.n_items = static_cast<Index>(features.size());
  out.modalities.push_back({"text", "made up", FeatureMatrix::from(rows_of<float>(features)), std::nullopt});
  for (const std::string& name : names) out.names.add(name);
  return out;
}

}  // namespace

TEST_CASE("small systems are solved, and refused if they are not positive definite") {
  const Cholesky a(rows_of<double>({{4, 99, 99}, {2, 5, 99}, {-2, 1, 6}}));  // what is above the diagonal is not read
  std::vector<double> b = {4 + 4 - 6, 2 + 10 + 3, -2 + 2 + 18};              // A (1, 2, 3)
  a.solve(b.data());
  for (std::size_t i = 0; i < 3; ++i) CHECK(b[i] == doctest::Approx(static_cast<double>(i + 1)));
  CHECK_THROWS_AS(Cholesky(rows_of<double>({{1, 0}, {2, 1}})), NumericError);
  CHECK_THROWS_AS(Cholesky(Matrix<double>(2, 3)), ShapeError);
}

TEST_CASE("a new user's representation is the map of its items that takes known users' to theirs") {
  // Users that are exactly m(S) W.
  const Index n_users = 60, n_items = 30, d = 4;
  const Matrix<double> items = normal<double>(n_items, d, 1), w = normal<double>(d, d, 2);
  Interactions pairs;
  for (Id u = 0; u + 1 < n_users; ++u)  // the last has nothing
    for (Id i = u % 5; i < n_items; i += 3 + u % 7) {
      pairs.users.push_back(u);
      pairs.items.push_back(i);
    }
  const Adjacency seen = items_by_user(pairs, n_users);
  const auto mapped = [&](std::span<const Id> list, Index c) {
    double out = 0;
    for (Index j = 0; j < d; ++j) {
      double sum = 0;
      for (const Id item : list) sum += items(item, j);
      out += sum / std::sqrt(static_cast<double>(list.size())) * w(j, c);
    }
    return out;
  };
  Matrix<double> users(n_users, d);
  for (Index u = 0; u + 1 < n_users; ++u)
    for (Index c = 0; c < d; ++c) users(u, c) = mapped(seen.row(u), c);
  for (Index c = 0; c < d; ++c) users(n_users - 1, c) = 1e6;  // of no account
  const Adjacency lists{{0, 2, 2, 3}, {4, 29, 7}};
  Context<D> ctx({.threads = 2});
  const Matrix<double> rows = represent_users<D>(ctx, users.view(), items.view(), seen, lists, 1e-12);
  REQUIRE(rows.rows() == 3);
  for (Index c = 0; c < d; ++c) {
    CHECK(rows(0, c) == doctest::Approx(mapped(lists.row(0), c)).epsilon(1e-6));
    CHECK(rows(1, c) == 0);
    CHECK(rows(2, c) == doctest::Approx(mapped(lists.row(2), c)).epsilon(1e-6));
  }
  const Adjacency beyond{{0, 1}, {30}}, nobody = items_by_user({}, n_users);
  CHECK_THROWS_AS(represent_users<D>(ctx, users.view(), items.view(), seen, beyond), DataError);
  CHECK_THROWS_AS(represent_users<D>(ctx, users.view(), items.view(), nobody, lists), DataError);
  CHECK_THROWS_AS(represent_users<D>(ctx, users.view(), items.view(), lists, lists), ShapeError);
}

TEST_CASE("a new item is the mean of its nearest known ones, weighted by how near they are") {
  Context<B> ctx({.threads = 1});
  const auto known = rows_of<float>({{1, 0}, {0.6, 0.8}, {-1, 0}, {0, -1}});
  const auto items = rows_of<float>({{1, 0, 0}, {0, 2, 0}, {0, 0, 3}, {5, 5, 5}});
  const auto features = rows_of<float>({{1, 0}, {0, 1}, {0, 0}});
  const auto two = represent_items<B>(ctx, known.view(), items.view(), features.view(), 2);
  CHECK(two(0, 0) == doctest::Approx(1 / 1.6));
  CHECK(two(0, 1) == doctest::Approx(2 * 0.6 / 1.6));
  CHECK(two(0, 2) == 0);
  CHECK(two(1, 1) == doctest::Approx(2));  // the other neighbor has cosine 0
  CHECK(two(1, 0) == 0);
  for (Index c = 0; c < 3; ++c) CHECK(two(2, c) == 0);
  const auto all = represent_items<B>(ctx, known.view(), items.view(), features.view(), 99);  // none of negative weight
  CHECK(all(0, 1) == doctest::Approx(2 * 0.6 / 1.6));
  CHECK(all(0, 2) == 0);
  CHECK_THROWS_AS(represent_items<B>(ctx, known.view(), features.view(), features.view(), 2), ShapeError);
  CHECK_THROWS_AS(represent_items<B>(ctx, known.view(), items.view(), features.view(), 0), ConfigError);
}

TEST_CASE("modalities count alike, whatever their scale and width") {
  std::vector<Modality> modalities;
  modalities.push_back({"image", "", FeatureMatrix::from(rows_of<float>({{3, 4, 0}, {0, 0, 0}, {10, 0, 0}})), {}});
  modalities.push_back({"text", "", FeatureMatrix::from(rows_of<float>({{0.1}, {-0.2}, {7}})), {}});
  const std::vector<Id> rows = {2, 0, 1};
  const auto joined = joined_unit_features<double>(modalities, rows);
  const auto product = [&](Index a, Index b) {
    double sum = 0;
    for (Index c = 0; c < 4; ++c) sum += joined(a, c) * joined(b, c);
    return sum;
  };
  CHECK(product(0, 1) == doctest::Approx((0.6 + 1) / 2));
  CHECK(product(0, 0) == doctest::Approx(1));
  CHECK(product(0, 2) == doctest::Approx(-0.5));
}

TEST_CASE("modalities weigh by what their neighbors tell of known items") {
  Context<B> ctx({.threads = 1});
  Matrix<float> items(60, 4), alike(60, 4), noise(60, 4), constant(60, 1);
  for (Index i = 0; i < 60; ++i)
    for (Index c = 0; c < 4; ++c) {
      items(i, c) = (i % 4 == c ? 1.F : 0.F) +
                    static_cast<float>(0.1 * RandomKey{1, 0, 0}.normal(static_cast<std::uint64_t>(4 * i + c)));
      alike(i, c) = i % 4 == c ? 3 : 0.1F;
      noise(i, c) = static_cast<float>(RandomKey{1, 1, 0}.normal(static_cast<std::uint64_t>(4 * i + c)));
      constant(i, 0) = 1;
    }
  std::vector<Id> rows(60);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<Id>(i);
  std::vector<Modality> modalities;
  modalities.push_back({"noise", "", FeatureMatrix::from(std::move(noise)), {}});
  modalities.push_back({"alike", "", FeatureMatrix::from(std::move(alike)), {}});
  const auto weights = modality_weights<B>(ctx, modalities, rows, items.view(), 5);
  REQUIRE(weights.size() == 2);
  CHECK(weights[0] < 0.05);
  CHECK(weights[0] + weights[1] == doctest::Approx(1));
  // Weighted, joined rows have norm 1 and the products are the weighted cosines.
  const auto joined = joined_unit_features<double>(modalities, rows, std::vector<double>{0.25, 0.75});
  double norm = 0;
  for (Index c = 0; c < 8; ++c) norm += joined(3, c) * joined(3, c);
  CHECK(norm == doctest::Approx(1));
  CHECK_THROWS_AS(joined_unit_features<double>(modalities, rows, std::vector<double>{1}), ShapeError);
  // What tells nothing gets equal weights.
  modalities.clear();
  modalities.push_back({"one", "", FeatureMatrix::from(Matrix<float>(60, 2)), {}});
  modalities.push_back({"constant", "", FeatureMatrix::from(std::move(constant)), {}});
  Matrix<float> same(60, 2);
  for (Index i = 0; i < 60; ++i) same(i, 0) = 1;
  CHECK(modality_weights<B>(ctx, modalities, rows, same.view(), 5) == std::vector<double>{0.5, 0.5});
}

TEST_CASE("a folder's items join a model: new ones with their names, and those that nobody had") {
  Context<B> ctx({.threads = 1});
  SavedModel<B> model = small_model({"a", "b", "c"});
  const auto folder = folder_of({{0, 1}, {0, 2}, {5, 0}, {1, 0}, {0, 3}}, {"new", "b", "c", "a", "newer"});
  CHECK(add_items<B>(ctx, model, folder, 1) == std::vector<Id>{2, 3, 4});
  CHECK(model.item_names.names() == std::vector<std::string>{"a", "b", "c", "new", "newer"});
  REQUIRE(model.items.rows() == 5);
  CHECK(model.items(0, 0) == 1);
  CHECK(model.items(2, 0) == 1);  // as a, of whom it has the features
  CHECK(model.items(2, 1) == 0);
  CHECK(model.items(3, 1) == 2);  // as b
  CHECK(model.items(4, 1) == 2);
  // By number.
  model = small_model({});
  const auto rows = folder_of({{1, 0}, {0, 1}, {0, 1}, {1, 0}}, {});
  CHECK(add_items<B>(ctx, model, rows, 1) == std::vector<Id>{2, 3});
  CHECK(model.items(2, 1) == 2);
  CHECK(model.items(3, 0) == 1);
  model = small_model({"a", "b", "c"});
  CHECK(has(error_of<DataError>([&] { add_items<B>(ctx, model, rows); }), "items.tsv"));
  CHECK(add_items<B>(ctx, model, rows, 1, true).size() == 2);
  CHECK(model.item_names.empty());
  model = small_model({"a", "b", "c"});
  CHECK(has(error_of<DataError>([&] { add_items<B>(ctx, model, folder_of({{1, 0}}, {"new"})); }), "autumn"));
  CHECK(model.items.rows() == 3);
  const Folder dir;
  CHECK_THROWS_AS(read_item_folder(dir.path()), DataError);
  CHECK_THROWS_AS(read_item_folder(dir / "nowhere"), IoError);
  write_npy(dir / "text_feat.npy", std::vector<float>{1, 2, 3, 4}, {2, 2});
  dir.write("items.tsv", "number\tname\n0\tx\n1\ty\n");
  const ItemFolder read = read_item_folder(dir.path());
  CHECK(read.n_items == 2);
  CHECK(read.names[1] == "y");
  CHECK_THROWS_AS(read_item_folder(dir.path(), {"smell"}), ConfigError);
  write_npy(dir / "image_feat.npy", std::vector<float>{1, 2, 3}, {3, 1});
  CHECK_THROWS_AS(read_item_folder(dir.path()), DataError);
}

TEST_CASE("held-out users and items are ranked by a model that was trained without them") {
  const Dataset whole = make_synthetic();
  const auto trained = [](const Dataset& data) {
    auto settings = LightGcnConfig::preset("synthetic");
    settings.train.epochs = 12;
    settings.train.negatives = Negatives::exclude_train;
    Context<B> ctx({.threads = 2}, settings.train.seed);
    LightGcn<B> model(ctx, data, settings.model);
    const Folder folder;
    train(ctx, model, data, settings, {folder.path()});
    return load_model<B>(folder / "model.safetensors");
  };
  Context<B> ctx({.threads = 2});
  const Index cutoff[] = {20};
  const Metric recall[] = {Metric::recall};
  const auto value = [&](ConstView<float> users, ConstView<float> items, const Adjacency* masked,
                         const Adjacency& relevant) {
    return evaluate<B>(ctx, users, items, masked, relevant, cutoff, recall).at("recall@20");
  };
  SUBCASE("users by their items, better than popularity") {
    Dataset data = make_synthetic();
    data.train = filtered(data.train, [](Id u, Id) { return u % 10 != 0; });
    const SavedModel<B> model = trained(data);
    const Adjacency lists = items_by_user(filtered(whole.train, [](Id u, Id) { return u % 10 == 0; }), whole.n_users);
    const Adjacency relevant = items_by_user(filtered(whole.test, [](Id u, Id) { return u % 10 == 0; }), whole.n_users);
    const auto rows = represent_users<B>(ctx, model.users.view(), model.items.view(), model.seen, lists);
    const auto popular = popularity<float>(model.seen, data.n_items);
    const double by_items = value(rows.view(), model.items.view(), &lists, relevant);
    const double by_count = value(popular.user_rows.view(), popular.item_rows.view(), &lists, relevant);
    MESSAGE("held-out users, recall@20: " << by_items << ", popularity " << by_count);
    CHECK(by_items > 1.5 * by_count);
  }
  SUBCASE("items by their features, better than at random") {
    Dataset data = make_synthetic();
    for (Interactions* split : {&data.train, &data.valid, &data.test})
      *split = filtered(*split, [](Id, Id i) { return i % 10 != 0; });
    SavedModel<B> model = trained(data);
    ItemFolder folder;
    folder.n_items = data.n_items;
    folder.modalities = std::move(data.modalities);
    const std::vector<Id> fresh = add_items<B>(ctx, model, folder);
    const ItemSubset<float> subset(model.items.view(), fresh);
    const Adjacency relevant =
        items_by_user(filtered(whole.train, [](Id, Id i) { return i % 10 == 0; }), whole.n_users);
    const double by_features = value(model.users.view(), subset.rows(), nullptr, subset.renumber(relevant));
    const double at_random = 20 / static_cast<double>(fresh.size());
    MESSAGE("held-out items, recall@20: " << by_features << " of " << fresh.size() << ", at random " << at_random);
    CHECK(by_features > 2 * at_random);
  }
}

}  // namespace run_new_rows_test
