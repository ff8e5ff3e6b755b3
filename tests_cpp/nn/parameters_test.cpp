#include "twotower/nn/parameters.hpp"

#include <cmath>

#include "support/catch.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::initialize_rows;
using twotower::nn::Table;

namespace {

template <class Scalar>
Matrix<Scalar> initialized(Index rows, Index width, double deviation, std::uint64_t seed, std::uint64_t table) {
  Matrix<Scalar> values(rows, width);
  initialize_rows(values, deviation, seed, table);
  return values;
}

}  // namespace

TEST_CASE("Table: view shows its rows without a copy") {
  const Table<float> table{"items", Matrix<float>::Random(3, 5)};
  const auto view = table.view();
  CHECK(view.data() == table.values.data());
  CHECK(view == table.values);
  const Table<float> empty{"none", Matrix<float>(0, 5)};
  CHECK(empty.view().rows() == 0);
}

TEST_CASE("initialize_rows: a row depends on seed, table and its number alone, so a table can grow") {
  const auto table = initialized<float>(5, 7, 0.1, 3, 1);
  CHECK(initialized<float>(9, 7, 0.1, 3, 1).topRows(5) == table);
  CHECK(initialized<float>(5, 3, 0.1, 3, 1) == table.leftCols(3));
  CHECK(initialized<float>(5, 7, 0.1, 4, 1) != table);
  CHECK(initialized<float>(5, 7, 0.1, 3, 2) != table);
  CHECK(table.row(0) != table.row(1));
}

TEST_CASE("initialize_rows: float is the rounded double, zero deviation gives zeros") {
  CHECK(initialized<double>(5, 7, 0.1, 3, 1).cast<float>() == initialized<float>(5, 7, 0.1, 3, 1));
  CHECK(initialized<float>(5, 7, 0, 3, 1).isZero(0));
}

TEST_CASE("initialize_rows: mean 0 and the deviation that was asked for") {
  const double deviation = GENERATE(0.01, 1.0);
  const auto table = initialized<double>(1000, 20, deviation, 3, 0);
  const double count = 20000;  // five standard errors of mean and variance
  CHECK(std::abs(table.mean()) < 5 * deviation / std::sqrt(count));
  CHECK(std::abs(table.squaredNorm() / count / (deviation * deviation) - 1) < 5 * std::sqrt(2 / count));
}

TEST_CASE("initialize_rows: no rows and no columns are nothing to do") {
  CHECK(initialized<float>(0, 7, 0.1, 3, 1).rows() == 0);
  CHECK(initialized<float>(3, 0, 0.1, 3, 1).size() == 0);
}

TEST_CASE("take_known_rows: known rows keep their values, further ones begin at row 0 with their own") {
  const twotower::Matrix<double> known = (twotower::Matrix<double>(2, 2) << 1, 2, 3, 4).finished();
  twotower::Matrix<double> values = (twotower::Matrix<double>(4, 2) << 9, 9, 9, 9, 0.5, 0.25, -1, 0).finished();
  const auto view = [](const twotower::Matrix<double>& of, Eigen::Index rows) {
    return twotower::ConstRowMap<double>(of.data(), rows, 2, Eigen::OuterStride<>(2));
  };
  twotower::nn::take_known_rows(values, view(known, 2));
  CHECK(values == (twotower::Matrix<double>(4, 2) << 1, 2, 3, 4, 1.5, 2.25, 0, 2).finished());
  const twotower::Matrix<double> before = values;
  twotower::nn::take_known_rows(values, view(known, 0));
  CHECK(values == before);
}
