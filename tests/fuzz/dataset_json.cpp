// dataset.json, beside a small data set.
#include "fuzz.hpp"

#include <rearm/data/load_dataset.hpp>

#include <string>

namespace rearm::fuzz::dataset_json {

void check(const std::string& bytes) {
  static const bool written =
      (folder().write("pairs.inter", "userID\titemID\tx_label\n0\t0\t0\n1\t2\t0\n1\t0\t1\n0\t1\t2\n"), true);
  folder().write("dataset.json", bytes);
  const Dataset data = load_dataset(folder().path());
  require(written && data.n_users >= 2 && data.n_items >= 3, "a number of ids is beyond the largest");
  require(data.train.size() == 2 && data.modalities.empty(), "dataset.json changes no pairs");
}

}  // namespace rearm::fuzz::dataset_json
