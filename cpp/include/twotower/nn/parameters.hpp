#pragma once
// Everything a model learns: one arena for the layers, one table an embedding. Specifications say what the numbers mean.
#include <string>
#include <vector>

#include "twotower/base/memory.hpp"
#include "twotower/base/random.hpp"
#include "twotower/base/types.hpp"

namespace twotower::nn {

/// Vectors of codes, one row a code; touched a few rows at a time.
template <class Scalar>
struct Table {
  std::string name;
  Matrix<Scalar> values;  // (rows, width)

  ConstRowMap<Scalar> view() const { return {values.data(), values.rows(), values.cols(), Eigen::OuterStride<>(values.cols())}; }
};

template <class Scalar>
struct Parameters {
  std::vector<Scalar> arena;  // of all layers, touched whole
  std::vector<Table<Scalar>> tables;
};

/// A matrix of a table's size, not filled yet, on huge pages where the system gives them.
template <class Scalar>
Matrix<Scalar> rows_on_huge_pages(Index rows, Index width) {
  Matrix<Scalar> made(rows, width);
  prefer_huge_pages(made.data(), static_cast<std::size_t>(made.size()) * sizeof(Scalar));
  return made;
}

/// Fills a table with numbers from N(0, deviation); row r depends on (seed, table, r) alone, so a table can grow.
template <class Scalar>
void initialize_rows(Matrix<Scalar>& values, double deviation, std::uint64_t seed, std::uint64_t table) {
  for (Index row = 0; row < values.rows(); ++row) {
    RandomStream stream(seed, Purpose::kInitialize, table, static_cast<std::uint64_t>(row));
    for (Index k = 0; k < values.cols(); ++k) values(row, k) = static_cast<Scalar>(deviation * stream.normal());
  }
}

/// Gives the first rows of a table that has grown their known values. A further row becomes row 0, that of the unknown, plus its
/// own first values: until it has learned something it is nobody in particular.
///
/// Requires    known (n, width) with n at most the rows of values
template <class Scalar>
void take_known_rows(Matrix<Scalar>& values, const ConstRowMap<Scalar>& known) {
  values.topRows(known.rows()) = known;
  if (known.rows() > 0) values.bottomRows(values.rows() - known.rows()).rowwise() += known.row(0);
}

}  // namespace twotower::nn
