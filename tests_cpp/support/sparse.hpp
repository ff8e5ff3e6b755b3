#pragma once
#include <utility>
#include <vector>

#include "twotower/base/random.hpp"
#include "twotower/base/sparse_rows.hpp"
#include "twotower/base/types.hpp"

namespace twotower::test {

/// About `share` of the places hold a whole number of 1 to 3; columns ascend within a row.
inline SparseRows random_sparse(Index rows, Index columns, double share, std::uint64_t number) {
  RandomStream random(number, Purpose::kTest);
  std::vector<std::int64_t> offsets{0};
  std::vector<Row> places;
  std::vector<float> values;
  for (Index row = 0; row < rows; ++row) {
    for (Index column = 0; column < columns; ++column)
      if (random.uniform() < share) {
        places.push_back(static_cast<Row>(column));
        values.push_back(static_cast<float>(1 + random.below(3)));
      }
    offsets.push_back(std::ssize(places));
  }
  return {"random_sparse", std::move(offsets), std::move(places), std::move(values), columns};
}

inline Matrix<float> dense(const SparseRows& rows) {
  Matrix<float> matrix = Matrix<float>::Zero(rows.rows(), rows.num_columns());
  for (Index row = 0; row < rows.rows(); ++row)
    for (std::size_t k = 0; k < rows.columns_of(row).size(); ++k) matrix(row, rows.columns_of(row)[k]) += rows.values_of(row)[k];
  return matrix;
}

}  // namespace twotower::test
