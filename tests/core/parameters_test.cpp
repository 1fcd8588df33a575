/// @file parameters_test.cpp
/// The store of parameters, and their initial values.

#include "tests/support/gradient_check.hpp"

#include <cstdint>
#include <string>

namespace core_parameters_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE("the store finds by name, refuses a name twice, keeps addresses") {
  ParameterStore<Double> store;
  DoubleParameter* first = &store.add("a", 2, 3);
  for (int i = 0; i < 100; ++i) store.add("p" + std::to_string(i), 1, 1);
  CHECK(store.find("a") == first);
  CHECK(store.find("b") == nullptr);
  CHECK(store.n_scalars() == 106);
  CHECK_THROWS_WITH_AS(store.add("a", 1, 1), "parameter 'a' exists already", ConfigError);
}

TEST_CASE("parameters of a store lie in one array, on cache lines, and stay what they are when it grows") {
  ParameterStore<Double> store;
  DoubleParameter& a = store.add("a", 3, 5);
  DoubleParameter& b = store.add("b", 2, 2);
  init_constant(a, 2.0);
  init_constant(b, 3.0);
  CHECK(b.value().data - a.value().data == 16);
  CHECK(b.grad().data - a.grad().data == 16);
  CHECK(store.arrays().size() == 24);
  put(a.value(), 14, 7.0);
  put(a.grad(), 0, 8.0);
  DoubleParameter& later = store.add("later", 100, 100);
  init_constant(later, 4.0);
  CHECK(to_host(later.value())(99, 99) == 4.0);
  CHECK(to_host(later.grad())(99, 99) == 0.0);
  CHECK(to_host(a.value())(2, 4) == 7.0);
  CHECK(to_host(a.value())(0, 0) == 2.0);
  CHECK(to_host(a.grad())(0, 0) == 8.0);
  CHECK(to_host(b.value())(1, 1) == 3.0);
  init_constant(b, 5.0);  // also when there are values
  CHECK(to_host(b.value())(1, 1) == 5.0);
  CHECK(b.value().data - a.value().data == 16);
}

TEST_CASE("tables stand beside the parameters and share their names") {
  ParameterStore<Double> store;
  store.add("a", 2, 3);
  DoubleTable& table = store.add_table("table", 4, 5);
  DoubleTable& rounded = store.add_table("rounded", 4, 5, true);
  CHECK_FALSE(table.rounded());
  CHECK(rounded.rounded());
  CHECK(rounded.cols() == 5);
  CHECK(store.find_table("table") == &table);
  CHECK(store.find("table") == nullptr);
  CHECK(store.n_scalars() == 46);
  std::string names;
  store.for_each([&](const auto& x) { names += x.name + " "; });
  CHECK(names == "a table rounded ");
  CHECK_THROWS_AS(store.add("table", 1, 1), ConfigError);
  CHECK_THROWS_AS(store.add_table("a", 1, 1), ConfigError);
}

TEST_CASE("initial values are functions of seed and name, with the asked-for spread") {
  const auto normal = [](const char* name, std::uint64_t seed) {
    DoubleParameter p(name, 200, 100);
    init_xavier_normal(p, seed);
    return p;
  };
  const auto a = normal("a", 1);
  const auto values = to_host(a.value());
  const double mean_square = sum_of(values.size(), [&](Index i) { return values.data()[i] * values.data()[i]; }) /
                             static_cast<double>(values.size());
  CHECK(mean_square == doctest::Approx(2.0 / 300).epsilon(0.05));
  CHECK(to_host(normal("a", 1).value())(3, 4) == values(3, 4));
  CHECK(to_host(normal("b", 1).value())(3, 4) != values(3, 4));
  CHECK(to_host(normal("a", 2).value())(3, 4) != values(3, 4));
}

}  // namespace core_parameters_test
