#include "twotower/data/feature_table.hpp"

#include <cmath>

#include "twotower/base/check.hpp"

namespace twotower::data {
namespace {

constexpr const char* kName = "FeatureTable";

template <class T>
std::vector<T> copy(std::span<const T> values) {
  return {values.begin(), values.end()};
}

}  // namespace

FeatureTable::FeatureTable(Index rows) : rows_(rows) { check_at_least(kName, "rows", rows, 1); }

Index FeatureTable::add_codes(std::span<const Row> codes, Index vocabulary) {
  check_size(kName, "size of codes", std::ssize(codes), "rows", rows_);
  check_rows(kName, "codes", codes, vocabulary);
  columns_.emplace_back(Codes{copy(codes), vocabulary});
  return columns() - 1;
}

Index FeatureTable::add_bags(std::span<const std::int64_t> offsets, std::span<const Row> codes,
                             std::optional<std::span<const float>> weights, Index vocabulary) {
  check_size(kName, "size of offsets", std::ssize(offsets), "rows + 1", rows_ + 1);
  check_offsets(kName, "offsets", offsets, std::ssize(codes));
  check_rows(kName, "codes", codes, vocabulary);
  if (weights) {
    check_size(kName, "size of weights", std::ssize(*weights), "size of codes", std::ssize(codes));
    check_finite(kName, "weights", *weights);
    check_not_negative(kName, "weights", *weights);
  }
  columns_.emplace_back(Bags{copy(offsets), copy(codes), weights ? copy(*weights) : std::vector<float>(), vocabulary});
  return columns() - 1;
}

Index FeatureTable::add_numbers(std::span<const float> values) {
  check_size(kName, "size of values", std::ssize(values), "rows", rows_);
  check_not_infinite(kName, "values", values);
  columns_.emplace_back(Numbers{copy(values)});
  return columns() - 1;
}

Index FeatureTable::add_vectors(const ConstRowMap<float>& values) {
  check_size(kName, "rows of values", values.rows(), "rows", rows_);
  check_at_least(kName, "columns of values", values.cols(), 1);
  check_not_infinite(kName, "values", {values.data(), static_cast<std::size_t>(values.size())});
  Vectors made{{values.data(), values.data() + values.size()}, values.cols()};
  // One mark for a missing row, wherever its first NaN stands: encoders look at the first value alone.
  for (Index row = 0; row < rows_; ++row)
    if (values.row(row).hasNaN()) made.values[static_cast<std::size_t>(row * made.width)] = std::nanf("");
  columns_.emplace_back(std::move(made));
  return columns() - 1;
}

}  // namespace twotower::data
