/// @file parameters_test.cpp
/// The store of parameters, and their initial values.

#include "tests/support/gradient_check.hpp"

#include <cstdint>
#include <string>

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

TEST_CASE("initial values are functions of seed and name, with the asked-for spread") {
  const auto normal = [](const char* name, std::uint64_t seed) {
    DoubleParameter p(name, 200, 100);
    init_xavier_normal(p, seed);
    return p;
  };
  const auto a = normal("a", 1);
  const auto values = to_host(a.value);
  const double mean_square = sum_of(values.size(), [&](Index i) { return values.data()[i] * values.data()[i]; }) /
                             static_cast<double>(values.size());
  CHECK(mean_square == doctest::Approx(2.0 / 300).epsilon(0.05));
  CHECK(to_host(normal("a", 1).value)(3, 4) == values(3, 4));
  CHECK(to_host(normal("b", 1).value)(3, 4) != values(3, 4));
  CHECK(to_host(normal("a", 2).value)(3, 4) != values(3, 4));
}
