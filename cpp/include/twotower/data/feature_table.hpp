#pragma once
// The features of one side, one row an entity. Columns are numbers already: Python made codes of strings and categories.
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "twotower/base/types.hpp"

namespace twotower::data {

/// One code a row, each in [0, vocabulary).
struct Codes {
  std::vector<Row> codes;  // (rows)
  Index vocabulary;
};

/// A list of codes a row, perhaps empty, perhaps weighted.
struct Bags {
  std::vector<std::int64_t> offsets;  // (rows + 1)
  std::vector<Row> codes;             // (offsets.back())
  std::vector<float> weights;         // as codes, or empty: all 1
  Index vocabulary;
};

/// One number a row; NaN where it is missing.
struct Numbers {
  std::vector<float> values;  // (rows)
};

/// Some numbers a row, all of one width; NaN in the first of a row where the row is missing.
struct Vectors {
  std::vector<float> values;  // (rows, width)
  Index width;
};

using Column = std::variant<Codes, Bags, Numbers, Vectors>;

class FeatureTable {
 public:
  explicit FeatureTable(Index rows);

  /// Each adds a column and gives its number. Throws where a size, an offset or a code does not fit, a number is infinite or a
  /// weight negative.
  Index add_codes(std::span<const Row> codes, Index vocabulary);
  Index add_bags(std::span<const std::int64_t> offsets, std::span<const Row> codes, std::optional<std::span<const float>> weights,
                 Index vocabulary);
  Index add_numbers(std::span<const float> values);
  Index add_vectors(const ConstRowMap<float>& values);

  Index rows() const { return rows_; }
  Index columns() const { return static_cast<Index>(columns_.size()); }
  const Column& column(Index number) const { return columns_[static_cast<std::size_t>(number)]; }

 private:
  Index rows_;
  std::vector<Column> columns_;
};

}  // namespace twotower::data
