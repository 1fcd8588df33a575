/// @file edge_attention_gradients_test.cpp
/// Finite differences of attention over edges and of propagation with the weights that it gives.

#include "tests/support/gradient_check.hpp"

namespace autodiff_edge_attention_gradients_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;
using Pattern = SparsePattern<TestMemory>;

TEST_CASE("gradients of edge_softmax") {
  const Csr<double> places = random_csr<double>(9, 40, 0.4, 1);
  const Pattern at(places);
  auto values = random_parameter(places.nonzeros(), 1, 1);
  check_gradients({&values}, [&](DoubleTape&, const Vars& v) { return edge_softmax(at, v[0]); });
}

TEST_CASE("gradients of scale_columns, of factors that are a column of a wider array too") {
  const Csr<double> places = random_csr<double>(9, 6, 0.4, 1);
  const Pattern at(places);
  auto values = random_parameter(places.nonzeros(), 1, 1);
  auto factors = random_parameter(6, 3, 2);
  for (const Index m : {0, 2})
    check_gradients({&values, &factors},
                    [&](DoubleTape&, const Vars& v) { return scale_columns(at, v[0], v[1].cols(m, 1)); });
  check_gradients({&values}, [&](DoubleTape& tape, const Vars& v) {
    return scale_columns(at, v[0], tape.constant(factors.value()).cols(1, 1));
  });
  check_gradients({&factors}, [&](DoubleTape& tape, const Vars& v) {
    return scale_columns(at, tape.constant(values.value()), v[0].cols(1, 1));
  });
}

TEST_CASE("gradients through attention among nodes and propagation with its weights") {
  const Pattern at(random_csr<double>(8, 8, 0.5, 3));
  auto x = random_parameter(8, 3, 1);
  auto factors = random_parameter(8, 2, 2);
  auto h = random_parameter(8, 4, 3);
  check_gradients({&x, &factors, &h}, [&](DoubleTape&, const Vars& v) {
    const DoubleVar a = edge_softmax(at, sddmm(at, v[0], v[0]));
    const DoubleVar first = relu(scale_columns(at, a, v[1].cols(0, 1)));
    const DoubleVar second = scale_columns(at, a, v[1].cols(1, 1));
    const DoubleVar w = first + relu(second - first);
    return concat_columns<Double>({spmm(at, w, spmm(at, w, v[2])), spmm(at, a, v[0])});
  });
}

}  // namespace autodiff_edge_attention_gradients_test
