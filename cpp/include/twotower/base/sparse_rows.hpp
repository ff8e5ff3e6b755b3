#pragma once
// A matrix with few values a row, checked once.
#include <cstdint>
#include <span>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/base/types.hpp"

namespace twotower {

/// Row r has the values values()[offsets()[r] .. offsets()[r + 1]) in the columns of the same places.
///
/// Shapes      offsets (rows + 1)    columns, values (offsets.back())
/// Requires    columns in [0, num_columns); finite values. A column may come several times in a row: its values add up.
/// Throws      invalid_argument for offsets, sizes and values, out_of_range for columns; `name` begins the sentence
class SparseRows {
 public:
  SparseRows() : offsets_(1) {}
  SparseRows(const char* name, std::vector<std::int64_t> offsets, std::vector<Row> columns, std::vector<float> values,
             Index num_columns);

  /// From places in any order: value k stands at (rows[k], columns[k]). Within a row the order of the places stays.
  ///
  /// Shapes      rows, columns, values (n)
  static SparseRows of_pairs(const char* name, std::span<const Row> rows, std::span<const Row> columns,
                             std::span<const float> values, Index num_rows, Index num_columns);

  Index rows() const { return std::ssize(offsets_) - 1; }
  Index num_columns() const { return num_columns_; }
  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  const std::vector<Row>& columns() const { return columns_; }
  const std::vector<float>& values() const { return values_; }

  Index size_of(Index row) const { return offsets_[static_cast<std::size_t>(row) + 1] - offsets_[static_cast<std::size_t>(row)]; }
  std::span<const Row> columns_of(Index row) const { return part(columns_, row); }
  std::span<const float> values_of(Index row) const { return part(values_, row); }

  /// Columns become rows; within a row of the result columns ascend.
  SparseRows transposed() const;

  /// The product with `other`, which has a row for each column of this. Columns of a row ascend, each once; sums in double, in
  /// the order of this row.
  ///
  /// Cost        additions: over all values of this the length of the other's row; a double and a mark a column of `other` for
  ///             every block of rows at work
  SparseRows times(const SparseRows& other, const Threads& threads) const;

  /// Every row divided by its length (the root of its sum of squares), in double; rows of zeros stay.
  SparseRows unit_rows() const;

 private:
  template <class T>
  std::span<const T> part(const std::vector<T>& all, Index row) const {
    return {all.data() + offsets_[static_cast<std::size_t>(row)], static_cast<std::size_t>(size_of(row))};
  }

  std::vector<std::int64_t> offsets_;
  std::vector<Row> columns_;
  std::vector<float> values_;
  Index num_columns_ = 0;
};

}  // namespace twotower
