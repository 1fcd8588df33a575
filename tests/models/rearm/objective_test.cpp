/// @file objective_test.cpp
/// The parts of the objective: orthogonality between one, two and three modalities in plain loops and by finite
/// differences, and which parts are there at all.

#include "tests/support/modalities.hpp"

#include <rearm/models/rearm/objective.hpp>

#include <utility>

namespace models_rearm_objective_test {

using namespace rearm;
using namespace rearm::test;

namespace {

Matrix<double> centered(const Matrix<double>& x) {
  return tabulate(x.rows(), x.cols(), [&](Index i, Index j) {
    return x(i, j) - sum_of(x.rows(), [&](Index r) { return x(r, j); }) / static_cast<double>(x.rows());
  });
}
/// What the authors divide a centered row by.
std::vector<double> divisors(const Matrix<double>& x) {
  const Matrix<double> c = centered(x);
  std::vector<double> out;
  for (Index i = 0; i < x.rows(); ++i)
    out.push_back(std::sqrt(sum_of(x.cols(), [&](Index j) { return c(i, j) * c(i, j); })) + 1e-6);
  return out;
}
/// Mean of the squared entries of V^T T, rows centered and divided by the given numbers.
double frozen_orthogonality(const Matrix<double>& v, const std::vector<double>& by_v, const Matrix<double>& t,
                            const std::vector<double>& by_t) {
  const Matrix<double> cv = centered(v);
  const Matrix<double> ct = centered(t);
  return sum_of(v.cols(),
                [&](Index a) {
                  return sum_of(v.cols(), [&](Index b) {
                    return std::pow(sum_of(v.rows(),
                                           [&](Index i) {
                                             const auto at = static_cast<std::size_t>(i);
                                             return cv(i, a) / by_v[at] * ct(i, b) / by_t[at];
                                           }),
                                    2);
                  });
                }) /
         static_cast<double>(v.cols() * v.cols());
}

RearmConfig objective_config(Variant variant) {
  RearmConfig c;
  c.variant = variant;
  c.use_orthogonal = true;
  c.cl_weight = 0.3;
  c.ort_weight = 0.7;
  return c;
}

constexpr Index objective_users = 9, objective_items = 6;
/// Every user once; items repeat.
const Batch objective_batch = {{3, 0, 8, 1, 7, 2, 6, 5, 4}, {2, 5, 2, 0, 1, 1, 2, 4, 5}, {0, 1, 3, 3, 4, 0, 2, 2, 5}};

/// Rows begin + ids of x.
Matrix<double> rows_of(const Matrix<double>& x, Index begin, const std::vector<Id>& ids) {
  return tabulate(static_cast<Index>(ids.size()), x.cols(),
                  [&](Index i, Index j) { return x(begin + ids[static_cast<std::size_t>(i)], j); });
}

/// The orthogonality of a variant, on a tape of the context.
struct Orthogonality {
  RearmConfig config;
  BatchThere there{objective_batch};
  explicit Orthogonality(Variant variant) : config(objective_config(variant)) {}
  DoubleVar operator()(DoubleTape& tape, const std::vector<DoubleVar>& modal) const {
    const BatchIds<Double> ids(tape.context(), there, objective_users, objective_items);
    return make_objective<Double>(config)->orthogonality(tape.list(modal), ids);
  }
};

}  // namespace

TEST_CASE("one modality has neither contrast nor orthogonality, nor has any number with a weight of zero") {
  for (const Variant variant : {Variant::reference, Variant::paper})
    for (const std::size_t count : {1U, 2U}) {
      CAPTURE(to_string(variant));
      CAPTURE(count);
      Sandbox<double> s;
      auto in = modalities(count, objective_users + objective_items, 3);
      const VarList<Double> modal = s.tape.list(vars_of(s.tape, in));
      const BatchThere there(objective_batch);
      const BatchIds<Double> ids(s.ctx, there, objective_users, objective_items);
      RearmConfig c = objective_config(variant);
      CHECK(make_objective<Double>(c)->contrast(modal, ids).empty() == (count == 1));
      CHECK(make_objective<Double>(c)->orthogonality(modal, ids).empty() == (count == 1));
      c.use_orthogonal = false;
      CHECK(make_objective<Double>(c)->orthogonality(modal, ids).empty());
      CHECK(make_objective<Double>(c)->contrast(modal, ids).empty() == (count == 1));
      c = objective_config(variant);
      c.cl_weight = c.ort_weight = 0;
      CHECK(make_objective<Double>(c)->contrast(modal, ids).empty());
      CHECK(make_objective<Double>(c)->orthogonality(modal, ids).empty());
    }
}

TEST_CASE("only the printed objective has a squared norm, of what is trained") {
  Sandbox<double> s;
  ParameterStore<Double> store;
  for (const char* name : {"a", "b", "fixed"}) set(store.add(name, 3, 4), random_matrix<double>(3, 4, 5));
  store.find("fixed")->trainable = false;
  RearmConfig c = objective_config(Variant::paper);
  CHECK(make_objective<Double>(c)->l2(s.tape, store).empty());
  c.l2_weight = 0.1;
  const Matrix<double> x = random_matrix<double>(3, 4, 5);
  const double square = sum_of(12, [&](Index i) { return x.data()[i] * x.data()[i]; });
  CHECK(scalar(make_objective<Double>(c)->l2(s.tape, store)) == doctest::Approx(0.1 * 2 * square).epsilon(1e-12));
  CHECK(make_objective<Double>(objective_config(Variant::reference))->l2(s.tape, store).empty());
}

TEST_CASE("orthogonality as printed: value and gradients") {
  for (const std::size_t count : {2U, 3U}) {
    auto in = modalities(count, objective_users + objective_items, 4);
    const auto x = values_of(in);
    Sandbox<double> s;
    const Orthogonality orthogonality(Variant::paper);
    const double want = mean_over_pairs(x, [&](std::size_t a, std::size_t b) {
      return 0.7 * sum_of(objective_users + objective_items, [&](Index i) {
               return std::pow(sum_of(4, [&](Index j) { return x[a](i, j) * x[b](i, j); }), 2);
             });
    });
    CHECK(scalar(orthogonality(s.tape, vars_of(s.tape, in))) == doctest::Approx(want).epsilon(1e-12));
    check_gradients(pointers(in), orthogonality);
  }
}

TEST_CASE("the authors' orthogonality: value, and gradients with the divisors held") {
  for (const std::size_t count : {2U, 3U}) {
    auto in = modalities(count, objective_users + objective_items, 4);
    const std::pair<Index, const std::vector<Id>*> sides[] = {{0, &objective_batch.users},
                                                              {objective_users, &objective_batch.positives}};
    const auto gathered = [&](Index begin, const std::vector<Id>& ids) {
      std::vector<Matrix<double>> rows;
      for (const Matrix<double>& x : values_of(in)) rows.push_back(rows_of(x, begin, ids));
      return rows;
    };
    std::vector<std::vector<double>> held[2];
    for (std::size_t side = 0; side < 2; ++side)
      for (const Matrix<double>& rows : gathered(sides[side].first, *sides[side].second))
        held[side].push_back(divisors(rows));
    const auto want = [&] {
      double sum = 0;
      for (std::size_t side = 0; side < 2; ++side) {
        const auto rows = gathered(sides[side].first, *sides[side].second);
        const auto& by = held[side];
        sum += mean_over_pairs(rows, [&](std::size_t a, std::size_t b) {
          return 0.7 * frozen_orthogonality(rows[a], by[a], rows[b], by[b]);
        });
      }
      return sum;
    };
    Sandbox<double> s;
    const DoubleVar loss = Orthogonality(Variant::reference)(s.tape, vars_of(s.tape, in));
    CHECK(scalar(loss) == doctest::Approx(want()).epsilon(1e-12));
    s.tape.backward(loss);
    for (DoubleParameter& p : in) {
      const Matrix<double> gradient = gradient_of(p);
      check_gradient(p.name, gradient, central_differences(p.value(), want, gradient));
    }
  }
}

}  // namespace models_rearm_objective_test
