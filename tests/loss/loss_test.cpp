/// @file loss_test.cpp
/// Named parts of a loss: their sum, what is left out, and their numbers.

#include "tests/support/gradient_check.hpp"

#include <rearm/loss/loss.hpp>

#include <vector>

namespace loss_test {

using namespace rearm;
using namespace rearm::test;

TEST_CASE("a loss is the sum of its parts, in their order; an empty one is left out") {
  auto x = random_parameter(3, 4, 1);
  auto y = random_parameter(2, 2, 2);
  Sandbox<double> s;
  const auto parts = [](DoubleVar a, DoubleVar b) {
    Loss<Double> loss = {{"first", sum_of_squares(a, 0.5)}, {"none", {}}};
    loss.add("second", sum_of_squares(b, 2.0));
    return loss;
  };
  const Loss<Double> loss = parts(s.tape.parameter(x), s.tape.parameter(y));
  REQUIRE(loss.parts().size() == 2);
  CHECK(loss.parts()[0].name == "first");
  CHECK(loss.parts()[1].name == "second");
  CHECK(loss.part("none").empty());
  CHECK(loss.part("other").empty());
  const LossValues values = loss_values(loss, loss.total());
  CHECK(values.total == doctest::Approx(values.at("first") + values.at("second")).epsilon(1e-15));
  CHECK(values.at("first") == scalar(loss.part("first")));
  CHECK(values.at("other") == 0);
  check_gradients({&x, &y}, [&](DoubleTape&, const std::vector<DoubleVar>& v) { return parts(v[0], v[1]).total(); });

  const Loss<Double> alone = {{"only", loss.part("first")}};
  CHECK(scalar(alone.total()) == scalar(loss.part("first")));
}

TEST_CASE("a loss without parts, or with more than there is room for, is refused") {
  auto x = random_parameter(1, 1, 1);
  Sandbox<double> s;
  const DoubleVar value = s.tape.parameter(x);
  Loss<Double> loss;
  CHECK_THROWS_AS(loss.total(), ConfigError);
  loss.add("none", {});
  CHECK_THROWS_AS(loss.total(), ConfigError);
  for (std::size_t i = 0; i < max_loss_parts; ++i) loss.add("part", value);
  CHECK_THROWS_WITH_AS(loss.add("one more", value), doctest::Contains("at most 8 parts"), ConfigError);
  CHECK(loss.parts().size() == max_loss_parts);
}

TEST_CASE("numbers of a loss are averaged part by part") {
  LossValues mean;
  for (const double x : {1.0, 3.0}) {
    LossValues step;
    step.total = 3 * x;
    step.n_parts = 2;
    step.part[0] = {"a", x};
    step.part[1] = {"b", 2 * x};
    mean += step;
  }
  mean /= 2;
  CHECK(mean.total == 6);
  CHECK(mean.at("a") == 2);
  CHECK(mean.at("b") == 4);
  REQUIRE(mean.parts().size() == 2);
  CHECK(mean.parts()[1].name == "b");
}

}  // namespace loss_test
