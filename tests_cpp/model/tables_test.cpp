#include "twotower/model/tables.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/small_towers.hpp"

using namespace twotower;
using model::add_tables;
using model::TableSpec;

TEST_CASE("add_tables: appends tables with first values by seed and number") {
  nn::Parameters<float> parameters;
  add_tables<float>("Model", {{"users", 300, 8}}, 0.1, 3, parameters);
  add_tables<float>("Model", {{"items", 200, 4}, {"tags", 5, 2}}, 0.1, 3, parameters);
  REQUIRE(parameters.tables.size() == 3);
  CHECK(parameters.tables[1].name == "items");
  CHECK(parameters.tables[1].values.rows() == 200);
  CHECK(parameters.tables[2].values.cols() == 2);
  Matrix<float> wanted(200, 4);
  nn::initialize_rows(wanted, 0.1, 3, 1);
  CHECK(test::same_bits(parameters.tables[1].values, wanted));
  const auto& values = parameters.tables[0].values;
  CHECK(std::sqrt(values.squaredNorm() / static_cast<float>(values.size())) == Approx(0.1).epsilon(0.1));
}

TEST_CASE("add_tables: a deviation of 0 gives zeros") {
  nn::Parameters<double> parameters;
  add_tables<double>("Model", {{"biases", 4, 1}}, 0, 3, parameters);
  CHECK(parameters.tables[0].values == Matrix<double>::Zero(4, 1));
}

TEST_CASE("add_tables: refuses empty tables, names twice and deviations that are none") {
  const auto add = [](const std::vector<TableSpec>& specs, double deviation) {
    nn::Parameters<float> parameters;
    add_tables<float>("Model", specs, deviation, 3, parameters);
  };
  CHECK_THROWS_WITH(add({{"a", 0, 2}}, 0.1), "Model: rows of table 'a' is 0, but must be at least 1");
  CHECK_THROWS_WITH(add({{"a", 2, 0}}, 0.1), "Model: width of table 'a' is 0, but must be at least 1");
  CHECK_THROWS_WITH(add({{"a", 2, 2}, {"b", 2, 2}, {"a", 2, 2}}, 0.1),
                    "Model: the name of table 2 is 'a', but another table has it; give each its own");
  for (const double deviation : {-1.0, std::numeric_limits<double>::infinity(), std::nan("")})
    CHECK_THROWS_WITH(add({{"a", 2, 2}}, deviation), "Model: deviation is " +
                                                         std::string(std::isnan(deviation) ? "nan"
                                                                     : deviation < 0       ? "-1"
                                                                                           : "inf") +
                                                         ", but must be a finite number of at least 0");
}
