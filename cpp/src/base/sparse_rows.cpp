#include "twotower/base/sparse_rows.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "twotower/base/check.hpp"

namespace twotower {
namespace {

constexpr Index kRowBlock = 256;  // rows of a product that share scratch

}  // namespace

SparseRows::SparseRows(const char* name, std::vector<std::int64_t> offsets, std::vector<Row> columns, std::vector<float> values,
                       Index num_columns)
    : offsets_(std::move(offsets)), columns_(std::move(columns)), values_(std::move(values)), num_columns_(num_columns) {
  check_size(name, "the number of values", std::ssize(values_), "the number of columns", std::ssize(columns_));
  check_offsets(name, "offsets", offsets_, std::ssize(columns_));
  check_rows(name, "columns", columns_, num_columns);
  check_finite(name, "values", values_);
}

SparseRows SparseRows::of_pairs(const char* name, std::span<const Row> rows, std::span<const Row> columns,
                                std::span<const float> values, Index num_rows, Index num_columns) {
  check_size(name, "the number of rows", std::ssize(rows), "the number of columns", std::ssize(columns));
  check_size(name, "the number of values", std::ssize(values), "the number of columns", std::ssize(columns));
  check_rows(name, "rows", rows, num_rows);
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(num_rows) + 1);
  for (const Row row : rows) ++offsets[static_cast<std::size_t>(row) + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  std::vector<std::int64_t> next(offsets.begin(), offsets.end() - 1);
  std::vector<Row> sorted_columns(columns.size());
  std::vector<float> sorted_values(values.size());
  for (std::size_t k = 0; k < rows.size(); ++k) {
    const auto place = static_cast<std::size_t>(next[static_cast<std::size_t>(rows[k])]++);
    sorted_columns[place] = columns[k];
    sorted_values[place] = values[k];
  }
  return {name, std::move(offsets), std::move(sorted_columns), std::move(sorted_values), num_columns};
}

SparseRows SparseRows::transposed() const {
  SparseRows result;
  result.num_columns_ = rows();
  result.offsets_.assign(static_cast<std::size_t>(num_columns_) + 1, 0);
  for (const Row column : columns_) ++result.offsets_[static_cast<std::size_t>(column) + 1];
  std::partial_sum(result.offsets_.begin(), result.offsets_.end(), result.offsets_.begin());
  result.columns_.resize(columns_.size());
  result.values_.resize(values_.size());
  std::vector<std::int64_t> next(result.offsets_.begin(), result.offsets_.end() - 1);
  for (Index row = 0; row < rows(); ++row)
    for (std::size_t k = 0; k < columns_of(row).size(); ++k) {
      const auto place = static_cast<std::size_t>(next[static_cast<std::size_t>(columns_of(row)[k])]++);
      result.columns_[place] = static_cast<Row>(row);
      result.values_[place] = values_of(row)[k];
    }
  return result;
}

SparseRows SparseRows::times(const SparseRows& other, const Threads& threads) const {
  check_size("SparseRows.times", "the number of columns", num_columns_, "the number of rows of the other", other.rows());
  SparseRows result;
  result.num_columns_ = other.num_columns_;
  result.offsets_.assign(offsets_.size(), 0);
  struct Part {
    std::vector<Row> columns;
    std::vector<float> values;
  };
  std::vector<Part> parts(static_cast<std::size_t>((rows() + kRowBlock - 1) / kRowBlock));
  threads.for_blocks(rows(), kRowBlock, [&](Index begin, Index end, Index block) {
    Part& part = parts[static_cast<std::size_t>(block)];
    std::vector<double> sums(static_cast<std::size_t>(other.num_columns_));
    std::vector<std::uint8_t> met(sums.size());
    std::vector<Row> found;
    for (Index row = begin; row < end; ++row) {
      found.clear();
      for (std::size_t k = 0; k < columns_of(row).size(); ++k) {
        const Index inner = columns_of(row)[k];
        const double factor = values_of(row)[k];
        const std::span<const Row> columns = other.columns_of(inner);
        const std::span<const float> values = other.values_of(inner);
        for (std::size_t l = 0; l < columns.size(); ++l) {
          const auto place = static_cast<std::size_t>(columns[l]);
          if (met[place] == 0) found.push_back(columns[l]);
          met[place] = 1;
          sums[place] += factor * static_cast<double>(values[l]);
        }
      }
      std::sort(found.begin(), found.end());
      for (const Row column : found) {
        const auto place = static_cast<std::size_t>(column);
        part.columns.push_back(column);
        part.values.push_back(static_cast<float>(sums[place]));
        sums[place] = 0;
        met[place] = 0;
      }
      result.offsets_[static_cast<std::size_t>(row) + 1] = std::ssize(found);
    }
  });
  std::partial_sum(result.offsets_.begin(), result.offsets_.end(), result.offsets_.begin());
  result.columns_.reserve(static_cast<std::size_t>(result.offsets_.back()));
  result.values_.reserve(static_cast<std::size_t>(result.offsets_.back()));
  for (const Part& part : parts) {
    result.columns_.insert(result.columns_.end(), part.columns.begin(), part.columns.end());
    result.values_.insert(result.values_.end(), part.values.begin(), part.values.end());
  }
  return result;
}

SparseRows SparseRows::unit_rows() const {
  SparseRows result = *this;
  for (Index row = 0; row < rows(); ++row) {
    double squares = 0;
    for (const float value : values_of(row)) squares += static_cast<double>(value) * static_cast<double>(value);
    if (squares == 0) continue;
    float* values = result.values_.data() + offsets_[static_cast<std::size_t>(row)];
    for (Index k = 0; k < size_of(row); ++k) values[k] = static_cast<float>(static_cast<double>(values[k]) / std::sqrt(squares));
  }
  return result;
}

}  // namespace twotower
